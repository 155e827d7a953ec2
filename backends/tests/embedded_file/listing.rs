//! What is special to listing an ordered table.

use super::*;

#[tokio::test]
async fn the_last_page_of_10_000_costs_no_more_than_the_first() {
    let place = Place::new();
    let store = place.open().await;
    fill(&store, 10_000).await;
    let cost = async |from: usize| {
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let after = key(from);
            let options = ListOptions::default().with_start_after(after.id());
            let start = Instant::now();
            let page = store.list_page("p", options).await.unwrap();
            best = best.min(start.elapsed());
            assert_eq!(page.items.len(), 100);
        }
        best
    };
    let (first, last) = (cost(0).await, cost(9_800).await);
    assert!(last < first * 3, "{first:?} at the start, {last:?} at the end");
}

#[tokio::test]
async fn a_scan_walks_the_table_in_key_order_and_its_tokens_survive_a_restart() {
    let place = Place::new();
    let mut store = place.open().await;
    let mut keys = Vec::new();
    for partition in ["a", "a/b", "ab", "b\0", "é", "e\u{301}"] {
        for id in ["1", "/", "10", "\u{7f}", "日"] {
            let key = Key::new(partition, id).unwrap();
            store.put(&key, value(0), Default::default()).await.unwrap();
            keys.push(key);
        }
    }
    keys.sort();
    let (mut options, mut found) = (ScanOptions::default().with_page_size(7), Vec::new());
    loop {
        let page = store.scan_page(options.clone()).await.unwrap();
        found.extend(page.items.into_iter().map(|item| item.key));
        let Some(token) = page.next else { break };
        options = options.with_page_token(token);
        store.close().await.unwrap();
        store = place.open().await;
    }
    assert_eq!(found, keys);
}
