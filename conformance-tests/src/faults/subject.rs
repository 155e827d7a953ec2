use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use statestore_api::StateStore;

use crate::proxy::{Protocol, Proxy};

/// How long a store waits where it is not to give up: also a cold server on a busy machine answers within it.
pub(super) const UNHURRIED: Duration = Duration::from_secs(60);

/// How a store is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The address of its server, or of a proxy in front of it.
    pub addr: SocketAddr,
    /// How long it waits for the answer to a request, and for a connection.
    pub timeout: Duration,
    /// Whether it tries again by itself.
    pub retries: bool,
}

impl Opening {
    /// The options of a `statestore` URL that say so.
    #[must_use]
    pub fn options(&self) -> String {
        let timeout = self.timeout.as_millis();
        let retry = if self.retries { "on" } else { "off" };
        format!("timeout={timeout}ms&connect_timeout={timeout}ms&retry={retry}")
    }
}

type Open = Arc<dyn Fn(Opening) -> BoxFuture<'static, Arc<dyn StateStore>> + Send + Sync>;

/// A store with a server, and a proxy of its own between the two.
pub struct FaultSubject {
    pub(super) proxy: Proxy,
    server: SocketAddr,
    open: Open,
}

impl FaultSubject {
    /// Puts a proxy in front of `server`, which speaks this protocol. `open` opens a store, and does no request.
    ///
    /// # Panics
    /// When the proxy cannot be started.
    pub async fn start<F, R>(server: SocketAddr, protocol: Protocol, open: F) -> Self
    where
        F: Fn(Opening) -> R + Send + Sync + 'static,
        R: Future<Output = Arc<dyn StateStore>> + Send + 'static,
    {
        let proxy = Proxy::start(server, protocol).await;
        Self {
            proxy: proxy.unwrap_or_else(|error| panic!("the proxy did not start: {error}")),
            server,
            open: Arc::new(move |opening| Box::pin(open(opening))),
        }
    }

    /// The proxy.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// A store whose requests go through the proxy, with connections of its own.
    pub async fn store(&self, timeout: Duration, retries: bool) -> Arc<dyn StateStore> {
        let addr = self.proxy.addr();
        (self.open)(Opening {
            addr,
            timeout,
            retries,
        })
        .await
    }

    /// A store past the proxy.
    pub(super) async fn direct(&self) -> Arc<dyn StateStore> {
        (self.open)(Opening {
            addr: self.server,
            timeout: UNHURRIED,
            retries: true,
        })
        .await
    }
}

impl fmt::Debug for FaultSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultSubject")
            .field("proxy", &self.proxy)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
