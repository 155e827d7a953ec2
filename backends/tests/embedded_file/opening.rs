//! Opening: what is created, and what is refused for other reasons than damage.

use super::*;

#[tokio::test]
async fn a_missing_file_is_created_and_nothing_else() {
    let place = Place::new();
    let store = place.open().await;
    has(&store, 0).await;
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_missing_file_is_refused_without_create() {
    let place = Place::new();
    let options = EmbeddedOptions::default().with_create(false);
    let error = EmbeddedStore::open_with(place.path(), options.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    place.open().await.close().await.unwrap();
    EmbeddedStore::open_with(place.path(), options).await.unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = Place::new();
    let path = place.directory.path().join("no").join("state.redb");
    let todo = format!(
        "create the directory `{}`",
        place.directory.path().join("no").display()
    );
    refused(&path, ErrorKind::StoreNotFound, &todo).await;
}

#[tokio::test]
async fn a_file_for_a_directory_is_named() {
    let place = Place::with_entries(1).await;
    let path = place.path().join("state.redb");
    refused(&path, ErrorKind::StoreNotFound, "create the directory").await;
}

#[tokio::test]
async fn a_directory_is_no_file() {
    let place = Place::new();
    refused(place.directory.path(), ErrorKind::Config, "name a file").await;
    let error = EmbeddedStore::open("").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_second_store_is_in_use_until_the_first_is_closed() {
    let place = Place::new();
    let store = place.open().await;
    fill(&store, 3).await;
    refused(&place.path(), ErrorKind::InUse, "close the store").await;
    has(&store, 3).await;
    store.close().await.unwrap();
    has(&place.open().await, 3).await;
}

#[tokio::test]
async fn of_many_who_create_the_file_one_gets_it() {
    for _ in 0..10 {
        let place = Place::new();
        let path = Arc::new(place.path());
        let all: Vec<_> = (0..8)
            .map(|_| {
                let path = Arc::clone(&path);
                tokio::spawn(async move { EmbeddedStore::open(&*path).await })
            })
            .collect();
        let mut opened = Vec::new();
        for one in all {
            match one.await.unwrap() {
                Ok(store) => opened.push(store),
                Err(error) => assert_eq!(error.kind(), ErrorKind::InUse, "{error}"),
            }
        }
        assert_eq!(opened.len(), 1);
        fill(&opened[0], 1).await;
        assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_nowhere_is_not_followed_for_ever() {
    let place = Place::new();
    std::os::unix::fs::symlink(place.directory.path().join("gone"), place.path()).unwrap();
    let error = EmbeddedStore::open(place.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreNotFound, "{error}");
}

/// Run as nobody by `permissions_are_named`.
#[test]
#[ignore = "the other half of `permissions_are_named`"]
fn as_nobody() {
    let Some(path) = std::env::var_os("STATESTORE_TEST_AS_NOBODY") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime
        .block_on(EmbeddedStore::open(PathBuf::from(path)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    println!("refused as it should be");
}

/// Root may do anything, so another user has to try.
#[cfg(unix)]
#[tokio::test]
async fn permissions_are_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let place = Place::with_entries(1).await;
    // A copy of the test where another user gets at it.
    let program = place.directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    allow(place.directory.path(), 0o755);
    allow(&program, 0o755);
    let root = fs::metadata(&program).unwrap().uid() == 0;
    let new = place.directory.path().join("new.redb");
    // No reading, no writing, and no creating.
    for (path, mode, directory) in [
        (place.path(), 0o000, 0o755),
        (place.path(), 0o444, 0o755),
        (new, 0o444, 0o555),
    ] {
        allow(&place.path(), mode);
        allow(place.directory.path(), directory);
        let before = fs::metadata(place.path()).unwrap().modified().unwrap();
        let mut command = std::process::Command::new(&program);
        command
            .args(["--ignored", "--exact", "opening::as_nobody", "--nocapture"])
            .env("STATESTORE_TEST_AS_NOBODY", path)
            .current_dir("/");
        if root {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().unwrap();
        allow(place.directory.path(), 0o755);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("refused as it should be"),
            "{output:?}"
        );
        assert_eq!(fs::metadata(place.path()).unwrap().modified().unwrap(), before);
    }
    allow(&place.path(), 0o644);
}
