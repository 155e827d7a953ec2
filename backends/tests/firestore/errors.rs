//! Every status of the service's, and every way not to be answered, by canned answers over a real connection.

use std::error::Error as _;
use std::time::Duration;

use firestore::gcloud_sdk::google::firestore::v1::batch_get_documents_response::Result as Got;
use firestore::gcloud_sdk::google::firestore::v1::{BatchGetDocumentsResponse, CommitResponse, Document};
use firestore::gcloud_sdk::google::rpc;
use firestore::gcloud_sdk::prost::Message as _;
use firestore::gcloud_sdk::prost_types::{Any, Timestamp};
use firestore::gcloud_sdk::tonic::Code;
use statestore::firestore::FirestoreConfig;
use statestore::{
    Applied, Error, ErrorKind, FirestoreStore, GetOptions, ListOptions, Precondition, PutOptions,
    ScanOptions, StateStore, StateStoreExt, TransactOp,
};
use tokio::net::TcpListener;

use super::canned::{Answer, Canned};
use super::key;

async fn put(answer: Answer) -> (Error, Canned) {
    let canned = Canned::start([answer]).await;
    let (store, key) = (canned.store(), key("x"));
    let put = store.put(&key, "hunter2".into(), PutOptions::default());
    let error = put.await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    (error, canned)
}

#[tokio::test]
async fn each_code_is_one_kind() {
    use ErrorKind::{Config, StoreNotFound, Throttled, Timeout, Unauthorized, Unavailable};
    let rows = [
        (Code::Aborted, Unavailable, true, false),
        (Code::ResourceExhausted, Throttled, true, false),
        (Code::DeadlineExceeded, Timeout, false, true),
        (Code::Unavailable, Unavailable, false, true),
        (Code::Internal, Unavailable, false, true),
        (Code::Unknown, Unavailable, false, true),
        (Code::DataLoss, Unavailable, false, true),
        (Code::Cancelled, Unavailable, false, true),
        (Code::NotFound, StoreNotFound, false, false),
        (Code::PermissionDenied, Unauthorized, false, false),
        (Code::Unauthenticated, Unauthorized, false, false),
        (Code::InvalidArgument, Config, false, false),
        (Code::FailedPrecondition, Config, false, false),
        (Code::AlreadyExists, Config, false, false),
        (Code::OutOfRange, Config, false, false),
        (Code::Unimplemented, Config, false, false),
    ];
    for (code, kind, retryable, may_have_applied) in rows {
        let (error, canned) = put(Answer::status(code, "as canned")).await;
        let found = (error.kind(), error.is_retryable(), error.may_have_applied());
        assert_eq!(found, (kind, retryable, may_have_applied), "{code:?}: {error}");
        assert_eq!(canned.requests().len(), 1, "{code:?}: the client retried a write");
        if kind != StoreNotFound {
            assert_eq!(
                error.source().unwrap().to_string(),
                format!("{code:?}: as canned")
            );
        }
        // No read can have changed something.
        let read = canned
            .store()
            .get(&key("x"), GetOptions::default())
            .await
            .unwrap_err();
        assert_eq!(read.kind(), kind, "{code:?}: {read}");
        assert!(!read.may_have_applied(), "{code:?}: {read}");
    }
}

#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let rows = [
        (
            "The database (default) does not exist for project canned Please visit https://console.cloud.google.com",
            "the Firestore database `(default)` of the project `canned` does not exist",
        ),
        (
            "The project canned does not exist or it does not contain an active Cloud Datastore or Cloud Firestore database.",
            "the Google Cloud project `canned`, or its Firestore, does not exist",
        ),
    ];
    for (message, expected) in rows {
        let (error, canned) = put(Answer::status(Code::NotFound, message)).await;
        let command = "`gcloud firestore databases create --project=canned --database='(default)' --location=LOCATION \
                       --type=firestore-native`";
        let shown = error.to_string();
        assert!(shown.contains(expected) && shown.contains(command), "{shown}");
        let ready = canned.store().ready().await.unwrap_err();
        assert_eq!(ready.to_string(), shown);
    }
    // A commit is refused as NOT_FOUND where the document is missing, and so is the read that follows: of the document, in words
    // that name it, or of who knows what. Then it is asked for in another way.
    let missing = BatchGetDocumentsResponse {
        result: Some(Got::Missing("whichever".to_owned())),
        ..Default::default()
    };
    let (version, key) = version().await;
    let name = document(&key).name;
    for (answers, reads) in [
        (
            vec![Answer::status(
                Code::NotFound,
                format!("Document \"{name}\" not found."),
            )],
            1,
        ),
        (
            vec![Answer::status(Code::NotFound, "gone"), Answer::message(&missing)],
            2,
        ),
    ] {
        let refused = Answer::status(Code::NotFound, format!("No document to update: {name}"));
        let canned = Canned::start(std::iter::once(refused).chain(answers)).await;
        let store = canned.store();
        let error = store
            .compare_and_set(&key, Some(&version), "x")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(canned.requests().len(), 1 + reads);
    }
}

