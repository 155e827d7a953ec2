//! Sessions of an axum app, under `tower-sessions`' own middleware.
#![cfg(feature = "tower-sessions")]
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::routing::{get, post};
use statestore_api::{ManualClock, MemoryStore, ScanOptions, StateStore};
use statestore_patterns::TowerSessions;
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_sessions::cookie::time::{Duration as TimeDuration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

type Handled = Result<String, (StatusCode, String)>;

/// Requests meet here, after they have read the session and before they write it.
type Meeting = Arc<Barrier>;

fn failed(error: tower_sessions::session::Error) -> (StatusCode, String) {
    (StatusCode::BAD_GATEWAY, error.to_string())
}

async fn start(session: Session) -> Handled {
    session.insert("cart", ["book"]).await.map_err(failed)?;
    session.insert("language", "en").await.map_err(failed)?;
    Ok(String::new())
}

async fn add(State(meeting): State<Meeting>, Path(item): Path<String>, session: Session) -> Handled {
    let mut cart = session
        .get::<Vec<String>>("cart")
        .await
        .map_err(failed)?
        .unwrap_or_default();
    cart.push(item);
    meeting.wait().await;
    session.insert("cart", &cart).await.map_err(failed)?;
    Ok(String::new())
}

async fn remove(State(meeting): State<Meeting>, session: Session) -> Handled {
    session.remove_value("language").await.map_err(failed)?;
    meeting.wait().await;
    Ok(String::new())
}

/// Saves in between, as a handler does that streams.
async fn add_and_take_away(State(meeting): State<Meeting>, session: Session) -> Handled {
    session
        .insert("hint", "shown for a moment")
        .await
        .map_err(failed)?;
    session.save().await.map_err(failed)?;
    meeting.wait().await;
    session.remove_value("hint").await.map_err(failed)?;
    Ok(String::new())
}

async fn show(session: Session) -> Handled {
    let cart = session.get::<Vec<String>>("cart").await.map_err(failed)?;
    let language = session.get::<String>("language").await.map_err(failed)?;
    let hint = session.get::<String>("hint").await.map_err(failed)?;
    let mut cart = cart.unwrap_or_default();
    cart.sort();
    Ok(format!(
        "{} {} {}",
        cart.join(","),
        language.unwrap_or_default(),
        hint.unwrap_or_default()
    ))
}

async fn sign_in(session: Session) -> Handled {
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", 42).await.map_err(failed)?;
    Ok(String::new())
}

async fn sign_out(State(meeting): State<Meeting>, session: Session) -> Handled {
    session.get_value("cart").await.map_err(failed)?;
    session.flush().await.map_err(failed)?;
    meeting.wait().await;
    Ok(String::new())
}

async fn add_late(State(meeting): State<Meeting>, session: Session) -> Handled {
    session.get_value("cart").await.map_err(failed)?;
    meeting.wait().await;
    meeting.wait().await;
    session.insert("cart", ["late"]).await.map_err(failed)?;
    Ok(String::new())
}

async fn clear(session: Session) -> Handled {
    session.clear().await;
    Ok(String::new())
}

#[derive(Clone)]
struct App(Router);

struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    body: String,
}

impl App {
    /// An app whose handlers meet in twos.
    fn new(store: impl SessionStore + Clone) -> Self {
        Self::expiring(store, Expiry::OnInactivity(TimeDuration::hours(1)))
    }

    fn expiring(store: impl SessionStore + Clone, expiry: Expiry) -> Self {
        let sessions = SessionManagerLayer::new(store)
            .with_expiry(expiry)
            .with_always_save(true);
        let router = Router::new()
            .route("/start", post(start))
            .route("/add/{item}", post(add))
            .route("/remove", post(remove))
            .route("/add-and-take-away", post(add_and_take_away))
            .route("/sign-in", post(sign_in))
            .route("/sign-out", post(sign_out))
            .route("/add-late", post(add_late))
            .route("/clear", post(clear))
            .route("/", get(show))
            .layer(sessions)
            .with_state(Arc::new(Barrier::new(2)));
        Self(router)
    }

    async fn send(&self, method: &str, path: &str, cookie: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, cookie);
        let response = self
            .0
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let cookie = response.headers().get(header::SET_COOKIE).map(|value| {
            let text = value.to_str().unwrap();
            text.split(';').next().unwrap().to_owned()
        });
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            cookie,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// A visitor's cookie.
    async fn visitor(&self) -> String {
        self.send("POST", "/start", "").await.cookie.unwrap()
    }

