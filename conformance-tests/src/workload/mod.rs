//! Concurrent clients on any store, recorded, and checked.
//!
//! [`run`] has clients read, create, compare-and-set and delete a few keys, and transfer money between accounts of
//! one partition, in rounds of fresh keys. After each round it
//! - checks that the [history](crate::history) of each key, accounts included, is linearizable;
//! - corrupts that history in each way there is, and sees it rejected;
//! - checks that a store which could not tell what became of a compare-and-set really could not: others have deleted the
//!   key meanwhile, or written it more often than an entry remembers;
//! - has seen the same sum in every consistent look at the accounts, by `list` and by `get_many`.
//!
//! A seed repeats what every client does. (What the operating system and the network do in between it cannot repeat.)
//!
//! ```
//! use std::sync::Arc;
//! use statestore_api::MemoryStore;
//! use statestore_conformance::workload::{Plan, Shared, run};
//!
//! # #[tokio::main] async fn main() {
//! let store = Shared(Arc::new(MemoryStore::new()));
//! let report = run(Arc::new(store), &Plan::new(1).with_operations(1_000)).await;
//! println!("{}", report.unwrap_or_else(|failure| panic!("{failure}")));
//! # }
//! ```
//!
//! How the faults come in is the [`Environment`]'s: it opens each client's store. [`Lossy`] makes them in the process; the
//! [`proxy`](crate::proxy) on the wire.

mod bank;
mod client;
mod lossy;
mod report;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::{BoxFuture, try_join_all};
use statestore_api::{Key, Precondition, StateStore, StateStoreExt as _, WriteId};

pub use self::lossy::Lossy;
pub use self::report::{Report, Tally};

use self::bank::Bank;
use self::client::{Client, Doubt};
use self::report::Why;
use crate::history::{Bound, Call, Corruption, History, Outcome, Recorder, Verdict, check, check_key};

/// Where clients get their stores from.
pub trait Environment: Send + Sync {
    /// A store for a client, for one round: with connections of its own, where it has any.
    fn open(&self, client: usize) -> BoxFuture<'_, Arc<dyn StateStore>>;

    /// How many faults the client has met so far, where that is known.
    fn faults(&self, _client: usize) -> u64 {
        0
    }
}

/// One store for all clients.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<dyn StateStore>);

impl Environment for Shared {
    fn open(&self, _client: usize) -> BoxFuture<'_, Arc<dyn StateStore>> {
        Box::pin(std::future::ready(self.0.clone()))
    }
}

/// What the clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mix {
    /// All operations, on versions of any age, and transfers.
    #[default]
    Everything,
    /// What most callers do: a read, and a compare-and-set on what it found; and now and then a delete.
    Updates,
}

/// What is run, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What everything random is drawn from.
    pub seed: u64,
    /// How many clients there are at once. The checker is quick where up to 8 are on one key at a time.
    pub clients: usize,
    /// How many keys they fight over in a round.
    pub keys: usize,
    /// How many operations each client does in a round.
    pub operations_per_round: usize,
    /// How many operations a client does on one store, before it opens another: as instances of a function come and go.
    pub operations_per_store: usize,
    /// The run ends with the round in which there were so many operations of clients.
    pub operations: usize,
    /// The run ends with the round in which this time was over.
    pub time: Duration,
    /// The largest value, in bytes.
    pub value_bytes: usize,
    /// What the clients do.
    pub mix: Mix,
    /// How long a client waits before each operation: a random time, up to this.
    pub pause: Duration,
}

impl Plan {
    /// 8 clients on 4 keys, 10,000 operations or a minute.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clients: 8,
            keys: 4,
            operations_per_round: 25,
            operations_per_store: 5,
            operations: 10_000,
            time: Duration::from_secs(60),
            value_bytes: 2_000,
            mix: Mix::Everything,
            pause: Duration::ZERO,
        }
    }

    /// The same up to so many operations.
    #[must_use]
    pub fn with_operations(mut self, operations: usize) -> Self {
        self.operations = operations;
        self
    }

    /// The same for this time.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The same with so many clients.
    #[must_use]
    pub fn with_clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// The same on so many keys a round.
    #[must_use]
    pub fn with_keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// The same with clients that do this.
    #[must_use]
    pub fn with_mix(mut self, mix: Mix) -> Self {
        self.mix = mix;
        self
    }

    /// The same with clients that wait so long at the most before each operation.
    #[must_use]
    pub fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The same with another store for each so many operations of a client.
    #[must_use]
    pub fn with_operations_per_store(mut self, operations: usize) -> Self {
        self.operations_per_store = operations.max(1);
        self
    }

    /// The same with so many operations a client and round.
    #[must_use]
    pub fn with_operations_per_round(mut self, operations: usize) -> Self {
        self.operations_per_round = operations;
        self
    }
}

/// What a store did wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// In which round, from 0.
    pub round: u64,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, round, what } = self;
        write!(f, "seed {seed}, round {round}: {what}")
    }
}

/// Runs the plan.
///
/// # Errors
/// The first thing that the store did wrong.
pub async fn run(environment: Arc<dyn Environment>, plan: &Plan) -> Result<Report, Failure> {
    let (start, mut report) = (Instant::now(), Report::default());
    for round in 0.. {
        let fail = |what| Failure {
            seed: plan.seed,
            round,
            what,
        };
        let history = run_round(&environment, plan, round, &mut report)
            .await
            .map_err(fail)?;
        let mut rng = Rng::with_seed(plan.seed ^ round.rotate_left(32));
        judge(&history, &mut rng, &mut report).map_err(fail)?;
        report.elapsed = start.elapsed();
        if report.operations >= plan.operations || report.elapsed >= plan.time {
            report.rounds = round + 1;
            report.assert_told_something().map_err(fail)?;
            break;
        }
    }
    Ok(report)
}

