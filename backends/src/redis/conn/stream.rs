//! A byte stream to a server: TCP, TLS over it, or a unix socket.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::redis::config::{Address, Tls};

pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// Connects to `address`, with TLS if there is a `connector`.
pub(super) async fn connect(
    address: &Address,
    connector: Option<&TlsConnector>,
) -> io::Result<Pin<Box<dyn Stream>>> {
    let (host, port) = match address {
        Address::Tcp(host, port) => (host.as_str(), *port),
        #[cfg(unix)]
        Address::Unix(path) => return Ok(Box::pin(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    match connector {
        None => Ok(Box::pin(tcp)),
        Some(connector) => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Ok(Box::pin(connector.connect(name, tcp).await?))
        }
    }
}

/// What makes TLS of a connection. Reads the files, so that it is called with the first connection, not before.
pub(super) fn connector(tls: &Tls) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
        None => {
            // Of the system's certificates some may be unreadable; those that are missed show as an untrusted server.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    // The provider is named, so that it does not depend on what else is in the program.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|_| unreadable(key))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(io::Error::other)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(unreadable(path)),
    }
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{}` cannot be read, or is not of the form PEM", path.display()),
    )
}