    async fn post(&self, path: &str, cookie: &str) {
        assert_eq!(
            self.send("POST", path, cookie).await.status,
            StatusCode::OK,
            "{path}"
        );
    }

    async fn show(&self, cookie: &str) -> String {
        let shown = self.send("GET", "/", cookie).await;
        assert_eq!(shown.status, StatusCode::OK);
        shown.body.trim_end().to_owned()
    }
}

#[tokio::test]
async fn of_two_clicks_at_once_both_are_kept() {
    let app = App::new(TowerSessions::new(MemoryStore::new()));
    let cookie = app.visitor().await;
    tokio::join!(app.post("/add/lamp", &cookie), app.post("/add/chair", &cookie));
    assert_eq!(app.show(&cookie).await, "book,chair,lamp en");
    tokio::join!(app.post("/add/table", &cookie), app.post("/remove", &cookie));
    assert_eq!(app.show(&cookie).await, "book,chair,lamp,table");
}

/// Without a version, the second click is written over the first: that is what the test above is about.
#[tokio::test]
async fn a_store_without_versions_loses_one_of_them() {
    let app = App::new(tower_sessions::MemoryStore::default());
    let cookie = app.visitor().await;
    tokio::join!(app.post("/add/lamp", &cookie), app.post("/add/chair", &cookie));
    let kept = app.show(&cookie).await;
    assert!(
        ["book,lamp en", "book,chair en"].contains(&kept.as_str()),
        "{kept}"
    );
}

#[tokio::test]
async fn two_instances_share_what_they_keep() {
    let store = MemoryStore::new();
    let instances = [0, 1].map(|_| App::new(TowerSessions::new(store.clone())));
    let cookie = instances[0].visitor().await;
    // Each instance's handlers meet in twos.
    tokio::join!(
        instances[0].post("/add/a", &cookie),
        instances[0].post("/add/b", &cookie),
        instances[1].post("/add/c", &cookie),
        instances[1].post("/add/d", &cookie),
    );
    assert_eq!(instances[1].show(&cookie).await, "a,b,book,c,d en");
}

#[tokio::test]
async fn what_a_request_added_and_took_away_again_is_gone() {
    let app = App::new(TowerSessions::new(MemoryStore::new()));
    let cookie = app.visitor().await;
    tokio::join!(
        app.post("/add-and-take-away", &cookie),
        app.post("/add/lamp", &cookie)
    );
    assert_eq!(app.show(&cookie).await, "book,lamp en");
    // Also when nobody else writes.
    tokio::join!(
        app.post("/add-and-take-away", &cookie),
        app.post("/add-and-take-away", &cookie)
    );
    assert_eq!(app.show(&cookie).await, "book,lamp en");
}

#[tokio::test]
async fn an_ended_session_is_not_brought_back() {
    let store = MemoryStore::new();
    let app = App::new(TowerSessions::new(store.clone()));
    let cookie = app.visitor().await;
    let late = app.send("POST", "/add-late", &cookie);
    let out = async {
        // The other has read it by now, and writes it afterwards.
        app.send("POST", "/add/lamp", &cookie).await;
        app.post("/sign-out", &cookie).await;
    };
    let (late, ()) = tokio::join!(late, out);
    assert_eq!(late.status, StatusCode::INTERNAL_SERVER_ERROR);
    let left = store.scan_page(ScanOptions::default()).await.unwrap();
    assert_eq!(left.items, []);
}

#[tokio::test]
async fn a_new_id_takes_the_data_along_and_the_old_is_worth_nothing() {
    let app = App::new(TowerSessions::new(MemoryStore::new()));
    let old = app.visitor().await;
    let new = app.send("POST", "/sign-in", &old).await.cookie.unwrap();
    assert_ne!(old, new);
    assert_eq!(app.show(&new).await, "book en");
    assert_eq!(app.show(&old).await, "");
    tokio::join!(app.post("/add/lamp", &new), app.post("/add/chair", &new));
    assert_eq!(app.show(&new).await, "book,chair,lamp en");
    // Cleared without being read.
    app.post("/clear", &new).await;
    assert_eq!(app.show(&new).await, "");
}

