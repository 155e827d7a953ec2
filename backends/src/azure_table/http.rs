//! Connections to a server: HTTP/1.1, kept for the next request, TLS by rustls with the system's certificates.
//!
//! A pool of our own, since that of `hyper-util` opens another connection when a request comes before the last one's connection is back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::http::header::{HOST, HeaderValue};
use ::http::{Request, Response, Uri};
use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use statestore_api::{BoxError, Error, Result as ApiResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::config::bad;

/// How long a connection is kept without a request: the balancers before the service drop it after 4 minutes.
const LONGEST_IDLE: Duration = Duration::from_secs(60);

/// How long a connection may take to be ready again after its answer was read: it is a matter of the next turn of its task.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// Why no answer came.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection.
    NotSent(BoxError),
    /// No connection was there in time.
    ConnectTimeout(Duration),
    /// No answer was there in time.
    Timeout(Duration),
    /// The connection broke when the request was sent.
    Broken(hyper::Error),
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one server.
pub(super) struct Http {
    host: String,
    port: u16,
    /// As in the `Host` header.
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    /// Those that no request uses, the last used last.
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl Http {
    /// Connections to the server of this URL. Nothing is sent; for TLS the system's certificates are read.
    ///
    /// # Errors
    /// [`Error::Config`] when that cannot be.
    pub(super) fn new(url: &Uri, connect_timeout: Duration) -> ApiResult<Self> {
        let malformed = || bad("the endpoint is no URL with a host");
        let authority = url.authority().ok_or_else(malformed)?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let over_tls = url.scheme_str() == Some("https");
        let tls = if over_tls {
            let name = ServerName::try_from(host.clone()).map_err(|_| malformed())?;
            Some((TlsConnector::from(Arc::new(tls_config()?)), name))
        } else {
            None
        };
        Ok(Self {
            port: url.port_u16().unwrap_or(if over_tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?,
            host,
            tls,
            connect_timeout,
            idle: Mutex::default(),
        })
    }

    /// The whole answer to a request, which has a path and a query for a URI. It is sent once.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        longest: Duration,
    ) -> Result<Response<Bytes>, Failure> {
        request.headers_mut().insert(HOST, self.authority.clone());
        let answer = timeout(longest, self.exchange(request)).await;
        answer.unwrap_or(Err(Failure::Timeout(longest)))
    }

    async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        loop {
            let (mut sender, kept) = match self.take_idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // The server had closed it: not a byte was sent.
                    Some(unsent) if kept => {
                        request = unsent;
                        continue;
                    }
                    Some(_) => return Err(Failure::NotSent(error.into_error().into())),
                    // The connection had begun to send it.
                    None => return Err(Failure::Broken(error.into_error())),
                },
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(Failure::Broken)?.to_bytes();
            // Only then is it sure that the next request finds it.
            if let Ok(Ok(())) = timeout(LONGEST_TURN, sender.ready()).await {
                self.keep(sender);
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < LONGEST_IDLE);
        idle.pop().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((sender, Instant::now()));
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let connected = timeout(self.connect_timeout, self.connect_once()).await;
        let connected = connected.map_err(|_| Failure::ConnectTimeout(self.connect_timeout))?;
        connected.map_err(Failure::NotSent)
    }

    async fn connect_once(&self) -> Result<Sender, BoxError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => handshake(tcp).await,
            Some((connector, name)) => handshake(connector.connect(name.clone(), tcp).await?).await,
        }
    }
}

/// The connection itself is a task, which ends with its sender.
async fn handshake(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, BoxError> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // What it ends with, the sender tells too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn tls_config() -> ApiResult<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // Of the system's certificates some may be unreadable; those that are missed show as an untrusted server.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // The provider is named, so that it does not depend on what else is in the program.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config {
            reason: "TLS cannot be set up".to_owned(),
            source: Some(error.into()),
        })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// How the sources of tokens are asked: seldom, each time over a new connection.
#[derive(Debug)]
pub(super) struct ForTokens {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

#[async_trait]
impl HttpClient for ForTokens {
    async fn execute_request(
        &self,
        request: &azure_core::http::Request,
    ) -> azure_core::Result<AsyncRawResponse> {
        let failed = |error: BoxError| azure_core::Error::new(azure_core::error::ErrorKind::Io, error);
        let url: Uri = request
            .url()
            .as_str()
            .parse()
            .map_err(|error: ::http::uri::InvalidUri| failed(error.into()))?;
        let http = Http::new(&url, self.connect_timeout).map_err(|error| failed(error.into()))?;
        let mut built = Request::builder()
            .method(request.method().as_str())
            .uri(url.path_and_query().map_or("/", |path| path.as_str()));
        for (name, value) in request.headers().iter() {
            built = built.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body().clone() else {
            return Err(failed("a request for a token has a stream for a body".into()));
        };
        let built = built
            .body(Full::new(body))
            .map_err(|error| failed(error.into()))?;
        let answer = http.send(built, self.timeout).await;
        let (head, body) = answer
            .map_err(|failure| failed(failure.to_string().into()))?
            .into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::from(head.status.as_u16()),
            headers,
            body,
        ))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "not sent: {error}"),
            Self::ConnectTimeout(after) => write!(f, "no connection within {after:?}"),
            Self::Timeout(after) => write!(f, "no answer within {after:?}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}
