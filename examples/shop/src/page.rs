//! The page for a visitor's browser: three files, compiled in.

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

type File = ([(HeaderName, &'static str); 4], &'static str);

pub(crate) async fn html() -> File {
    file("text/html; charset=utf-8", include_str!("../page/index.html"))
}

pub(crate) async fn style() -> File {
    file("text/css; charset=utf-8", include_str!("../page/page.css"))
}

pub(crate) async fn script() -> File {
    file("text/javascript; charset=utf-8", include_str!("../page/page.js"))
}

fn file(content_type: &'static str, content: &'static str) -> File {
    let headers = [
        (CONTENT_TYPE, content_type),
        // Nothing but this shop's own, and no other site's frame around it.
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
