//! What `open` and `Config` take, refuse and keep to themselves.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use statestore::{Config, ErrorKind, StateStore, StateStoreExt, open};

/// The message of opening `url`, which is refused.
async fn refused(url: &str) -> String {
    let error = open(url).await.expect_err(url);
    assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    error.to_string()
}

mod memory {
    use super::*;

    #[tokio::test]
    async fn each_is_a_store_of_its_own() {
        let (one, other) = (open("memory:").await.unwrap(), open("MEMORY:?").await.unwrap());
        assert_eq!(one.capabilities().backend, "memory");
        let key = "a/b".parse().unwrap();
        one.create(&key, "x").await.unwrap();
        assert!(!other.exists(&key).await.unwrap());
    }

    #[tokio::test]
    async fn stands_alone() {
        for url in ["memory://", "memory:name", "memory:/"] {
            let message = refused(url).await;
            assert!(message.contains("`memory:` stands alone"), "{message}");
        }
    }
}

mod refusals {
    use super::*;

    #[tokio::test]
    async fn an_unknown_scheme_names_the_known_ones() {
        for url in ["postgres://user:hunter2@host", "memroy:", "c:\\state.redb"] {
            let message = refused(url).await;
            let scheme = url.split(':').next().unwrap();
            assert!(
                message.contains(&format!("unknown scheme `{scheme}:`")),
                "{message}"
            );
            assert!(message.contains("`memory:`"), "{message}");
            assert_eq!(
                message.contains("`file:`"),
                cfg!(feature = "embedded"),
                "{message}"
            );
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[tokio::test]
    async fn text_without_a_scheme_is_not_quoted() {
        for url in [
            "",
            "hunter2",
            "/var/hunter2.redb",
            "AccountKey=hunter2;Endpoint=https://x",
            ":hunter2",
        ] {
            let message = refused(url).await;
            assert!(message.contains("has no scheme"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[tokio::test]
    async fn an_unknown_option_names_the_known_ones() {
        // Nor are there retries and time-outs around a store that is not on a network.
        for option in ["durable", "retry", "timeout"] {
            let message = refused(&format!("memory:?{option}=5s")).await;
            let expected =
                format!("`memory:` does not take the option `{option}`: it takes `observe`, `observe_keys`");
            assert!(message.ends_with(&expected), "{message}");
        }
    }

    #[tokio::test]
    async fn a_repeated_option_is_not_chosen_from() {
        let message = refused("memory:?a=1&a=1").await;
        assert!(message.contains("has the option `a` twice"), "{message}");
    }

    #[cfg(not(feature = "embedded"))]
    #[tokio::test]
    async fn a_backend_that_is_not_compiled_in_names_its_feature() {
        let message = refused("file:state.redb").await;
        assert!(
            message.contains("`file:` URLs need the feature `embedded`"),
            "{message}"
        );
    }
}

/// A store on a network has the layers.
#[cfg(any(feature = "redis", feature = "dynamodb"))]
mod network {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server that closes each connection when something was asked and before it answers, and counts them.
    struct Server {
        address: String,
        connections: Arc<AtomicUsize>,
        task: JoinHandle<()>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let connections = Arc::new(AtomicUsize::new(0));
            let counted = connections.clone();
            let task = tokio::spawn(async move {
                while let Ok((mut connection, _)) = listener.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    // A connection that is closed at once may or may not have begun to send.
                    tokio::spawn(async move { connection.read(&mut [0; 16 * 1024]).await });
                }
            });
            Self {
                address,
                connections,
                task,
            }
        }

        /// How many there were since the last time.
        fn connections(&self) -> usize {
            self.connections.swap(0, Ordering::SeqCst)
        }

        /// URLs that lead here, and whether a write gets as far as to be sent.
        fn urls(&self) -> Vec<(String, bool)> {
            let address = &self.address;
            let mut urls = Vec::new();
            if cfg!(feature = "redis") {
                // Its connections begin with a question.
                urls.push((format!("redis://{address}?index=off"), false));
            }
            if cfg!(feature = "dynamodb") {
                let url = format!("dynamodb://table?endpoint=http://{address}&credentials=made-up");
                urls.push((url, true));
            }
            urls
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    #[tokio::test]
    async fn calls_are_tried_again() {
        let (server, key) = (Server::start().await, "a/b".parse().unwrap());
        for (url, sends) in server.urls() {
            let store = open(&format!("{url}&retry_attempts=3")).await.unwrap();
            let error = store.get(&key, Default::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{url}: {error}");
            assert!(server.connections() >= 3, "{url}");

            let error = store.create(&key, "x").await.unwrap_err();
            let expected = if sends {
                ErrorKind::Indeterminate
            } else {
                ErrorKind::Unavailable
            };
            assert_eq!(error.kind(), expected, "{url}: {error}");
            assert!(server.connections() >= 3, "{url}");
        }
    }

    #[tokio::test]
    async fn the_deadline_ends_it() {
        let (server, key) = (Server::start().await, "a/b".parse().unwrap());
        for (url, _) in server.urls() {
            let store = open(&format!("{url}&retry_deadline=300ms&retry_attempts=1000"))
                .await
                .unwrap();
            let start = Instant::now();
            store.get(&key, Default::default()).await.unwrap_err();
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{url}: {:?}",
                start.elapsed()
            );
        }
    }

    #[tokio::test]
    async fn retries_can_be_switched_off() {
        let (server, key) = (Server::start().await, "a/b".parse().unwrap());
        for (url, sends) in server.urls() {
            let mut config = Config::new(url.clone());
            config.options.insert("retry".to_owned(), "off".to_owned());
            let store = config.open().await.unwrap();
            let error = store.create(&key, "x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{url}: {error}");
            assert_eq!(error.may_have_applied(), sends, "{url}: {error}");
            assert_eq!(server.connections(), 1, "{url}");
        }
    }

    #[tokio::test]
    async fn bad_options_are_refused() {
        for (url, _) in Server::start().await.urls() {
            for (option, expected) in [
                ("retry=maybe", "the option `retry` is `on` or `off`"),
                ("retry_deadline=5", "`retry_deadline` is a time such as `5s`"),
                ("timeout=0s", "`timeout` is zero"),
                ("retry_atempts=5", "does not take the option `retry_atempts`"),
            ] {
                let message = refused(&format!("{url}&{option}")).await;
                assert!(message.contains(expected), "{message}");
            }
        }
    }
}

#[cfg(feature = "embedded")]
mod file {
    use std::path::Path;

    use statestore::EmbeddedStore;

    use super::*;

    /// Finds what is in the file at `path` through `url`.
    async fn reaches(url: &str, path: &Path) {
        let key = "a/b".parse().unwrap();
        let file = EmbeddedStore::open(path).await.unwrap();
        file.create(&key, "x").await.unwrap();
        file.close().await.unwrap();

        let store = open(url).await.unwrap();
        assert_eq!(store.capabilities().backend, "embedded");
        assert!(store.exists(&key).await.unwrap(), "{url}");
    }

    #[tokio::test]
    async fn a_missing_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        open(&format!("file:{}", path.display())).await.unwrap();
        assert!(path.is_file());
    }

    #[tokio::test]
    async fn absolute_paths_have_one_slash_or_three() {
        let folder = tempfile::tempdir().unwrap();
        for (slashes, name) in [("", "one.redb"), ("//", "three.redb")] {
            let path = folder.path().join(name);
            reaches(&format!("file:{slashes}{}", path.display()), &path).await;
        }
    }

    #[tokio::test]
    async fn a_relative_path_starts_at_the_current_folder() {
        // The package's folder; cargo runs its tests there.
        let folder = tempfile::tempdir_in(".").unwrap();
        let folder_name = folder.path().file_name().unwrap().to_str().unwrap();
        reaches(
            &format!("file:{folder_name}/state.redb"),
            &folder.path().join("state.redb"),
        )
        .await;
    }

    #[tokio::test]
    async fn paths_are_percent_decoded() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file:{}/a%20b%3F%23%25.redb", folder.path().display());
        reaches(&url, &folder.path().join("a b?#%.redb")).await;
    }

    #[tokio::test]
    async fn reads_may_block_a_thread_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        for value in ["on", "off", "true", "false"] {
            let url = format!("file:{}?blocking_reads={value}", path.display());
            reaches(&url, &path).await;
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn a_host_is_refused_with_the_right_way_to_write_it() {
        for url in [
            "file://state.redb",
            "file://host/state.redb",
            "file://localhost/state.redb",
        ] {
            let message = refused(url).await;
            assert!(message.contains("`file:///folder/state.redb`"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_path_is_needed() {
        for url in ["file:", "file://", "file:?"] {
            let message = refused(url).await;
            assert!(message.contains("`file:` needs a path"), "{message}");
        }
    }

    #[tokio::test]
    async fn options_and_bad_encodings_are_refused() {
        let message = refused("file:state.redb?sync=no").await;
        assert!(
            message.ends_with(
                "`file:` does not take the option `sync`: it takes `blocking_reads`, `observe`, `observe_keys`"
            ),
            "{message}"
        );
        let message = refused("file:state.redb?blocking_reads=perhaps").await;
        assert!(message.contains("`blocking_reads` is `on` or `off`"), "{message}");
        let message = refused("file:100%.redb").await;
        assert!(message.contains("write `%` as `%25`"), "{message}");
        let message = refused("file:a%ff.redb").await;
        assert!(message.contains("is not UTF-8"), "{message}");
        let message = refused("file:a#b.redb").await;
        assert!(message.contains("write it as `%23`"), "{message}");
    }
}

mod config {
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Settings {
        state: Config,
    }

    const TOML: &str = "[state]\nurl = 'memory:'\n[state.options]\na = 'x'\nb = -7\nc = true\n";
    const JSON: &str = r#"{"state": {"url": "memory:", "options": {"a": "x", "b": -7, "c": true, "d": 18446744073709551615}}}"#;

    fn values(config: &Config) -> Vec<(&str, &str)> {
        config
            .options
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn is_a_part_of_a_programs_own_toml_or_json() {
        let scalars = [("a", "x"), ("b", "-7"), ("c", "true")];
        let settings: Settings = toml::from_str(TOML).unwrap();
        assert_eq!(settings.state.url, "memory:");
        assert_eq!(values(&settings.state), scalars);
        let settings: Settings = serde_json::from_str(JSON).unwrap();
        assert_eq!(values(&settings.state)[..3], scalars);
        assert_eq!(values(&settings.state)[3], ("d", "18446744073709551615"));
        let inline: Settings = toml::from_str("state = { url = 'memory:' }").unwrap();
        assert_eq!(inline.state, Config::new("memory:"));
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        fn message<T: Debug>(result: Result<T, impl ToString>) -> String {
            result.unwrap_err().to_string()
        }
        for (json, expected) in [
            (r#"{"url": "memory:", "opts": {}}"#, "unknown field `opts`"),
            (r#"{"options": {}}"#, "missing field `url`"),
            (
                r#"{"url": "memory:", "options": {"a": 1, "a": 2}}"#,
                "the option `a` is there twice",
            ),
            (
                r#"{"url": "memory:", "options": {"a": 1.5}}"#,
                "expected a string, an integer or a boolean",
            ),
            (
                r#"{"url": "memory:", "options": {"a": null}}"#,
                "expected a string, an integer or a boolean",
            ),
            (
                r#"{"url": "memory:", "options": {"a": [1]}}"#,
                "expected a string, an integer or a boolean",
            ),
        ] {
            let message = message(serde_json::from_str::<Config>(json));
            assert!(message.contains(expected), "{json}: {message}");
        }
        let message = message(toml::from_str::<Config>("url = 'memory:'\nopts = 1"));
        assert!(message.contains("unknown field `opts`"), "{message}");
    }

    #[tokio::test]
    async fn opens() {
        let store = Config::new("memory:").open().await.unwrap();
        assert_eq!(store.capabilities().backend, "memory");
    }

    #[tokio::test]
    async fn its_options_are_checked_like_the_urls() {
        let mut config = Config::new("memory:");
        config.options.insert("durable".to_owned(), "hunter2".to_owned());
        let message = config.open().await.unwrap_err().to_string();
        assert!(
            message
                .contains("`memory:` does not take the option `durable`: it takes `observe`, `observe_keys`"),
            "{message}"
        );
        assert!(!message.contains("hunter2"));
    }

    #[tokio::test]
    async fn an_option_in_both_places_is_not_chosen_from() {
        let mut config = Config::new("memory:?a=1");
        config.options.insert("a".to_owned(), "1".to_owned());
        let message = config.open().await.unwrap_err().to_string();
        assert!(
            message.contains("the option `a`, and `options` has it too"),
            "{message}"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut config = Config::new("redis://user:hunter2@host/0?password=hunter2");
        config.options.insert("token".to_owned(), "hunter2".to_owned());
        let shown = format!("{config:?} {:?}", Config::new("hunter2"));
        assert!(shown.contains("redis:…") && shown.contains("token"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("host"), "{shown}");
    }
}
