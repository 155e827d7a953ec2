//! DynamoDB's canned answers.

use std::time::Duration;

use statestore::DynamoDbStore;
use statestore::dynamodb::DynamoDbConfig;

pub(crate) use super::http_support::canned::Answer;
use super::http_support::canned::CannedServer;

const HEADERS: &str = "Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: canned\r\n";

impl Answer {
    /// DynamoDB's answer with this error.
    pub(crate) fn error(code: &str) -> Self {
        let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as canned"}}"#);
        Self::Http(400, "", body)
    }
}

pub(crate) struct Canned(CannedServer);

impl Canned {
    /// Gives these answers in turn, and the last one again and again.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(CannedServer::start(HEADERS, answers).await)
    }

    pub(crate) fn store(&self) -> DynamoDbStore {
        DynamoDbStore::new(self.config()).unwrap()
    }

    pub(crate) fn config(&self) -> DynamoDbConfig {
        DynamoDbConfig::new("canned")
            .with_endpoint(format!("http://{}", self.0.addr()))
            .with_made_up_credentials()
            .with_timeout(Duration::from_secs(20))
    }

    /// The name of each request so far, and its body.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        let named = |request: super::http_support::canned::Request| {
            let target = request.header("x-amz-target").unwrap_or_default();
            let name = target.rsplit('.').next().unwrap_or_default().to_owned();
            (name, request.body)
        };
        self.0.requests().into_iter().map(named).collect()
    }
}
