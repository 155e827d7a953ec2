//! Every error of the service's, and every way not to be answered, by canned answers over a real connection.

use std::error::Error as _;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use statestore::dynamodb::DynamoDbConfig;
use statestore::{
    Applied, Current, DynamoDbStore, Error, ErrorKind, GetOptions, Key, Precondition, PutOptions, StateStore,
    StateStoreExt, TransactOp,
};
use tokio::net::TcpListener;

use super::canned::{Answer, Canned};
use super::key;

/// What an error says that a caller acts upon.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    kind: ErrorKind,
    retryable: bool,
    may_have_applied: bool,
}

fn verdict(error: &Error) -> Verdict {
    Verdict {
        kind: error.kind(),
        retryable: error.is_retryable(),
        may_have_applied: error.may_have_applied(),
    }
}

async fn put(answers: impl IntoIterator<Item = Answer>) -> (Error, Canned) {
    let canned = Canned::start(answers).await;
    let (store, key) = (canned.store(), key("x"));
    let put = store.put(&key, "hunter2".into(), PutOptions::default());
    let error = put.await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    (error, canned)
}

#[tokio::test]
async fn each_code_of_the_service_is_one_kind() {
    use ErrorKind::{
        Config, InvalidOptions, StorageFull, StoreNotFound, Throttled, Unauthorized, Unavailable,
    };
    let rows = [
        ("ProvisionedThroughputExceededException", Throttled, true, false),
        ("RequestLimitExceeded", Throttled, true, false),
        ("ThrottlingException", Throttled, true, false),
        ("Throttling", Throttled, true, false),
        ("TooManyRequestsException", Throttled, true, false),
        ("TransactionConflictException", Unavailable, true, false),
        ("ReplicatedWriteConflictException", Unavailable, true, false),
        ("TransactionInProgressException", Unavailable, false, true),
        (
            "ItemCollectionSizeLimitExceededException",
            StorageFull,
            false,
            false,
        ),
        ("ResourceNotFoundException", StoreNotFound, false, false),
        ("AccessDeniedException", Unauthorized, false, false),
        ("ExpiredTokenException", Unauthorized, false, false),
        ("UnrecognizedClientException", Unauthorized, false, false),
        ("MissingAuthenticationTokenException", Unauthorized, false, false),
        ("IncompleteSignatureException", Unauthorized, false, false),
        ("InvalidSignatureException", Unauthorized, false, false),
        (
            "IdempotentParameterMismatchException",
            InvalidOptions,
            false,
            false,
        ),
        ("ValidationException", Config, false, false),
        ("InternalServerError", Unavailable, false, true),
        ("ServiceUnavailable", Unavailable, false, true),
        ("SomethingThatIsNotKnownYet", Config, false, false),
    ];
    for (code, kind, retryable, may_have_applied) in rows {
        let (error, canned) = put([Answer::error(code)]).await;
        let expected = Verdict {
            kind,
            retryable,
            may_have_applied,
        };
        assert_eq!(verdict(&error), expected, "{code}: {error}");
        assert_eq!(canned.requests().len(), 1, "{code}: the SDK retried a write");
        if kind != StoreNotFound && kind != InvalidOptions {
            let source = error.source().unwrap().to_string();
            assert!(source.contains(code) && source.contains("as canned"), "{source}");
        }
    }
}

