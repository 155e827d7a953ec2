//! The table, made by an explicit call alone; the ways to sign in; what is in the entity; the sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use statestore::azure_table::{AzureTableConfig, Credential, Secret, TokenCredential};
use statestore::{
    AzureTableStore, Clock as _, ErrorKind, GetOptions, Key, ListOptions, ManualClock, Precondition,
    PutOptions, StateStore, StateStoreExt, TransactOp, Ttl, open,
};

use super::canned::Canned;
use super::http_support::canned::Answer;
use super::{azurite, key, new_table, table};

const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Writes and reads by this configuration.
async fn works(config: AzureTableConfig) {
    let (store, key) = (AzureTableStore::new(config).unwrap(), key("x"));
    store.ready().await.unwrap();
    let version = store.create(&key, "1").await.unwrap();
    let version = store.compare_and_set(&key, Some(&version), "2").await.unwrap();
    let ops = vec![TransactOp::put(key.clone(), "3").when(Precondition::Matches(version))];
    store.transact(ops, Default::default()).await.unwrap();
    let page = store
        .list_page(key.partition(), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(
        store
            .get(&key, GetOptions::default())
            .await
            .unwrap()
            .unwrap()
            .value,
        "3"
    );
    store.delete(&key, Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_missing_table_is_said_and_never_made() {
    let store = AzureTableStore::new(new_table().await).unwrap();
    let key = key("x");
    let put = store.put(&key, "x".into(), PutOptions::default()).await.map(drop);
    let get = store.get(&key, GetOptions::default()).await.map(drop);
    let delete = store.delete(&key, Default::default()).await;
    let transact = store
        .transact(vec![TransactOp::put(key.clone(), "x")], Default::default())
        .await;
    for answer in [put, get, delete, transact.map(drop), store.ready().await] {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
        assert!(error.to_string().contains("`AzureTableStore::create_table`"));
    }
}

#[tokio::test]
async fn create_table_makes_it_and_may_be_repeated() {
    let store = AzureTableStore::new(new_table().await).unwrap();
    for _ in 0..2 {
        store.create_table().await.unwrap();
        store.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_url_opens_it() {
    let config = table().await;
    let endpoint = azurite().await.endpoint();
    let url = format!(
        "azure-table:///{}?emulator=true&endpoint={endpoint}",
        config.table
    );
    let store = open(&url).await.unwrap();
    assert_eq!(store.capabilities().backend, "azure-table");
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_connection_string_is_enough() {
    let made = table().await;
    let text = format!(
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={EMULATOR_KEY};TableEndpoint={};",
        azurite().await.endpoint()
    );
    works(AzureTableConfig::from_connection_string(&text, made.table).unwrap()).await;
}

/// A signature for the account's tables.
fn sas(permissions: &str) -> String {
    let (version, services, types) = ("2018-03-28", "t", "sco");
    let expiry = "2100-01-01T00:00:00Z";
    let to_sign = format!(
        "devstoreaccount1\n{permissions}\n{services}\n{types}\n\n{expiry}\n\nhttps,http\n{version}\n"
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(EMULATOR_KEY).unwrap());
    let signature = STANDARD.encode(ring::hmac::sign(&key, to_sign.as_bytes()));
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    format!(
        "?sv={version}&ss={services}&srt={types}&sp={permissions}&se={expiry}&spr=https,http&sig={signature}"
    )
}

#[tokio::test]
async fn a_shared_access_signature_is_enough() {
    let config = table().await;
    works(config.clone().with_sas(sas("raud"))).await;
    let store = AzureTableStore::new(config.with_sas(sas("r"))).unwrap();
    store.ready().await.unwrap();
    let error = store.create(&key("x"), "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized() {
    let store = AzureTableStore::new(table().await.with_account_key("d3Jvbmc=")).unwrap();
    let error = store.ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

/// Has no token, for this reason.
#[derive(Debug)]
struct NoToken(azure_core::error::ErrorKind);

#[async_trait]
impl TokenCredential for NoToken {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<azure_core::credentials::TokenRequestOptions<'_>>,
    ) -> azure_core::Result<azure_core::credentials::AccessToken> {
        assert_eq!(scopes, ["https://storage.azure.com/.default"]);
        Err(azure_core::Error::with_message(self.0.clone(), "as canned"))
    }
}

#[tokio::test]
async fn without_a_token_it_is_said_why_and_nothing_is_sent() {
    let canned = Canned::start([Answer::ok("{}")]).await;
    let plain = canned.config().endpoint.unwrap();
    let over_tls = canned
        .config()
        .with_endpoint(plain.replace("http://", "https://"));
    for (reason, kind, retryable) in [
        (
            azure_core::error::ErrorKind::Credential,
            ErrorKind::Unauthorized,
            false,
        ),
        (azure_core::error::ErrorKind::Io, ErrorKind::Unavailable, true),
    ] {
        let config = over_tls.clone().with_token_credential(Arc::new(NoToken(reason)));
        let store = AzureTableStore::new(config).unwrap();
        let error = store.create(&key("x"), "x").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
        assert!(format!("{error:?}").contains("as canned"));
    }
    assert!(canned.requests().is_empty());
}

#[tokio::test]
async fn a_request_is_signed_dated_and_versioned() {
    let canned = Canned::start([Answer::ok(r#"{"value":[]}"#)]).await;
    canned.store().ready().await.unwrap();
    let request = canned.requests().remove(0);
    assert!(
        request.head.starts_with("GET /canned()?$top=1"),
        "{}",
        request.head
    );
    assert!(
        request
            .header("authorization")
            .unwrap()
            .starts_with("SharedKeyLite account:")
    );
    assert!(request.header("x-ms-date").unwrap().ends_with(" GMT"));
    assert_eq!(request.header("x-ms-version"), Some("2019-02-02"));
    assert_eq!(request.header("accept-encoding"), None, "nothing is compressed");
}

/// The order that the server lists in is that of the UTF-8, and every part of it can be asked for.
#[tokio::test]
async fn the_server_lists_in_the_order_of_utf8() {
    let store = AzureTableStore::new(table().await).unwrap();
    let partition = "o'rder/?#\u{10ffff}";
    let specials = "\u{1} !'/09:?AZ\\_az|~\u{7f}é\u{ffff}\u{10000}";
    let mut ids: Vec<String> = specials
        .chars()
        .flat_map(|c| ["", "/", "~", "\u{10000}"].map(|rest| format!("a{c}{rest}")))
        .chain(["a".to_owned(), "b".to_owned(), "A".to_owned()])
        .collect();
    ids.sort();
    ids.dedup();
    let keys: Vec<Key> = ids.iter().map(|id| Key::new(partition, id).unwrap()).collect();
    let puts: Vec<_> = keys.iter().map(|key| TransactOp::put(key.clone(), "x")).collect();
    store.transact(puts, Default::default()).await.unwrap();
    let listed = async |options: ListOptions| {
        let page = store
            .list_page(partition, options.with_page_size(1000))
            .await
            .unwrap();
        let ids = page.items.into_iter().map(|item| item.key.id().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed(ListOptions::default()).await, ids);
    for (place, id) in ids.iter().enumerate() {
        let after = listed(ListOptions::default().with_start_after(id)).await;
        assert_eq!(after, ids[place + 1..], "after {id:?}");
        let prefixed: Vec<_> = ids
            .iter()
            .filter(|other| other.starts_with(id))
            .cloned()
            .collect();
        assert_eq!(
            listed(ListOptions::default().with_prefix(id)).await,
            prefixed,
            "prefix {id:?}"
        );
    }
}

/// Azurite takes the largest value as a new entity only; see the canned answers for the rest.
#[tokio::test]
async fn the_largest_value_comes_back() {
    let config = table().await;
    let config = AzureTableConfig::new("devstoreaccount1", config.table)
        .with_endpoint(config.endpoint.unwrap())
        .with_account_key(EMULATOR_KEY)
        .with_timeout(Duration::from_secs(30));
    let store = AzureTableStore::new(config).unwrap();
    let limit = store.capabilities().max_value_bytes;
    assert_eq!(limit, 960 * 1024);
    for (id, value) in [
        ("binary", vec![0xfe; limit]),
        ("text", "é".repeat(limit / 2).into_bytes()),
    ] {
        let key = key(id);
        store.create(&key, value.clone()).await.unwrap();
        let entry = store.get(&key, GetOptions::default()).await.unwrap().unwrap();
        assert!(entry.value == value, "the {id} came back changed");
    }
}

/// Azurite would break characters that lie over two packets.
#[tokio::test]
async fn long_text_comes_back() {
    let (store, key) = (AzureTableStore::new(table().await).unwrap(), key("text"));
    for length in [64 * 1024, 64 * 1024 + 2, 600 * 1024] {
        let text = "é\u{4e2d}\u{1f600}a".repeat(length / 10);
        for value in [text, "\"ascii\"".repeat(length / 7)] {
            store
                .put(&key, value.clone().into(), PutOptions::default())
                .await
                .unwrap();
            let entry = store.get(&key, GetOptions::default()).await.unwrap().unwrap();
            assert!(entry.value == value, "{length} bytes came back changed");
        }
    }
}

#[tokio::test]
async fn a_sweep_keeps_its_pace_and_to_what_has_expired() {
    let clock = ManualClock::new();
    let config = table().await;
    let store = AzureTableStore::new(config.with_sweep_rate(40))
        .unwrap()
        .with_clock(clock.clone());
    let second = Ttl::After(Duration::from_secs(1));
    for place in 0..20 {
        let options = PutOptions::expiring(second);
        store
            .put(&key(&place.to_string()), "x".into(), options)
            .await
            .unwrap();
    }
    let (stays, revived) = (key("stays"), key("revived"));
    store.create(&stays, "x").await.unwrap();
    store
        .put(&revived, "x".into(), PutOptions::expiring(second))
        .await
        .unwrap();
    store
        .touch(&revived, Ttl::None, Default::default())
        .await
        .unwrap();
    // What transactions leave of deletes is swept too.
    store
        .transact(vec![TransactOp::delete(key("never-there"))], Default::default())
        .await
        .unwrap();
    clock.set(clock.now() + Duration::from_secs(1));
    let start = Instant::now();
    assert_eq!(store.sweep().await.unwrap(), 21);
    assert!(
        start.elapsed() >= Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(store.sweep().await.unwrap(), 0);
    for key in [stays, revived] {
        assert!(store.exists(&key).await.unwrap());
    }
}

#[test]
fn debug_shows_no_secret() {
    let config = AzureTableConfig::new("account", "app");
    let config = config.with_credential(Credential::Sas(Secret::new("sig=hunter2")));
    let store = AzureTableStore::new(config.clone()).unwrap();
    assert!(!format!("{config:?} {store:?}").contains("hunter2"));
}
