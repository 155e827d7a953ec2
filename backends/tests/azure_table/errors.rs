//! Every error of the service's, and every way not to be answered, by canned answers over a real connection.

use std::error::Error as _;
use std::time::Duration;

use statestore::azure_table::AzureTableConfig;
use statestore::{
    Applied, AzureTableStore, Error, ErrorKind, GetOptions, ListOptions, PutOptions, StateStore,
    StateStoreExt, TransactOp,
};
use tokio::net::TcpListener;

use super::canned::{Canned, ETAG};
use super::http_support::canned::Answer;
use super::key;

async fn put(answers: impl IntoIterator<Item = Answer>) -> (Error, Canned) {
    let canned = Canned::start(answers).await;
    let (store, key) = (canned.store(), key("x"));
    let put = store.put(&key, "hunter2".into(), PutOptions::default());
    let error = put.await.unwrap_err();
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(inner) = source {
        shown += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    (error, canned)
}

#[tokio::test]
async fn each_status_and_code_of_the_service_is_one_kind() {
    use ErrorKind::{
        Config, StoreNotFound, Throttled, TransactionTooLarge, Unauthorized, Unavailable, ValueTooLarge,
    };
    let rows = [
        (404, "TableNotFound", StoreNotFound, false, false),
        (409, "TableBeingDeleted", Unavailable, true, false),
        (503, "ServerBusy", Throttled, true, false),
        (429, "TooManyRequests", Throttled, true, false),
        (429, "", Throttled, true, false),
        (500, "OperationTimedOut", Unavailable, false, true),
        (500, "InternalError", Unavailable, false, true),
        (502, "", Unavailable, false, true),
        (503, "", Unavailable, false, true),
        (408, "", Unavailable, false, true),
        (403, "AuthenticationFailed", Unauthorized, false, false),
        (403, "AuthorizationFailure", Unauthorized, false, false),
        (403, "AuthorizationPermissionMismatch", Unauthorized, false, false),
        (403, "AccountIsDisabled", Unauthorized, false, false),
        (401, "NoAuthenticationInformation", Unauthorized, false, false),
        (401, "", Unauthorized, false, false),
        (400, "EntityTooLarge", ValueTooLarge, false, false),
        (400, "PropertyValueTooLarge", ValueTooLarge, false, false),
        (413, "RequestBodyTooLarge", TransactionTooLarge, false, false),
        (400, "InvalidInput", Config, false, false),
        (400, "OutOfRangeInput", Config, false, false),
        (409, "SomethingThatIsNotKnownYet", Config, false, false),
        (302, "", Config, false, false),
    ];
    for (status, code, kind, retryable, may_have_applied) in rows {
        let (error, canned) = put([Answer::error(status, code)]).await;
        let found = (error.kind(), error.is_retryable(), error.may_have_applied());
        assert_eq!(
            found,
            (kind, retryable, may_have_applied),
            "{status} {code}: {error}"
        );
        assert_eq!(
            canned.requests().len(),
            1,
            "{status} {code}: a write was sent again"
        );
        if let Some(source) = error.source()
            && !code.is_empty()
        {
            let source = source.to_string();
            assert!(
                source.contains(code) && source.contains("canned-request"),
                "{source}"
            );
        }
    }
}

/// What a write looks at before it is an error is one at once to a read.
#[tokio::test]
async fn codes_of_conditions_and_of_missing_things_are_kinds_too() {
    for (status, code, kind) in [
        (404, "ResourceNotFound", ErrorKind::StoreNotFound),
        (409, "EntityAlreadyExists", ErrorKind::Unavailable),
        (412, "UpdateConditionNotSatisfied", ErrorKind::Unavailable),
        (412, "ConditionNotMet", ErrorKind::Unavailable),
    ] {
        let canned = Canned::start([Answer::error(status, code)]).await;
        let error = canned
            .store()
            .list_page("p", ListOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error}");
    }
}

#[tokio::test]
async fn each_is_the_same_within_the_answer_to_a_batch() {
    use ErrorKind::{StoreNotFound, Throttled, TransactionTooLarge, Unauthorized, Unavailable};
    for (status, code, kind, may_have_applied) in [
        (404, "TableNotFound", StoreNotFound, false),
        (503, "ServerBusy", Throttled, false),
        (500, "OperationTimedOut", Unavailable, true),
        (403, "AuthorizationFailure", Unauthorized, false),
        (413, "RequestBodyTooLarge", TransactionTooLarge, false),
    ] {
        for answer in [Answer::batch_error(status, code, 0), Answer::error(status, code)] {
            let canned = Canned::start([answer]).await;
            let ops = vec![TransactOp::put(key("x"), "hunter2")];
            let error = canned
                .store()
                .transact(ops, Default::default())
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.may_have_applied()),
                (kind, may_have_applied),
                "{code}: {error}"
            );
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_missing_entity_is_told_from_a_missing_table() {
    let missing = || Answer::error(404, "ResourceNotFound");
    let page = || Answer::ok(r#"{"value":[]}"#);
    // The first time it is asked whether the table is there, and then not any more.
    let canned = Canned::start([missing(), page(), missing()]).await;
    let store = canned.store();
    for _ in 0..3 {
        assert_eq!(store.get(&key("x"), GetOptions::default()).await.unwrap(), None);
    }
    assert_eq!(canned.requests().len(), 4);

    let canned = Canned::start([missing(), Answer::error(404, "TableNotFound")]).await;
    let error = canned
        .store()
        .get(&key("x"), GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreNotFound);
    for part in [
        "`canned`",
        "`AzureTableStore::create_table`",
        "az storage table create --name canned",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn throttling_says_how_long_to_wait() {
    for (header, expected) in [
        ("Retry-After: 2\r\n", Some(Duration::from_secs(2))),
        ("x-ms-retry-after-ms: 1500\r\n", Some(Duration::from_millis(1500))),
        ("", None),
        ("Retry-After: soon\r\n", None),
    ] {
        for status in [429, 503] {
            let body = r#"{"odata.error":{"code":"ServerBusy"}}"#.to_owned();
            let (error, _) = put([Answer::Http(status, header, body)]).await;
            let Error::Throttled { retry_after, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(retry_after, expected, "{header}");
        }
    }
}

#[tokio::test]
async fn a_code_in_a_header_alone_is_as_good() {
    let (error, _) = put([Answer::Http(
        403,
        "x-ms-error-code: AuthenticationFailed\r\n",
        "<xml/>".to_owned(),
    )])
    .await;
    assert!(error.to_string().contains("this machine's clock"), "{error}");
}

#[tokio::test]
async fn a_broken_answer_may_have_applied_a_write_and_no_read() {
    let broken = [
        Answer::Close,
        // Without an ETag, and with a body that ends early.
        Answer::Http(204, "", String::new()),
        Answer::Http(200, "Content-Length: 100000\r\n", "hunter2".to_owned()),
    ];
    for answer in broken {
        let canned = Canned::start([answer.clone()]).await;
        let store = AzureTableStore::new(canned.config().with_timeout(Duration::from_millis(300))).unwrap();
        let put = store
            .put(&key("x"), "hunter2".into(), PutOptions::default())
            .await;
        let error = put.unwrap_err();
        assert!(error.may_have_applied(), "{answer:?}: {error}");
        let error = store.get(&key("x"), GetOptions::default()).await.unwrap_err();
        assert!(
            !error.may_have_applied() && error.is_retryable(),
            "{answer:?}: {error}"
        );
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    let canned = Canned::start([Answer::Http(200, ETAG, "{ this is not JSON hunter2".to_owned())]).await;
    let error = canned
        .store()
        .get(&key("x"), GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let canned = Canned::start([Answer::Silence]).await;
    let after = Duration::from_millis(100);
    let store = AzureTableStore::new(canned.config().with_timeout(after)).unwrap();
    let error = store.create(&key("x"), "y").await.unwrap_err();
    assert!(
        matches!(&error, Error::Timeout { after: waited, applied: Applied::Maybe, .. } if *waited == after),
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
async fn what_was_never_sent_was_not_applied() {
    // A port that nobody listens on any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = AzureTableConfig::new("account", "canned").with_endpoint(endpoint);
    for config in [
        config.clone().with_account_key("a2V5"),
        config.with_sas("sv=1&sig=hunter2"),
    ] {
        let store = AzureTableStore::new(config).unwrap();
        let error = store.create(&key("x"), "y").await.unwrap_err();
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
        let source = error.source().unwrap();
        assert!(
            !format!("{error:?} {source} {source:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_another_program_wrote_is_corrupt() {
    let entity = r#"{"PartitionKey":"p","RowKey":"r","Timestamp":"2026-11-24T00:00:00Z","secret":"hunter2"}"#;
    let canned = Canned::start([Answer::Http(200, ETAG, entity.to_owned())]).await;
    let error = canned
        .store()
        .get(&key("x"), GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let page = Answer::ok(format!(r#"{{"value":[{entity}]}}"#));
    let canned = Canned::start([page]).await;
    let error = canned
        .store()
        .list_page("p", ListOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_largest_value_goes_out_whole() {
    // Azurite would not take it in place of another: it counts the JSON, in which binary takes a third more.
    let canned = Canned::start([Answer::Http(204, ETAG, String::new())]).await;
    let store = canned.store();
    let limit = store.capabilities().max_value_bytes;
    assert_eq!(limit, 960 * 1024);
    store
        .put(&key("x"), vec![0xff; limit].into(), PutOptions::default())
        .await
        .unwrap();
    let sent = canned.requests().remove(0).body;
    assert!(sent.contains("\"b14\":") && !sent.contains("\"b15\":") && sent.len() > limit * 4 / 3);
    let error = store
        .put(&key("x"), vec![0xff; limit + 1].into(), PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ValueTooLarge);
    assert_eq!(canned.requests().len(), 1);
}
