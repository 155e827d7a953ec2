//! The Table service's REST API, as far as this store needs it. It knows entities, ETags and batches, and nothing of the contract.
//!
//! JSON without metadata, but for queries, whose entities are to come with their ETags. Nothing is compressed and nothing is sent twice.

use std::time::{Duration, SystemTime};

use ::http::header::{self, HeaderMap, HeaderValue};
use ::http::{Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use statestore_api::WriteId;
use tokio::sync::OnceCell;

use super::auth::Auth;
use super::codec::{self, PARTITION, ROW, TIMESTAMP};
use super::config::{AzureTableConfig, bad};
use super::http::{Failure, ForTokens, Http};

/// The version of the API that all of Azure's own clients for tables use.
const API_VERSION: &str = "2019-02-02";

const USER_AGENT: &str = concat!("statestore/", env!("CARGO_PKG_VERSION"));

/// All but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const NO_METADATA: &str = "application/json;odata=nometadata";
const MINIMAL_METADATA: &str = "application/json;odata=minimalmetadata";

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was not sent, for it could not be made ready.
    Unready(statestore_api::Error),
    /// There is no token to send with it.
    NoToken(azure_core::Error),
    /// No answer came.
    NoAnswer(Failure),
    /// The service said no.
    Refused(Refusal),
    /// An answer that is none of the service's.
    Garbled(&'static str),
}

/// The service's no. Its words are left out: they quote what was sent, signatures and values included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Such as `EntityAlreadyExists`; empty where it gives none.
    pub(super) code: String,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// The place of the operation that it is about, in a batch.
    pub(super) op: Option<usize>,
}

type Result<T> = std::result::Result<T, Fault>;

/// An entity's properties.
pub(super) type Entity = Map<String, Value>;

/// The keys of an entity, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: String,
    pub(super) row: String,
}

/// Where a query goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    pub(super) partition: String,
    pub(super) row: Option<String>,
}

/// Which entities a query asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Query<'a> {
    pub(super) filter: Option<&'a str>,
    /// All properties without it.
    pub(super) select: Option<&'a str>,
    pub(super) top: usize,
    pub(super) from: Option<&'a Continuation>,
}

/// One change of one entity.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// The entity, in JSON; of a merge what changes; of a delete nothing.
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A new entity: a refusal when one is there.
    Insert,
    /// In place of whatever is there.
    InsertOrReplace,
    /// In place of the entity that has this ETag.
    Replace(String),
    /// Into the entity that has this ETag.
    Merge(String),
    /// The entity that has this ETag, or `*`.
    Delete(String),
}

/// The client of one table.
#[derive(Debug)]
pub(super) struct Client {
    config: AzureTableConfig,
    connection: OnceCell<Connection>,
}

#[derive(Debug)]
struct Connection {
    http: Http,
    auth: Auth,
    /// `https://account.table.core.windows.net`, without a slash at its end.
    endpoint: String,
    /// The path in it: on an emulator the account, else empty.
    path: String,
}