/// What the clients of a round share.
struct Round {
    plan: Plan,
    environment: Arc<dyn Environment>,
    recorder: Recorder,
    /// Those of one partition beside each other, [`PARTITION`] of each but the last.
    keys: Vec<Key>,
    bank: Bank,
}

/// How many keys of a round a partition has: what a listing or a batch is about, however many keys there are.
const PARTITION: usize = 16;

impl Round {
    /// The keys of each partition.
    fn partitions(&self) -> std::slice::Chunks<'_, Key> {
        self.keys.chunks(PARTITION)
    }
}

async fn run_round(
    environment: &Arc<dyn Environment>,
    plan: &Plan,
    number: u64,
    report: &mut Report,
) -> Result<History, String> {
    // Of its own whatever the seed: a second run with it finds nothing there.
    let name = format!("w-{}", WriteId::new());
    let key = |place: usize| Key::new(format!("{name}-{}", place / PARTITION), format!("k{place}"));
    let round = Arc::new(Round {
        keys: (0..plan.keys)
            .map(key)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?,
        bank: Bank::new(&format!("{name}-bank")).map_err(|error| error.to_string())?,
        plan: plan.clone(),
        environment: environment.clone(),
        recorder: Recorder::default(),
    });
    let mut auditor = Client::new(round.clone(), plan.clients, number).await;
    auditor.open_accounts().await?;
    let clients = (0..plan.clients).map(|client| {
        let round = round.clone();
        let task = async move {
            let mut client = Client::new(round, client, number).await;
            client.run().await?;
            Ok::<_, String>((client.report, client.doubts))
        };
        async move { tokio::spawn(task).await.map_err(|error| error.to_string())? }
    });
    let mut doubts = Vec::new();
    for (done, doubted) in try_join_all(clients).await? {
        report.add(&done);
        doubts.extend(doubted);
    }
    // All is acknowledged or unknown by now, and what is there has to agree with it.
    auditor.read_everything().await?;
    report.add(&auditor.report);
    let history = round.recorder.history();
    let remembered = auditor.store.capabilities().remembered_writes;
    for doubt in &doubts {
        let why = match doubt.judged {
            true => justify(&history, doubt, remembered)?,
            false => Why::Unanswered,
        };
        report.doubt(doubt.operation, why);
    }
    auditor.clean_up().await;
    Ok(history)
}

/// Checks a history, and that it would have been noticed if it were corrupt.
fn judge(history: &History, rng: &mut Rng, report: &mut Report) -> Result<(), String> {
    match check(history, Bound::default()) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => return Err(violation.to_string()),
        unknown @ Verdict::Unknown { .. } => return Err(format!("not decided: {unknown:?}")),
    }
    for (place, corruption) in Corruption::ALL.into_iter().enumerate() {
        let Some((key, operations)) = corruption.apply(history, rng) else {
            continue;
        };
        if check_key(&key, &operations, Bound::default())
            .violation()
            .is_none()
        {
            return Err(format!(
                "the checker accepts a history with a {corruption:?} of `{key}`"
            ));
        }
        report.corruptions[place] += 1;
    }
    report.recorded += history.len();
    report.unknown += history.unknown();
    Ok(())
}

/// Checks that a store could not tell what became of a compare-and-set: since the version that it expected was written,
/// others deleted the key or wrote it more often than its entry remembers. Returns which.
fn justify(history: &History, doubt: &Doubt, remembered: usize) -> Result<Why, String> {
    let operations = history.keys().find(|(key, _)| **key == doubt.key);
    let operations = operations.map(|(_, operations)| operations).unwrap_or_default();
    let written = operations.iter().find(|operation| match operation.call {
        Call::Put { value, .. } => value == doubt.expected,
        _ => false,
    });
    let since = written.map_or(0, |written| written.invoked);
    let meanwhile = operations
        .iter()
        .filter(|other| other.invoked != doubt.invoked && !matches!(other.outcome, Outcome::Refused(_)))
        .filter(|other| other.invoked < doubt.answered && other.completed.is_none_or(|end| end > since));
    let (mut deletes, mut puts) = (0, 0);
    for other in meanwhile {
        match other.call {
            Call::Get => {}
            Call::Put { value, .. } => puts += usize::from(value != doubt.expected),
            Call::Delete { .. } => deletes += 1,
        }
    }
    if deletes > 0 {
        return Ok(Why::Deleted);
    }
    if puts > remembered {
        return Ok(Why::Overwritten);
    }
    Err(format!(
        "{doubt:?} was answered with Indeterminate, although only {puts} others may have written the key since the \
         expected value was, and an entry remembers {remembered}"
    ))
}

impl Client {
    /// Deletes what the round has written, from a store that would keep it.
    async fn clean_up(&self) {
        if self.store.capabilities().durable {
            let keys = self.round.keys.iter().chain(self.round.bank.accounts());
            let deletes = keys.map(|key| (key.clone(), Precondition::None.into()));
            // What cannot be deleted now stays.
            drop(self.store.delete_many(deletes.collect()).await);
        }
    }
}