#[tokio::test]
async fn the_expiry_slides_without_a_write_of_the_data() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let app = App::new(TowerSessions::new(store.clone()));
    let cookie = app.visitor().await;
    let entry = async || {
        let page = store.scan_page(ScanOptions::default()).await.unwrap();
        page.items[0].entry.clone().unwrap()
    };
    let before = entry().await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(app.show(&cookie).await, "book en");
    let after = entry().await;
    assert!(after.expires_at > before.expires_at);
    assert_eq!(
        after.value, r#"{"cart":["book"],"language":"en"}"#,
        "no more than the data is stored"
    );
    // A touch makes a version, and what follows merges with it.
    tokio::join!(app.post("/add/lamp", &cookie), app.post("/add/chair", &cookie));
    clock.set(after.expires_at.unwrap() + Duration::from_secs(3600));
    assert_eq!(app.show(&cookie).await, "", "an expired session is gone");
}

#[tokio::test]
async fn a_session_that_expires_in_the_past_is_ended() {
    let store = MemoryStore::new();
    let fixed = Expiry::AtDateTime(OffsetDateTime::now_utc() + TimeDuration::hours(1));
    let app = App::expiring(TowerSessions::new(store.clone()), fixed);
    let cookie = app.visitor().await;
    let sessions = TowerSessions::new(store.clone());
    let id: Id = cookie.strip_prefix("id=").unwrap().parse().unwrap();
    let mut record = sessions.load(&id).await.unwrap().unwrap();
    record.expiry_date = OffsetDateTime::now_utc() - TimeDuration::seconds(1);
    SessionStore::save(&sessions, &record).await.unwrap();
    assert_eq!(sessions.load(&id).await.unwrap(), None);
}

#[tokio::test]
async fn ids_that_meet_are_told_apart() {
    let sessions = TowerSessions::new(MemoryStore::new());
    let record = |value: u32| Record {
        id: Id(7),
        data: [("n".to_owned(), value.into())].into(),
        expiry_date: OffsetDateTime::now_utc() + TimeDuration::hours(1),
    };
    let (mut first, mut second) = (record(1), record(2));
    sessions.create(&mut first).await.unwrap();
    sessions.create(&mut second).await.unwrap();
    assert_eq!(first.id, Id(7));
    assert_ne!(second.id, Id(7));
    for (id, value) in [(first.id, 1), (second.id, 2)] {
        assert_eq!(sessions.load(&id).await.unwrap().unwrap().data["n"], value);
    }
}

#[tokio::test]
async fn the_id_is_in_no_key_and_no_error() {
    let store = MemoryStore::new();
    let sessions = TowerSessions::new(store.clone());
    let app = App::new(sessions.clone());
    let cookie = app.visitor().await;
    let id = cookie.strip_prefix("id=").unwrap();
    let key = store.scan_page(ScanOptions::default()).await.unwrap().items[0]
        .key
        .clone();
    assert!(!key.to_string().contains(id));
    store
        .put(&key, "no json".into(), Default::default())
        .await
        .unwrap();
    let error = sessions.load(&id.parse().unwrap()).await.unwrap_err();
    assert!(
        matches!(error, tower_sessions::session_store::Error::Decode(_)),
        "{error}"
    );
    assert!(
        !error.to_string().contains(id) && error.to_string().contains("json"),
        "{error}"
    );
}

#[tokio::test]
async fn what_was_merged_is_kept_by_the_next_save_of_the_same_request() {
    let sessions = Arc::new(TowerSessions::new(MemoryStore::new()));
    let open = |id| Session::new(id, sessions.clone(), None);
    let first = open(None);
    first.insert("a", 1).await.unwrap();
    first.save().await.unwrap();
    let other = open(first.id());
    other.insert("b", 2).await.unwrap();
    other.save().await.unwrap();
    // This merges, and the request does not see what came with it.
    first.insert("c", 3).await.unwrap();
    first.save().await.unwrap();
    first.insert("d", 4).await.unwrap();
    first.remove_value("a").await.unwrap();
    first.save().await.unwrap();
    let later = open(first.id());
    for (name, value) in [("a", None), ("b", Some(2)), ("c", Some(3)), ("d", Some(4))] {
        assert_eq!(later.get::<u32>(name).await.unwrap(), value, "{name}");
    }
}
