//! The example `patterns` runs, and says what it should.

mod program;

use std::process::Command;

fn run() -> String {
    let output = Command::new(program::of("patterns"))
        .env("STATESTORE_URL", "memory:")
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn each_pattern_does_what_the_tour_says() {
    let printed = run();
    let lines: Vec<&str> = printed.lines().collect();
    let times = |line: &str| lines.iter().filter(|printed| **printed == line).count();
    for line in [
        r#"in the cart: [("lamp", 1)]"#,
        "1 clicks",
        "writing the report",
        "calling the bank",
        r#"in the session: Some(["lamp"])"#,
        r#"to the warehouse: user-42/0 Placed { item: "lamp" }"#,
        "1 events delivered",
        "0 events delivered",
    ] {
        assert_eq!(times(line), 1, "`{line}` in:\n{printed}");
    }
    assert_eq!(times("paid 100"), 2, "{printed}");
    assert!(printed.contains("a sixth log-in: Limited"), "{printed}");
}
