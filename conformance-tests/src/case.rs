use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Subject;

/// How long a case may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(180);

/// One sentence of the contract as a test.
#[derive(Clone, Copy)]
pub struct Case {
    /// `group::sentence`, as the tests are named.
    pub name: &'static str,
    body: for<'a> fn(&'a mut Subject) -> BoxFuture<'a, ()>,
}

impl Case {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, body: for<'a> fn(&'a mut Subject) -> BoxFuture<'a, ()>) -> Self {
        Self { name, body }
    }

    /// Runs it, and cleans up behind it.
    ///
    /// # Panics
    /// When the store does not keep what the case is about.
    pub async fn run(&self, subject: Subject) {
        run(self.name, LIMIT, subject, self.body).await;
    }
}

/// Runs one's own case on a subject, for this long at the most, and cleans up behind it.
///
/// # Panics
/// When the case does, or takes longer.
#[doc(hidden)]
pub async fn run(
    name: &str,
    limit: Duration,
    mut subject: Subject,
    body: impl for<'a> FnOnce(&'a mut Subject) -> BoxFuture<'a, ()>,
) {
    let body = AssertUnwindSafe(body(&mut subject)).catch_unwind();
    let outcome = tokio::time::timeout(limit, body).await;
    subject.clean_up().await;
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("{name} did not end within {limit:?}"),
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}
