use super::*;

#[tokio::test]
async fn the_default_user_can_have_a_password() {
    let server = start(RedisOptions::default().password("se cret")).await;
    assert_eq!(server.url(), format!("redis://:se%20cret@{}", server.addr()));
    let port = server.addr().port().to_string();
    let with_password = redis_cli(&["-p", &port, "--no-auth-warning", "--pass", "se cret", "PING"]);
    assert_eq!(with_password, "PONG");
    assert!(redis_cli(&["-p", &port, "PING"]).starts_with("NOAUTH"));
    assert_eq!(command(&server, "ACL WHOAMI").await, "statestore-tests");
}

#[tokio::test]
async fn a_user_may_do_what_its_rules_say() {
    let server = start(RedisOptions::default().user("app", "pw", "~app:* -@all +get +set")).await;
    assert_eq!(server.url(), format!("redis://app:pw@{}", server.addr()));
    let port = server.addr().port().to_string();
    let as_app = |words: &[&str]| {
        let user = ["-p", &port, "--no-auth-warning", "--user", "app", "--pass", "pw"];
        redis_cli(&[&user, words].concat())
    };
    assert_eq!(as_app(&["SET", "app:a", "1"]), "OK");
    assert!(as_app(&["SET", "other", "1"]).starts_with("NOPERM"));
    assert!(as_app(&["DEL", "app:a"]).starts_with("NOPERM"));
    assert!(redis_cli(&["-p", &port, "GET", "app:a"]).starts_with("NOAUTH"));
    assert_eq!(command(&server, "GET app:a").await, "1");
}

#[tokio::test]
async fn tls_is_there_for_who_trusts_its_authority() {
    let server = start(RedisOptions::default().tls().user("app", "pw", "~* +@all")).await;
    assert_eq!(server.url(), format!("rediss://app:pw@{}", server.addr()));
    let port = server.addr().port().to_string();
    let ca = server.ca_file().unwrap().to_str().unwrap();
    let ping = ["--user", "app", "--pass", "pw", "--no-auth-warning", "PING"];
    let over_tls = |trust: &[&str]| redis_cli(&[&["-p", &port, "--tls"], trust, &ping].concat());
    assert_eq!(over_tls(&["--cacert", ca]), "PONG");
    let distrusted = over_tls(&[]);
    assert!(distrusted.contains("certificate verify failed"), "{distrusted}");
    let in_plain_text = redis_cli(&[&["-p", &port][..], &ping].concat());
    assert!(!in_plain_text.contains("PONG"), "{in_plain_text}");
    assert_eq!(command(&server, "PING").await, "PONG");
}
