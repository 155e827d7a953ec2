//! The Table service's canned answers.

use std::time::Duration;

use statestore::AzureTableStore;
use statestore::azure_table::AzureTableConfig;

use super::http_support::canned::{Answer, CannedServer, Request};

const HEADERS: &str = "Content-Type: application/json\r\nx-ms-request-id: canned-request\r\n";

/// An ETag that the service could have given.
pub(crate) const ETAG: &str = "ETag: W/\"datetime'2026-11-24T23%3A24%3A07.0123456Z'\"\r\n";

impl Answer {
    /// The service's answer with this error.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Http(status, "", body(code, "as canned"))
    }

    /// Its answer to a batch whose operation `op` failed.
    pub(crate) fn batch_error(status: u16, code: &str, op: usize) -> Self {
        let body = body(code, &format!("{op}:as canned"));
        let head = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\n";
        Self::Http(
            202,
            "",
            format!("{head}HTTP/1.1 {status} canned\r\n\r\n{body}\r\n--c--\r\n--b--\r\n"),
        )
    }
}

fn body(code: &str, message: &str) -> String {
    // The service's words quote what was sent.
    format!(
        r#"{{"odata.error":{{"code":"{code}","message":{{"lang":"en-US","value":"{message}: sig=hunter2"}}}}}}"#
    )
}

pub(crate) struct Canned(CannedServer);

impl Canned {
    /// Gives these answers in turn, and the last one again and again.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(CannedServer::start(HEADERS, answers).await)
    }

    pub(crate) fn store(&self) -> AzureTableStore {
        AzureTableStore::new(self.config()).unwrap()
    }

    /// Not as an emulator: with the service's own limits.
    pub(crate) fn config(&self) -> AzureTableConfig {
        AzureTableConfig::new("account", "canned")
            .with_endpoint(format!("http://{}", self.0.addr()))
            .with_account_key("a2V5")
            .with_timeout(Duration::from_secs(20))
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }
}
