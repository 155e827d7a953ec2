use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ServerError;

/// Whether there is an HTTP server: whatever it answers, it speaks HTTP.
pub(super) async fn answers(addr: SocketAddr) -> Result<(), ServerError> {
    let attempt = async {
        let mut socket = TcpStream::connect(addr).await?;
        socket
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let doing = || ServerError::io("asking it for an answer");
    match tokio::time::timeout(Duration::from_secs(5), attempt).await {
        Ok(Ok(answer)) if answer == *b"HTTP/" => Ok(()),
        Ok(Ok(_)) => Err(doing()(std::io::ErrorKind::InvalidData.into())),
        Ok(Err(error)) => Err(doing()(error)),
        Err(_) => Err(doing()(std::io::ErrorKind::TimedOut.into())),
    }
}
