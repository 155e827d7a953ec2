//! The pages in `docs/` quote code that is compiled and tested, word for word.

fn quotes(page: &str) -> Vec<&str> {
    let blocks = page.split("```rust\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn pages_quote_the_examples() {
    let pages: [(&str, &[&str]); 4] = [
        (
            include_str!("../../docs/write-a-backend.md"),
            &[
                include_str!("../own-backend/lib.rs"),
                include_str!("../own-backend/tests.rs"),
            ],
        ),
        (
            include_str!("../../docs/conformance-in-ci.md"),
            &[
                include_str!("../conformance-in-ci/state.rs"),
                include_str!("../build.rs"),
            ],
        ),
        (
            include_str!("../../docs/observability.md"),
            &[include_str!("../observability/src/main.rs")],
        ),
        (
            include_str!("../../docs/patterns.md"),
            &[
                include_str!("../patterns/counters.rs"),
                include_str!("../patterns/http.rs"),
                include_str!("../patterns/idempotency.rs"),
                include_str!("../patterns/leases.rs"),
                include_str!("../patterns/orders.rs"),
                include_str!("../patterns/rate_limits.rs"),
                include_str!("../patterns/sessions.rs"),
                include_str!("../patterns/typed.rs"),
            ],
        ),
    ];
    for (page, code) in pages {
        let quotes = quotes(page);
        assert!(quotes.len() >= 2, "the page has lost its code");
        for quote in quotes {
            assert!(
                code.iter().any(|code| code.contains(quote)),
                "not in the example:\n{quote}"
            );
        }
    }
}
