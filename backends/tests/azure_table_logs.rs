//! With everything logged at its most talkative, no key, signature or value is in it: not in what `tracing` gets, nor in what `log`
//! gets, from this crate and from all that it uses.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use statestore::azure_table::AzureTableConfig;
use statestore::layer::Observe;
use statestore::{
    AzureTableStore, GetOptions, Key, ListOptions, PutOptions, StateStore, StateStoreExt, TransactOp,
};
use statestore_conformance::servers::azurite::AzuriteServer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        writeln!(self.clone(), "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

/// A signature for the account's tables, and what of it is secret.
fn sas() -> (String, String) {
    let (version, expiry) = ("2018-03-28", "2100-01-01T00:00:00Z");
    let to_sign = format!("devstoreaccount1\nraud\nt\nsco\n\n{expiry}\n\nhttps,http\n{version}\n");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(EMULATOR_KEY).unwrap());
    let signature = STANDARD.encode(ring::hmac::sign(&key, to_sign.as_bytes()));
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let sas = format!("sv={version}&ss=t&srt=sco&sp=raud&se={expiry}&spr=https,http&sig={signature}");
    (sas, signature)
}

/// Does everything there is, with successes, conflicts and failures, and returns the errors that there were.
async fn everything(store: &impl StateStore) -> Vec<statestore::Error> {
    let key = Key::new("p", statestore::WriteId::new().to_string()).unwrap();
    let value = || "hunter2-the-value".to_owned();
    store.ready().await.unwrap();
    let version = store.create(&key, value()).await.unwrap();
    store
        .compare_and_set(&key, Some(&version), value())
        .await
        .unwrap();
    store.get(&key, GetOptions::default()).await.unwrap().unwrap();
    store.list_page("p", ListOptions::default()).await.unwrap();
    store
        .transact(vec![TransactOp::put(key.clone(), value())], Default::default())
        .await
        .unwrap();
    store.sweep().await.unwrap();
    let conflict = store
        .compare_and_set(&key, Some(&version), value())
        .await
        .unwrap_err();
    let create = TransactOp::put(key.clone(), value()).when(statestore::Precondition::Absent);
    let refused = store
        .transact(vec![create], Default::default())
        .await
        .unwrap_err();
    store.delete(&key, Default::default()).await.unwrap();
    vec![conflict, refused]
}

#[tokio::test]
async fn no_secret_and_no_value_is_logged_or_in_an_error() {
    let everything_logged = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(everything_logged.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log::set_boxed_logger(Box::new(everything_logged.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::trace!("seen by tracing");
    log::trace!("seen by log");

    let azurite = AzuriteServer::start().await.unwrap();
    let by_key = AzureTableConfig::emulator("logged")
        .with_endpoint(azurite.endpoint())
        .with_timeout(Duration::from_secs(30));
    AzureTableStore::new(by_key.clone())
        .unwrap()
        .create_table()
        .await
        .unwrap();
    let (sas, signature) = sas();
    let by_sas = by_key.clone().with_sas(sas);
    let mut errors = Vec::new();
    for config in [&by_key, &by_sas] {
        let store = Observe::new(AzureTableStore::new(config.clone()).unwrap());
        errors.extend(everything(&store).await);
    }
    // Refused, and without an answer.
    let key: Key = "p/k".parse().unwrap();
    let rejected = [
        by_key.clone().with_account_key("aHVudGVyMg=="),
        by_sas.clone().with_sas("sv=2018-03-28&sig=hunter2"),
        by_key
            .clone()
            .with_endpoint("http://127.0.0.1:1/devstoreaccount1"),
        by_sas.with_endpoint("http://127.0.0.1:1/devstoreaccount1"),
    ];
    for config in rejected {
        let store = AzureTableStore::new(config).unwrap();
        errors.push(
            store
                .put(&key, "hunter2-the-value".into(), PutOptions::default())
                .await
                .unwrap_err(),
        );
    }

    let logged = String::from_utf8_lossy(&everything_logged.0.lock().unwrap()).into_owned();
    for proof in ["seen by tracing", "seen by log", "db.operation.name=\"transact\""] {
        assert!(logged.contains(proof), "nothing was {proof}: {logged}");
    }
    let mut shown = logged;
    for error in &errors {
        let mut inner: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = inner {
            shown += &format!("\n{error} {error:?}");
            inner = error.source();
        }
    }
    for secret in [
        "hunter2",
        "SharedKeyLite",
        EMULATOR_KEY,
        &EMULATOR_KEY[..16],
        &signature,
        "sig=",
        "aHVudGVyMg",
    ] {
        let line = shown.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "`{secret}` is shown");
    }
}