#[tokio::test]
async fn a_server_error_of_any_code_may_have_applied_the_write() {
    for (status, body) in [(500, "{}"), (503, "not json"), (502, r#"{"__type":"Odd"}"#)] {
        let (error, _) = put([Answer::Http(status, "", body.to_owned())]).await;
        assert!(error.may_have_applied(), "{status}: {error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
    }
}

#[tokio::test]
async fn throttling_says_how_long_to_wait() {
    let body = r#"{"__type":"ThrottlingException"}"#;
    for (header, expected) in [
        ("Retry-After: 2\r\n", Some(Duration::from_secs(2))),
        ("x-amz-retry-after: 1500\r\n", Some(Duration::from_millis(1500))),
        ("", None),
        ("Retry-After: soon\r\n", None),
    ] {
        let (error, _) = put([Answer::Http(400, header, body.to_owned())]).await;
        let Error::Throttled { retry_after, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(retry_after, expected, "{header}");
    }
}

#[tokio::test]
async fn a_missing_table_says_what_to_call() {
    let (error, _) = put([Answer::error("ResourceNotFoundException")]).await;
    let message = error.to_string();
    for part in [
        "`canned`",
        "`DynamoDbStore::create_table`",
        "aws dynamodb create-table --table-name canned",
        "AttributeName=pk,KeyType=HASH",
        "Enabled=true,AttributeName=ttl",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_broken_answer_may_have_applied_a_write_and_no_read() {
    for answer in [Answer::Close, Answer::ok("{ this is not JSON hunter2")] {
        let (error, _) = put([answer.clone()]).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.may_have_applied(), "{answer:?}: {error}");
        let canned = Canned::start([answer.clone()]).await;
        let error = canned
            .store()
            .get(&key("x"), GetOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable(), "{answer:?}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let canned = Canned::start([Answer::Silence]).await;
    let short = Duration::from_millis(100);
    let store = DynamoDbStore::new(canned.config().with_timeout(short)).unwrap();
    let error = store.create(&key("x"), "x").await.unwrap_err();
    assert!(
        matches!(&error, Error::Timeout { after, applied: Applied::Maybe, .. } if *after == short),
        "{error:?}"
    );
    let error = store.get(&key("x"), GetOptions::default()).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Timeout {
                applied: Applied::No,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_was_never_connected_was_not_applied() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = DynamoDbConfig::new("nowhere")
        .with_endpoint(format!("http://{}", free.local_addr().unwrap()))
        .with_made_up_credentials();
    drop(free);
    let store = DynamoDbStore::new(config).unwrap();
    let error = store.create(&key("x"), "x").await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Unavailable {
                applied: Applied::No,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn missing_credentials_are_said_before_anything_is_sent() {
    #[derive(Debug)]
    struct Nothing;
    impl aws_sdk_dynamodb::config::ProvideCredentials for Nothing {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = aws_credential_types::provider::error::CredentialsError::not_loaded("none here");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let canned = Canned::start([Answer::ok("{}")]).await;
    let client = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(canned.config().endpoint.unwrap())
        .credentials_provider(Nothing)
        .build();
    let store = DynamoDbStore::from_client(aws_sdk_dynamodb::Client::from_conf(client), "canned").unwrap();
    let error = store.create(&key("x"), "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(canned.requests().is_empty());
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    let theirs = r#"{"pk":{"S":"p"},"sk":{"S":"id"},"name":{"S":"hunter2"}}"#;
    let refused = format!(r#"{{"__type":"ConditionalCheckFailedException","Item":{theirs}}}"#);
    let (error, _) = put([Answer::Http(400, "", refused)]).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let canned = Canned::start([Answer::ok(format!(r#"{{"Item":{theirs}}}"#))]).await;
    let error = canned
        .store()
        .get(&key("x"), GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

fn cancelled(reasons: &str) -> Answer {
    let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Answer::Http(
        400,
        "",
        format!(r#"{{"__type":"{code}","Message":"cancelled","CancellationReasons":[{reasons}]}}"#),
    )
}

#[tokio::test]
async fn a_cancelled_transaction_is_what_its_operation_was_cancelled_for() {
    let (a, b) = (key("a"), "b");
    let b = Key::new(a.partition(), b).unwrap();
    let ops = vec![
        TransactOp::put(a.clone(), "x"),
        TransactOp::put(b.clone(), "x").when(Precondition::Exists),
    ];
    for (code, kind, retryable) in [
        ("TransactionConflict", ErrorKind::Unavailable, true),
        ("ProvisionedThroughputExceeded", ErrorKind::Throttled, true),
        ("ThrottlingError", ErrorKind::Throttled, true),
        ("ItemCollectionSizeLimitExceeded", ErrorKind::StorageFull, false),
        ("ValidationError", ErrorKind::Config, false),
        ("AccessDenied", ErrorKind::Unauthorized, false),
    ] {
        let answer = cancelled(&format!(r#"{{"Code":"None"}},{{"Code":"{code}","Message":"m"}}"#));
        let canned = Canned::start([answer]).await;
        let error = canned
            .store()
            .transact(ops.clone(), Default::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{code}: {error}");
        assert!(!error.may_have_applied(), "{code}: {error}");
    }
    // A condition that failed tells more than another operation's bad luck.
    let reasons = r#"{"Code":"TransactionConflict"},{"Code":"ConditionalCheckFailed"}"#;
    let canned = Canned::start([cancelled(reasons)]).await;
    let error = canned
        .store()
        .transact(ops, Default::default())
        .await
        .unwrap_err();
    let conflict = error.conflict().unwrap();
    assert_eq!(
        (conflict.op, &conflict.key, &conflict.current),
        (Some(1), &b, &Current::Absent)
    );
}

#[tokio::test]
async fn what_a_batch_leaves_unprocessed_is_asked_for_again() {
    let keys: Vec<Key> = ["a", "b"].iter().map(|id| Key::new("p", id).unwrap()).collect();
    let left = r#"{"canned":{"Keys":[{"pk":{"S":"p"},"sk":{"S":"b"}}]}}"#;
    let item = |id: &str| {
        let stamp = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        format!(r#"{{"pk":{{"S":"p"}},"sk":{{"S":"{id}"}},"v":{{"S":"{id}"}},"ver1":{{"S":"{stamp}"}}}}"#)
    };
    let canned = Canned::start([
        Answer::ok(format!(
            r#"{{"Responses":{{"canned":[{}]}},"UnprocessedKeys":{left}}}"#,
            item("a")
        )),
        Answer::ok(format!(r#"{{"Responses":{{"canned":[{}]}}}}"#, item("b"))),
    ])
    .await;
    let entries = canned.store().get_many(&keys, GetOptions::default()).await;
    for (entry, id) in entries.into_iter().zip(["a", "b"]) {
        assert_eq!(entry.unwrap().unwrap().value, id);
    }
    let second = canned.requests().pop().unwrap();
    assert!(
        second.0 == "BatchGetItem" && !second.1.contains(r#"{"S":"a"}"#),
        "{second:?}"
    );
}

#[tokio::test]
async fn what_a_batch_never_processes_is_throttled_and_not_missing() {
    let left = r#"{"canned":{"Keys":[{"pk":{"S":"p"},"sk":{"S":"b"}}]}}"#;
    let canned = Canned::start([Answer::ok(format!(r#"{{"UnprocessedKeys":{left}}}"#))]).await;
    let keys = ["a", "b"].map(|id| Key::new("p", id).unwrap());
    let entries = canned.store().get_many(&keys, GetOptions::default()).await;
    assert_eq!(entries[0].as_ref().unwrap(), &None);
    assert_eq!(entries[1].as_ref().unwrap_err().kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn an_error_of_a_batch_is_each_key_s() {
    let canned = Canned::start([Answer::error("AccessDeniedException")]).await;
    let keys = ["a", "b", "a"].map(|id| Key::new("p", id).unwrap());
    for entry in canned.store().get_many(&keys, GetOptions::default()).await {
        assert_eq!(entry.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
}