/// A document of another program, where that of `key` would be.
pub(super) fn document(key: &statestore::Key) -> Document {
    Document {
        name: format!(
            "projects/canned/databases/(default)/documents/state/{}/state-items/{}",
            key.partition(),
            key.id()
        ),
        update_time: Some(Timestamp { seconds: 1, nanos: 0 }),
        ..Default::default()
    }
}

/// A version of the store's, and its key.
async fn version() -> (statestore::Version, statestore::Key) {
    let answer = CommitResponse {
        write_results: vec![firestore::gcloud_sdk::google::firestore::v1::WriteResult {
            update_time: Some(Timestamp {
                seconds: 1,
                nanos: 1_000,
            }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let (canned, key) = (Canned::start([Answer::message(&answer)]).await, key("x"));
    (canned.store().create(&key, "x").await.unwrap(), key)
}

#[tokio::test]
async fn an_api_that_is_off_is_told_from_a_missing_role() {
    let (error, _) = put(Answer::status(
        Code::PermissionDenied,
        "Missing or insufficient permissions.",
    ))
    .await;
    assert!(error.to_string().contains("`roles/datastore.user`"), "{error}");
    let off = "Cloud Firestore API has not been used in project canned before or it is disabled.";
    let (error, _) = put(Answer::status(Code::PermissionDenied, off)).await;
    let command = "`gcloud services enable firestore.googleapis.com --project=canned`";
    assert!(error.to_string().contains(command), "{error}");
}

#[tokio::test]
async fn a_size_is_told_from_a_name() {
    let large =
        "Document 'projects/x' cannot be written because its size (1,049,000 bytes) exceeds the maximum";
    let (error, _) = put(Answer::status(Code::InvalidArgument, large)).await;
    assert!(error.to_string().contains("of this size"), "{error}");
    let (error, _) = put(Answer::status(
        Code::InvalidArgument,
        "Collection id \"__x__\" is invalid",
    ))
    .await;
    assert!(error.to_string().contains("the names of the project"), "{error}");
}

#[tokio::test]
async fn throttling_says_how_long_to_wait() {
    let wait = firestore::gcloud_sdk::prost_types::Duration {
        seconds: 1,
        nanos: 500_000_000,
    };
    let info = rpc::RetryInfo {
        retry_delay: Some(wait),
    };
    let status = rpc::Status {
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
        ..Default::default()
    };
    for (details, expected) in [
        (status.encode_to_vec(), Some(Duration::from_millis(1500))),
        (Vec::new(), None),
        (b"no status".to_vec(), None),
    ] {
        let (error, _) = put(Answer::Status(
            Code::ResourceExhausted,
            "quota".to_owned(),
            details,
        ))
        .await;
        let Error::Throttled { retry_after, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(retry_after, expected);
    }
}

#[tokio::test]
async fn a_broken_answer_may_have_applied_a_write_and_no_read() {
    for answer in [
        Answer::Close,
        Answer::Messages(vec![b"no message hunter2".to_vec()]),
    ] {
        let (error, _) = put(answer.clone()).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{answer:?}: {error}");
        assert!(error.may_have_applied(), "{answer:?}: {error}");
        let canned = Canned::start([answer.clone()]).await;
        let error = canned
            .store()
            .get(&key("x"), GetOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{answer:?}: {error}");
        assert!(error.is_retryable(), "{answer:?}: {error}");
    }
    // Applied, but without the time that would make its version.
    let (error, _) = put(Answer::message(&CommitResponse::default())).await;
    assert!(error.may_have_applied(), "{error}");
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let canned = Canned::start([Answer::Silence]).await;
    let short = Duration::from_millis(100);
    let store = FirestoreStore::new(canned.config().with_timeout(short)).unwrap();
    let error = store.create(&key("x"), "x").await.unwrap_err();
    assert!(
        matches!(&error, Error::Timeout { after, applied: Applied::Maybe, .. } if *after == short),
        "{error:?}"
    );
    let reads = [
        store.get(&key("x"), GetOptions::default()).await.map(drop),
        store.list_page("x", ListOptions::default()).await.map(drop),
        store.scan_page(ScanOptions::default()).await.map(drop),
    ];
    for read in reads {
        let error = read.unwrap_err();
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
}

#[tokio::test]
async fn what_was_never_connected_was_not_applied() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere =
        FirestoreConfig::new("canned", "state").with_emulator(free.local_addr().unwrap().to_string());
    drop(free);
    let mut errors = vec![
        FirestoreStore::new(nowhere)
            .unwrap()
            .create(&key("x"), "x")
            .await
            .unwrap_err(),
    ];
    // Nor what was connected once, to a server that is gone.
    let canned = Canned::start([Answer::Close]).await;
    let store = canned.store();
    let broken = store.create(&key("x"), "x").await.unwrap_err();
    assert!(broken.may_have_applied(), "{broken}");
    drop(canned);
    // The listener is gone when the runtime has come to it.
    loop {
        let error = store.create(&key("x"), "x").await.unwrap_err();
        if !error.may_have_applied() {
            errors.push(error);
            break;
        }
        tokio::task::yield_now().await;
    }
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.is_retryable(), "{error:?}");
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_said_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let open =
        || FirestoreStore::new(FirestoreConfig::new("canned", "state").with_credentials(&file)).unwrap();
    // The service is not there to be connected to, but that comes after the key is read.
    let missing = open().ready().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config, "{missing}");
    for text in ["hunter2", "{\"private_key\": \"hunter2"] {
        std::fs::write(&file, text).unwrap();
        let error = open().ready().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    std::fs::write(&file, r#"{"type": "service_account", "private_key": "hunter2"}"#).unwrap();
    let error = open().ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    let key = key("theirs");
    let found = Answer::message(&document(&key));
    let refused = Answer::status(Code::AlreadyExists, "Document already exists");
    let canned = Canned::start([found.clone(), refused, found]).await;
    let store = canned.store();
    let read = store.get(&key, GetOptions::default()).await.map(drop);
    let create = store.create(&key, "x").await.map(drop);
    let exists = store
        .put(&key, "x".into(), Precondition::Exists.into())
        .await
        .map(drop);
    for answer in [read, create, exists] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    let methods: Vec<String> = canned.requests().into_iter().map(|(method, _)| method).collect();
    assert_eq!(methods, ["GetDocument", "Commit", "GetDocument", "GetDocument"]);
}

#[tokio::test]
async fn a_transaction_that_fails_lets_go_of_its_locks() {
    let key = key("x");
    // What is to be there is missing, or is no entry.
    let missing = Got::Missing("whichever".to_owned());
    for (got, kind) in [
        (missing, ErrorKind::Conflict),
        (Got::Found(document(&key)), ErrorKind::Corrupt),
    ] {
        let locked = BatchGetDocumentsResponse {
            transaction: b"the lock".to_vec(),
            result: Some(got),
            ..Default::default()
        };
        let canned = Canned::start([
            Answer::message(&locked),
            Answer::message(&CommitResponse::default()),
        ])
        .await;
        let ops = vec![TransactOp::check(key.clone(), Precondition::Exists)];
        let error = canned.store().transact(ops, Default::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let op = (kind == ErrorKind::Conflict).then_some(0);
        assert_eq!(error.conflict().and_then(|conflict| conflict.op), op);
        let requests = canned.requests();
        let methods: Vec<&str> = requests.iter().map(|(method, _)| method.as_str()).collect();
        assert_eq!(methods, ["BatchGetDocuments", "Rollback"]);
        let rollback =
            firestore::gcloud_sdk::google::firestore::v1::RollbackRequest::decode(&*requests[1].1).unwrap();
        assert_eq!(rollback.transaction, b"the lock");
    }
}