/// An answer that is no refusal.
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// Nothing is read or sent before the first request.
    pub(super) fn new(config: AzureTableConfig) -> Self {
        Self {
            config,
            connection: OnceCell::new(),
        }
    }

    pub(super) fn config(&self) -> &AzureTableConfig {
        &self.config
    }

    fn table(&self) -> &str {
        &self.config.table
    }

    /// The entity at `place` and its ETag; only the properties in `select` if that is given.
    pub(super) async fn get(&self, place: &Place, select: Option<&str>) -> Result<(String, Entity)> {
        let query = select.map(|select| format!("$select={}", escaped(select)));
        let path = self.path_of(place);
        let answer = self
            .send(
                Method::GET,
                &path,
                &query.unwrap_or_default(),
                HeaderMap::new(),
                None,
            )
            .await?;
        Ok((etag(&answer.headers)?, parsed(&answer.body)?))
    }

    /// Makes the change. The ETag that the entity has then; of a delete none.
    pub(super) async fn change(&self, mut change: Change) -> Result<String> {
        if self.config.emulator {
            change.body = codec::in_ascii(change.body);
        }
        let mut headers = HeaderMap::new();
        if let Some(etag) = change.kind.if_match() {
            headers.insert(header::IF_MATCH, value(etag)?);
        }
        if change.kind == Kind::Insert {
            headers.insert("prefer", HeaderValue::from_static("return-no-content"));
        }
        let path = self.path_for(&change);
        let deletes = matches!(change.kind, Kind::Delete(_));
        let body = (!deletes).then(|| (HeaderValue::from_static("application/json"), change.body.into()));
        let answer = self.send(change.kind.method(), &path, "", headers, body).await?;
        if deletes {
            Ok(String::new())
        } else {
            etag(&answer.headers)
        }
    }

    /// The entities that a query finds, each with its ETag if all properties were asked for, and where the next are.
    pub(super) async fn query(&self, query: &Query<'_>) -> Result<(Vec<Entity>, Option<Continuation>)> {
        let mut parts = vec![format!("$top={}", query.top)];
        for (name, part) in [
            ("$filter", query.filter),
            ("$select", query.select),
            ("NextPartitionKey", query.from.map(|from| from.partition.as_str())),
            ("NextRowKey", query.from.and_then(|from| from.row.as_deref())),
        ] {
            parts.extend(part.map(|part| format!("{name}={}", escaped(part))));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(MINIMAL_METADATA));
        let path = format!("/{}()", self.table());
        let answer = self
            .send(Method::GET, &path, &parts.join("&"), headers, None)
            .await?;
        let mut found: Entity = parsed(&answer.body)?;
        let Some(Value::Array(entities)) = found.remove("value") else {
            return Err(Fault::Garbled("its answer to a query has no entities"));
        };
        let entities = entities.into_iter().map(|entity| match entity {
            Value::Object(entity) => Ok(entity),
            _ => Err(Fault::Garbled(
                "its answer to a query has something that is no entity",
            )),
        });
        let next = |name: &str| text(&answer.headers, name);
        let next = next("x-ms-continuation-nextpartitionkey").map(|partition| Continuation {
            partition,
            row: next("x-ms-continuation-nextrowkey"),
        });
        Ok((entities.collect::<Result<_>>()?, next))
    }

    /// Makes all changes, which are in one partition, or none: an entity group transaction.
    pub(super) async fn batch(&self, changes: &[Change]) -> Result<()> {
        let connection = self.connection().await?;
        // Too random to be in a value.
        let (batch, set) = (
            format!("batch_{}", WriteId::new()),
            format!("changeset_{}", WriteId::new()),
        );
        let mut body =
            format!("--{batch}\r\nContent-Type: multipart/mixed; boundary={set}\r\n\r\n").into_bytes();
        for change in changes {
            let url = format!("{}{}", connection.endpoint, self.path_for(change));
            let method = change.kind.method();
            let mut head = format!(
                "--{set}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
                 {method} {url} HTTP/1.1\r\nAccept: {NO_METADATA}\r\nDataServiceVersion: 3.0;\r\n"
            );
            if let Some(etag) = change.kind.if_match() {
                head += &format!("If-Match: {etag}\r\n");
            }
            if change.kind == Kind::Insert {
                head += "Prefer: return-no-content\r\n";
            }
            if !change.body.is_empty() {
                head += "Content-Type: application/json\r\n";
            }
            body.extend(head.as_bytes());
            body.extend(b"\r\n");
            body.extend(&change.body);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{set}--\r\n--{batch}--\r\n").as_bytes());
        let content_type = value(&format!("multipart/mixed; boundary={batch}"))?;
        let body = Some((content_type, body.into()));
        let answer = self
            .send(Method::POST, "/$batch", "", HeaderMap::new(), body)
            .await?;
        batch_answer(&answer, changes.len())
    }

    /// Makes the table.
    pub(super) async fn create_table(&self) -> Result<()> {
        let body = format!("{{\"TableName\":\"{}\"}}", self.table());
        let mut headers = HeaderMap::new();
        headers.insert("prefer", HeaderValue::from_static("return-no-content"));
        let body = Some((HeaderValue::from_static("application/json"), body.into()));
        self.send(Method::POST, "/Tables", "", headers, body)
            .await
            .map(drop)
    }

    fn path_of(&self, place: &Place) -> String {
        // The encoding of keys leaves no quote in them.
        format!(
            "/{}(PartitionKey='{}',RowKey='{}')",
            self.table(),
            escaped(&place.partition),
            escaped(&place.row)
        )
    }

    fn path_for(&self, change: &Change) -> String {
        match change.kind {
            Kind::Insert => format!("/{}", self.table()),
            _ => self.path_of(&change.place),
        }
    }

    async fn connection(&self) -> Result<&Connection> {
        let connect = || async {
            let config = &self.config;
            let endpoint = config.endpoint();
            let url: Uri = endpoint.parse().map_err(|_| bad("the endpoint is no URL"))?;
            let for_tokens = ForTokens {
                connect_timeout: config.connect_timeout,
                timeout: config.timeout,
            };
            Ok(Connection {
                http: Http::new(&url, config.connect_timeout)?,
                auth: config.credential.auth(&config.account, for_tokens)?,
                path: url.path().trim_end_matches('/').to_owned(),
                endpoint: endpoint.trim_end_matches('/').to_owned(),
            })
        };
        self.connection
            .get_or_try_init(connect)
            .await
            .map_err(Fault::Unready)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        mut headers: HeaderMap,
        body: Option<(HeaderValue, Bytes)>,
    ) -> Result<Answer> {
        let connection = self.connection().await?;
        let path = format!("{}{path}", connection.path);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let authorization = connection
            .auth
            .header(&date, &path)
            .await
            .map_err(Fault::NoToken)?;
        if let Some(authorization) = authorization {
            let mut authorization = value(&authorization)?;
            authorization.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, authorization);
        }
        headers.insert("x-ms-date", value(&date)?);
        headers.insert("x-ms-version", HeaderValue::from_static(API_VERSION));
        headers.insert("dataserviceversion", HeaderValue::from_static("3.0;"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers
            .entry(header::ACCEPT)
            .or_insert(HeaderValue::from_static(NO_METADATA));
        let body = body.map(|(content_type, body)| {
            headers.insert(header::CONTENT_TYPE, content_type);
            body
        });
        let mut uri = path;
        let queries = [
            Some(query).filter(|query| !query.is_empty()),
            connection.auth.query(),
        ];
        for (separator, query) in ['?', '&'].iter().zip(queries.into_iter().flatten()) {
            uri.push(*separator);
            uri += query;
        }
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = uri
            .parse()
            .map_err(|_| Fault::Unready(bad("the shared access signature is no query of a URL")))?;
        *request.headers_mut() = headers;
        let response = connection.http.send(request, self.config.timeout).await;
        let (head, body) = response.map_err(Fault::NoAnswer)?.into_parts();
        if head.status.is_success() {
            return Ok(Answer {
                headers: head.headers,
                body,
            });
        }
        let mut refusal = Refusal::of_body(head.status.as_u16(), &body);
        if refusal.code.is_empty() {
            refusal.code = text(&head.headers, "x-ms-error-code").unwrap_or_default();
        }
        refusal.add(&head.headers);
        Err(Fault::Refused(refusal))
    }
}

impl Kind {
    fn method(&self) -> Method {
        match self {
            Self::Insert => Method::POST,
            Self::InsertOrReplace | Self::Replace(_) => Method::PUT,
            Self::Merge(_) => Method::PATCH,
            Self::Delete(_) => Method::DELETE,
        }
    }

    fn if_match(&self) -> Option<&str> {
        match self {
            Self::Insert | Self::InsertOrReplace => None,
            Self::Replace(etag) | Self::Merge(etag) | Self::Delete(etag) => Some(etag),
        }
    }
}

impl Refusal {
    /// From the error that the body tells, in JSON.
    fn of_body(status: u16, body: &[u8]) -> Self {
        let error: Entity = serde_json::from_slice(body).unwrap_or_default();
        let error = error.get("odata.error");
        let code = error.and_then(|error| error.get("code")).and_then(Value::as_str);
        let message = error.and_then(|error| error.get("message")?.get("value")?.as_str());
        Self {
            status,
            code: code.filter(|code| is_code(code)).unwrap_or_default().to_owned(),
            // A batch's is "2:The specified entity already exists. …".
            op: message.and_then(|message| message.split_once(':')?.0.parse().ok()),
            ..Self::default()
        }
    }

    fn add(&mut self, headers: &HeaderMap) {
        if !is_code(&self.code) {
            self.code = String::new();
        }
        self.request_id = text(headers, "x-ms-request-id").filter(|id| is_code(id));
        self.retry_after = retry_after(
            text(headers, "x-ms-retry-after-ms").or_else(|| text(headers, "retry-after-ms")),
            text(headers, "retry-after"),
        );
    }
}

/// What looks like an error's code or an id, and not like what was sent.
fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 80
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn retry_after(milliseconds: Option<String>, seconds: Option<String>) -> Option<Duration> {
    let parse = |text: Option<String>| text.and_then(|text| text.trim().parse().ok());
    parse(milliseconds)
        .map(Duration::from_millis)
        .or_else(|| parse(seconds).map(Duration::from_secs))
}

/// A batch is answered with 202, and one answer for each change, or one refusal, within.
fn batch_answer(answer: &Answer, changes: usize) -> Result<()> {
    let body = String::from_utf8_lossy(&answer.body);
    let mut good = 0;
    for part in body.split("HTTP/1.1 ").skip(1) {
        let status: u16 = match part.get(..3).map(str::parse) {
            Some(Ok(status)) => status,
            _ => {
                return Err(Fault::Garbled(
                    "its answer to a batch has something that is no answer",
                ));
            }
        };
        if (200..300).contains(&status) {
            good += 1;
            continue;
        }
        let json = part
            .find('{')
            .and_then(|start| part.get(start..=part.rfind('}')?));
        let mut refusal = Refusal::of_body(status, json.unwrap_or_default().as_bytes());
        refusal.add(&answer.headers);
        return Err(Fault::Refused(refusal));
    }
    if good == changes {
        Ok(())
    } else {
        Err(Fault::Garbled(
            "its answer to a batch has not one answer for each change",
        ))
    }
}

/// The ETag of an entity that a query found. With less metadata there is none, and it is made of the time of the write, as the
/// service makes it.
pub(super) fn etag_of(entity: &Entity) -> Option<String> {
    let text = |name: &str| entity.get(name).and_then(Value::as_str);
    text("odata.etag").map(str::to_owned).or_else(|| {
        let time = escaped(text(TIMESTAMP)?);
        Some(format!("W/\"datetime'{time}'\""))
    })
}

/// Where an entity that a query found is.
pub(super) fn place_of(entity: &Entity) -> Option<Place> {
    let text = |name: &str| Some(entity.get(name)?.as_str()?.to_owned());
    Some(Place {
        partition: text(PARTITION)?,
        row: text(ROW)?,
    })
}

fn etag(headers: &HeaderMap) -> Result<String> {
    text(headers, header::ETAG.as_str()).ok_or(Fault::Garbled("its answer has no ETag"))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| Fault::Unready(bad("a credential or an ETag is no text for a header")))
}

