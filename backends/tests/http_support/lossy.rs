//! Replies that get lost.

use std::net::SocketAddr;

use statestore_conformance::proxy::{Fault, Protocol, Proxy};

/// A proxy that passes everything on but the replies it is told to lose: then it closes the connection.
pub(crate) struct Lossy(Proxy);

impl Lossy {
    pub(crate) async fn start(upstream: SocketAddr, protocol: Protocol) -> Self {
        Self(Proxy::start(upstream, protocol).await.unwrap())
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// The reply to the next request is lost. The service has then applied it: it answers when that is done.
    pub(crate) fn lose_the_next(&self) {
        self.0.inject([Fault::LoseReply]);
    }

    pub(crate) fn assert_lost(&self) {
        assert_eq!(self.0.injected(), 0, "no reply was lost");
    }
}
