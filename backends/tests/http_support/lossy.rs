//! Replies that get lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A relay that passes everything on but the replies it is told to swallow: then it closes the connection.
pub(crate) struct Lossy {
    addr: SocketAddr,
    swallow: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Lossy {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let swallow = Arc::new(AtomicBool::new(false));
        let swallows = swallow.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, upstream, swallows.clone()));
            }
        });
        Self { addr, swallow, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next reply is lost. The service has then applied the request: it answers when that is done.
    pub(crate) fn lose_the_next(&self) {
        self.swallow.store(true, Ordering::SeqCst);
    }

    pub(crate) fn assert_lost(&self) {
        assert!(!self.swallow.load(Ordering::SeqCst), "no reply was lost");
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, upstream: SocketAddr, swallow: Arc<AtomicBool>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let replies = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            if swallow.swap(false, Ordering::SeqCst) || to_client.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let requests = tokio::io::copy(&mut from_client, &mut to_server);
    tokio::select! {
        () = replies => {}
        _ = requests => {}
    }
}