fn parsed(body: &[u8]) -> Result<Entity> {
    // The parser's error would quote what it does not understand.
    serde_json::from_slice(body).map_err(|_| Fault::Garbled("its answer is no JSON of the Table service's"))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer {
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    const REFUSED: &str = "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_2\r\n\r\n\
        --changesetresponse_2\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
        HTTP/1.1 412 Precondition Failed\r\nX-Content-Type-Options: nosniff\r\nDataServiceVersion: 3.0;\r\n\
        Content-Type: application/json;odata=minimalmetadata;streaming=true;charset=utf-8\r\n\r\n\
        {\"odata.error\":{\"code\":\"UpdateConditionNotSatisfied\",\"message\":{\"lang\":\"en-US\",\"value\":\"17:The update \
        condition specified in the request was not satisfied.\\nRequestId:1\\nTime:2026-11-24T00:00:00Z\"}}}\r\n\
        --changesetresponse_2--\r\n--batchresponse_1--\r\n";

    #[test]
    fn a_batch_that_was_refused_tells_the_operation() {
        let Err(Fault::Refused(refusal)) = batch_answer(&answer(REFUSED), 20) else {
            panic!("it was refused");
        };
        assert_eq!(
            (refusal.status, refusal.code.as_str()),
            (412, "UpdateConditionNotSatisfied")
        );
        assert_eq!(refusal.op, Some(17));
    }

    #[test]
    fn a_batch_is_good_when_each_change_is() {
        let one = "--c\r\n\r\nHTTP/1.1 204 No Content\r\nETag: W/\"1\"\r\n\r\n";
        batch_answer(&answer(&one.repeat(3)), 3).unwrap();
        for (body, changes) in [
            (one.repeat(2), 3),
            (String::new(), 1),
            ("HTTP/1.1 hunter2".to_owned(), 1),
        ] {
            assert!(
                matches!(batch_answer(&answer(&body), changes), Err(Fault::Garbled(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn a_refusal_shows_codes_and_no_words() {
        let body = br#"{"odata.error":{"code":"AuthenticationFailed","message":{"value":"the signature hunter2 is bad"}}}"#;
        let refusal = Refusal::of_body(403, body);
        assert_eq!(refusal.code, "AuthenticationFailed");
        assert!(!format!("{refusal:?}").contains("hunter2"));
        let odd = Refusal::of_body(400, br#"{"odata.error":{"code":"sig=hunter2&x"}}"#);
        assert_eq!(odd.code, "");
    }

    #[test]
    fn without_metadata_an_etag_is_made_of_the_time() {
        let entity = |json: &str| serde_json::from_str(json).unwrap();
        let made = etag_of(&entity(r#"{"Timestamp":"2026-11-24T23:24:07.1231234Z"}"#));
        assert_eq!(made.unwrap(), "W/\"datetime'2026-11-24T23%3A24%3A07.1231234Z'\"");
        let told = etag_of(&entity(r#"{"odata.etag":"W/\"x\"","Timestamp":"2026"}"#));
        assert_eq!(told.unwrap(), "W/\"x\"");
    }
}
