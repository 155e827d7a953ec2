//! What clients and calls hold: `statestore-bench-memory CLIENTS CALLS URL`, in which `{}` stands for a client's number.
//!
//! Prints the bytes of the heap that an idle client holds. Then, when it has been given a line, by which time the server answers no
//! more, the bytes that a call under way holds.

mod allocator;

use std::time::Duration;

use statestore::Key;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [clients, calls, url] = &arguments[..] else {
        panic!("usage: statestore-bench-memory CLIENTS CALLS URL");
    };
    let (clients, calls): (usize, usize) = (
        clients.parse().expect("a number"),
        calls.parse().expect("a number"),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let key = Key::new("user-42", "cart").expect("not empty");
    runtime.block_on(async {
        let open = async |number: usize| {
            let store = statestore::open(&url.replace("{}", &number.to_string()))
                .await
                .expect("a store");
            store.get(&key, Default::default()).await.expect("a get");
            store
        };
        // What all share is made by the first.
        let mut stores = vec![open(0).await];
        let before = allocator::counts().live;
        for number in 1..=clients {
            stores.push(open(number).await);
        }
        println!("{}", (allocator::counts().live - before) / clients as i64);
        if calls == 0 {
            return;
        }
        std::io::stdin().read_line(&mut String::new()).expect("a line");
        let before = allocator::counts().live;
        for _ in 0..calls {
            let (store, key) = (stores[0].clone(), key.clone());
            tokio::spawn(async move { store.get(&key, Default::default()).await.map(drop) });
        }
        // They have been sent by then, and wait.
        tokio::time::sleep(Duration::from_millis(700)).await;
        println!("{}", (allocator::counts().live - before) / calls as i64);
        std::process::exit(0);
    });
}
