//! The power is cut at each moment, and whatever was not synced is on the disk or not, sector by sector.

use std::time::Duration;

use fastrand::Rng;
use statestore_api::{Bytes, Key, StateStore, TransactOp, Ttl};
use tokio::task::JoinSet;

use super::super::EmbeddedStore;
use super::{Disk, open};

const TASKS: usize = 4;
const STEPS: usize = 30;

/// What a task did with all its keys at once.
struct Step {
    /// How old the disk was when it began, and when it was acknowledged.
    begun: usize,
    acknowledged: usize,
    deletes: bool,
}

fn keys(task: usize) -> [Key; 3] {
    ["a", "b", "c"].map(|id| Key::new(format!("task-{task}"), id).unwrap())
}

/// The value of the n-th step, which tells its step and is whole or not.
fn value(task: usize, step: usize) -> Bytes {
    let len = 20 + (task * 31 + step * 977) % 9000;
    let mut value = (step as u64).to_le_bytes().to_vec();
    let mut rng = Rng::with_seed((task * 1000 + step) as u64);
    value.extend(std::iter::repeat_with(|| rng.u8(..)).take(len));
    value.into()
}

async fn work(store: EmbeddedStore, disk: Disk, task: usize) -> (usize, Vec<Step>) {
    let (keys, mut steps) = (keys(task), Vec::new());
    for step in 1..=STEPS {
        let deletes = step % 7 == 6;
        let ops = keys.iter().map(|key| match deletes {
            true => TransactOp::delete(key.clone()),
            false if step % 3 == 0 => {
                let ttl = Ttl::After(Duration::from_secs(3600));
                TransactOp::put_expiring(key.clone(), value(task, step), ttl)
            }
            false => TransactOp::put(key.clone(), value(task, step)),
        });
        let begun = disk.age();
        store.transact(ops.collect(), Default::default()).await.unwrap();
        steps.push(Step {
            begun,
            acknowledged: disk.age(),
            deletes,
        });
    }
    (task, steps)
}

/// Checks what is left of a task's work after a cut at `age`.
async fn check(store: &EmbeddedStore, task: usize, steps: &[Step], age: usize) {
    let acknowledged = steps.iter().rposition(|step| step.acknowledged <= age);
    let acknowledged = acknowledged.map_or(0, |place| place + 1);
    let begun = steps.iter().filter(|step| step.begun <= age).count();
    let mut found = Vec::new();
    for entry in store.get_many(&keys(task), Default::default()).await {
        found.push(entry.unwrap().map(|entry| entry.value));
    }
    assert!(
        found.iter().all(|value| *value == found[0]),
        "half a transaction at {age}"
    );
    match &found[0] {
        Some(bytes) => {
            let step = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
            assert_eq!(*bytes, value(task, step), "half a value at {age}");
            assert!((acknowledged..=begun).contains(&step), "{step} at {age}");
        }
        None => {
            let deleted = |step: usize| step == 0 || steps[step - 1].deletes;
            assert!((acknowledged..=begun).any(deleted), "lost at {age}");
        }
    }
}

#[tokio::test]
async fn a_power_cut_at_any_moment_leaves_what_was_acknowledged_and_no_half_of_anything() {
    let disk = Disk::new();
    let store = open(&disk).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(work(store.clone(), disk.clone(), task));
    }
    let histories = tasks.join_all().await;
    store.close().await.unwrap();

    let mut rng = Rng::with_seed(7);
    // Right behind each sync, right before it, and somewhere between the two.
    let syncs = disk.syncs();
    assert!(syncs.len() > STEPS);
    let mut ages = syncs.clone();
    for pair in syncs.windows(2) {
        ages.extend([pair[1] - 1, rng.usize(pair[0]..pair[1])]);
    }
    for age in ages {
        let after = disk.after_power_cut(age, &mut rng);
        let store = open(&after)
            .await
            .unwrap_or_else(|error| panic!("at {age}: {error}"));
        for (task, steps) in &histories {
            check(&store, *task, steps, age).await;
        }
        // It goes on from there.
        let [key, ..] = keys(0);
        store.put(&key, value(0, 1), Default::default()).await.unwrap();
        store.close().await.unwrap();
    }
}
