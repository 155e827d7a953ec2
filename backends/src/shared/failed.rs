use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use statestore_api::{Applied, Error};

use super::CutShort;

/// The error of making what several wait for: each gets it.
#[derive(Clone, Debug)]
pub(crate) struct Failed(Arc<Error>);

impl Failed {
    /// An error of its own for one who waited.
    pub(crate) fn error(&self) -> Error {
        let source = self.0.source().map(|_| Source(self.0.clone()).into());
        match &*self.0 {
            Error::Config { reason, .. } => Error::Config {
                reason: reason.clone(),
                source,
            },
            Error::Unauthorized { todo, .. } => Error::Unauthorized {
                todo: todo.clone(),
                source,
            },
            Error::Timeout { after, applied, .. } => Error::Timeout {
                after: *after,
                applied: *applied,
                source,
            },
            Error::Unavailable { applied, reason, .. } => Error::Unavailable {
                applied: *applied,
                reason: reason.clone(),
                source,
            },
            other => Error::Unavailable {
                applied: Applied::No,
                reason: other.to_string(),
                source,
            },
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<CutShort> for Failed {
    fn from(_: CutShort) -> Self {
        let error = Error::Unavailable {
            applied: Applied::No,
            reason: "the runtime that was connecting has ended".to_owned(),
            source: None,
        };
        error.into()
    }
}

/// The source of an error that several have.
struct Source(Arc<Error>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .source()
            .map_or(Ok(()), |source| fmt::Display::fmt(source, f))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .source()
            .map_or(Ok(()), |source| fmt::Debug::fmt(source, f))
    }
}

impl StdError for Source {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_kind_the_words_and_the_sources() {
        let error = || Error::Unauthorized {
            todo: "renew them".to_owned(),
            source: Some("they have expired".into()),
        };
        let failed = Failed::from(error());
        for told in [failed.error(), failed.clone().error()] {
            assert_eq!(told.to_string(), error().to_string());
            assert_eq!(told.kind(), error().kind());
            assert_eq!(told.source().unwrap().to_string(), "they have expired");
        }
        let late = Failed::from(Error::Timeout {
            after: std::time::Duration::from_secs(1),
            applied: Applied::No,
            source: None,
        });
        assert!(late.error().is_retryable() && late.error().source().is_none());
    }
}
