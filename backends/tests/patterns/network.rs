//! The network between a program and its store, which loses requests and replies: on the wire, by the fault proxy, where the
//! store has a server, and else in the process. The layer that sends them again is the one that programs use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statestore::StateStore;
use statestore::layer::{Retry, RetryPolicy};
use statestore_conformance::{Fate, Tapped};
use tokio::sync::Notify;

#[cfg(unix)]
pub(crate) use self::wire::Wire;

/// A network, on which any number of instances are.
#[derive(Clone)]
pub(crate) enum Network {
    /// To a store in this process.
    InProcess(Arc<dyn StateStore>),
    /// To a server.
    #[cfg(unix)]
    Wire(Wire),
}

/// An instance of a program, with a store of its own on the network.
pub(crate) struct Instance {
    store: Arc<dyn StateStore>,
    met: Met,
}

enum Met {
    InProcess {
        lost: Arc<AtomicU64>,
        killed: Arc<Notify>,
    },
    #[cfg(unix)]
    Wire { proxy: wire::Subject, life: u64 },
}

impl Network {
    /// An instance that lives as long as it likes. `seed` says what it meets.
    pub(crate) async fn instance(&self, seed: u64) -> Instance {
        self.mortal(seed, u64::MAX).await
    }

    /// An instance that is killed when it has sent so many requests, which the server may or may not have got.
    pub(crate) async fn mortal(&self, seed: u64, life: u64) -> Instance {
        match self {
            Self::InProcess(store) => in_process(store, seed, life),
            #[cfg(unix)]
            Self::Wire(wire) => wire.instance(seed, life).await,
        }
    }
}

impl Instance {
    pub(crate) fn store(&self) -> Arc<dyn StateStore> {
        Arc::clone(&self.store)
    }

    /// How many requests and replies were lost, or came too late.
    pub(crate) fn faults(&self) -> u64 {
        match &self.met {
            Met::InProcess { lost, .. } => lost.load(Ordering::SeqCst),
            #[cfg(unix)]
            Met::Wire { proxy, .. } => proxy.proxy().counts().faults,
        }
    }

    /// Comes when it is killed.
    pub(crate) async fn killed(&self) {
        match &self.met {
            Met::InProcess { killed, .. } => killed.notified().await,
            #[cfg(unix)]
            Met::Wire { proxy, life } => {
                drop(proxy.proxy().wait_until(|counts| counts.requests >= *life).await);
            }
        }
    }
}

/// Of ten requests two never arrive, and two lose their reply.
fn in_process(store: &Arc<dyn StateStore>, seed: u64, life: u64) -> Instance {
    let dice = Mutex::new(fastrand::Rng::with_seed(seed));
    let (lost, killed) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (count, kill, made) = (Arc::clone(&lost), Arc::clone(&killed), AtomicU64::new(0));
    let network = Tapped::new(Arc::clone(store), move |_| {
        let call = made.fetch_add(1, Ordering::SeqCst);
        let fate = match dice.lock().unwrap().u8(..10) {
            0 | 1 => Fate::LoseRequest,
            2 | 3 => Fate::LoseReply,
            // The last may have been done, and its reply not have arrived.
            _ if call.checked_add(1) == Some(life) && seed.is_multiple_of(2) => Fate::LoseReply,
            _ => Fate::Deliver,
        };
        count.fetch_add(u64::from(fate != Fate::Deliver), Ordering::SeqCst);
        let kill = Arc::clone(&kill);
        async move {
            if call >= life {
                kill.notify_one();
                std::future::pending::<()>().await;
            }
            fate
        }
    });
    let policy = RetryPolicy::default()
        .with_max_attempts(50)
        .with_deadline(Duration::from_secs(60))
        .with_base_delay(Duration::from_millis(1))
        .with_max_delay(Duration::from_millis(5))
        .with_budget(u32::MAX);
    Instance {
        store: Arc::new(Retry::new(network, policy)),
        met: Met::InProcess { lost, killed },
    }
}

#[cfg(unix)]
mod wire {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use statestore_conformance::faults::FaultSubject;
    use statestore_conformance::proxy::{Fault, Protocol, RandomFaults};

    use super::{Instance, Met};

    pub(super) type Subject = FaultSubject;

    /// How long a store waits for an answer. A stall is longer.
    const PATIENCE: Duration = Duration::from_millis(600);

    /// A server, and how to reach it.
    #[derive(Clone)]
    pub(crate) struct Wire {
        server: SocketAddr,
        protocol: Protocol,
        url: Arc<dyn Fn(SocketAddr) -> String + Send + Sync>,
    }

    impl Wire {
        /// `url` makes that of a store on the server that is at an address, up to and with the `?` or `&` before further options.
        #[cfg_attr(
            not(any(
                feature = "azure-table",
                feature = "dynamodb",
                feature = "firestore",
                feature = "redis"
            )),
            allow(dead_code, reason = "what is for backends that are left out")
        )]
        pub(crate) fn new(
            server: SocketAddr,
            protocol: Protocol,
            url: impl Fn(SocketAddr) -> String + Send + Sync + 'static,
        ) -> Self {
            Self {
                server,
                protocol,
                url: Arc::new(url),
            }
        }

        /// Every connection that it makes meets a fault at one of its first requests.
        pub(super) async fn instance(&self, seed: u64, life: u64) -> Instance {
            let url = Arc::clone(&self.url);
            let proxy = FaultSubject::start(self.server, self.protocol, move |opening| {
                let url = format!(
                    "{}{}&retry_deadline=60s&retry_attempts=100&retry_budget=1000000",
                    url(opening.addr),
                    opening.options()
                );
                async move { statestore::open(&url).await.unwrap() }
            });
            let proxy = proxy.await;
            proxy.proxy().inject_randomly(Some(RandomFaults {
                seed,
                percent: 100,
                within: 8,
                faults: vec![
                    Fault::Refuse,
                    Fault::CutRequest,
                    Fault::CutRequest,
                    Fault::LoseReply,
                    Fault::LoseReply,
                    Fault::LoseReply,
                    Fault::CutReply,
                    Fault::Stall(PATIENCE * 3 / 2),
                ],
            }));
            Instance {
                store: proxy.store(PATIENCE, true).await,
                met: Met::Wire { proxy, life },
            }
        }
    }
}
