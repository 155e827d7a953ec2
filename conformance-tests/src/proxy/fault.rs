//! Which faults a proxy makes, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;

/// What a [`Proxy`](super::Proxy) does to a request, or to a connection.
///
/// On a connection that several requests share at once, whatever cuts or stalls it does so to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The connection is closed as soon as it is made.
    Refuse,
    /// The request is passed on this much later.
    Delay(Duration),
    /// The connection is closed in place of passing the request on.
    CutRequest,
    /// The request is passed on. When the server begins to answer, and so has acted, the connection is closed in place of
    /// passing the reply on.
    LoseReply,
    /// The same after about half of what the server sends first.
    CutReply,
    /// The reply is passed on this much later: to be longer than the client waits.
    Stall(Duration),
    /// From this request on so many bytes a second pass in each direction.
    Throttle(u64),
    /// The request is held back for this time, which is to be longer than the client waits, and so are those behind it, which
    /// are lost. Then the client's connection is closed if it has not closed it, the server gets the request, and its reply
    /// is thrown away.
    Late(Duration),
}

impl Fault {
    /// Its name in a table: `lost reply`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refused connection",
            Self::Delay(_) => "delayed request",
            Self::CutRequest => "cut before the request",
            Self::LoseReply => "lost reply",
            Self::CutReply => "cut in the reply",
            Self::Stall(_) => "stalled reply",
            Self::Throttle(_) => "throttled connection",
            Self::Late(_) => "late delivery",
        }
    }

    /// One of each kind. `patience`: how long clients wait for an answer. Delays are shorter, stalls longer.
    #[must_use]
    pub fn all(patience: Duration) -> [Self; 8] {
        [
            Self::Refuse,
            Self::Delay(patience / 4),
            Self::CutRequest,
            Self::LoseReply,
            Self::CutReply,
            Self::Stall(patience * 3 / 2),
            Self::Throttle(20_000),
            Self::Late(patience * 2),
        ]
    }
}

/// Faults by chance: some connections meet one, at one of their first requests.
///
/// What the n-th connection of a proxy meets follows from the seed.
#[derive(Debug, Clone)]
pub struct RandomFaults {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many of a hundred connections meet a fault.
    pub percent: u8,
    /// It is at one of so many first requests.
    pub within: u64,
    /// The faults to choose from.
    pub faults: Vec<Fault>,
}

impl RandomFaults {
    /// The fault of the n-th connection, and at which request.
    fn of(&self, connection: u64) -> Option<(u64, Fault)> {
        let mut rng = Rng::with_seed(self.seed ^ connection.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let meets = rng.u8(..100) < self.percent;
        let (at, fault) = (rng.u64(..self.within.max(1)), rng.choice(&self.faults)?);
        meets.then_some((at, *fault))
    }
}

/// The faults of a proxy, shared by its connections.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    state: Arc<Mutex<State>>,
    /// Grows with each call that cuts all connections.
    cuts: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Fault>,
    random: Option<RandomFaults>,
    connections: u64,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::default(),
            cuts: watch::Sender::new(0),
        }
    }

    pub(super) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    pub(super) fn randomly(&self, random: Option<RandomFaults>) {
        let mut state = self.state();
        state.random = random;
        state.script.clear();
    }

    pub(super) fn cut_all(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn scripted(&self) -> usize {
        self.state().script.len()
    }

    /// The next connection's, which may be refused.
    pub(super) fn connection(&self) -> (ConnectionFaults, bool) {
        let mut state = self.state();
        state.connections += 1;
        let number = state.connections;
        let mut drawn = state.random.as_ref().and_then(|random| random.of(number));
        let scripted = state.script.front() == Some(&Fault::Refuse);
        let by_chance = !scripted && matches!(drawn, Some((_, Fault::Refuse)));
        if scripted {
            state.script.pop_front();
        }
        if by_chance {
            drawn = None;
        }
        drop(state);
        let faults = ConnectionFaults {
            faults: self.clone(),
            cuts: self.cuts.subscribe(),
            drawn,
            requests: 0,
        };
        (faults, scripted || by_chance)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults that one connection is to meet.
#[derive(Debug)]
pub(super) struct ConnectionFaults {
    faults: Faults,
    cuts: watch::Receiver<u64>,
    drawn: Option<(u64, Fault)>,
    requests: u64,
}

impl ConnectionFaults {
    /// What is to happen to the next request, of this name.
    pub(super) fn decide(&mut self, name: &str) -> Option<Fault> {
        if is_setup(name) {
            return None;
        }
        let number = self.requests;
        self.requests += 1;
        let mut state = self.faults.state();
        if state.script.front().is_some_and(|fault| *fault != Fault::Refuse) {
            return state.script.pop_front();
        }
        drop(state);
        self.drawn
            .take_if(|(at, _)| *at == number)
            .map(|(_, fault)| fault)
    }

    /// Comes to an end when all connections are to be cut.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + use<> {
        let mut cuts = self.cuts.clone();
        async move {
            if cuts.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }
}

/// Commands by which clients of Redis set up a connection. They are no operations, and come when they like.
fn is_setup(name: &str) -> bool {
    matches!(
        name,
        "HELLO" | "AUTH" | "CLIENT" | "SELECT" | "PING" | "READONLY" | "CLUSTER" | "COMMAND" | "INFO"
    )
}
