//! The layer that [`open`](crate::open()) puts around every store to tell of its calls, and the options for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use statestore_api::layer::Observe;
use statestore_api::{Result, StateStore};

use crate::open::{bad, switch};

/// What a store is called in what is told of it: `db.system.name`, `db.namespace` and `db.collection.name`.
#[derive(Debug)]
pub(crate) struct Names {
    system: &'static str,
    namespace: Option<String>,
    collection: Option<String>,
}

impl Names {
    pub(crate) fn new(system: &'static str) -> Self {
        Self {
            system,
            namespace: None,
            collection: None,
        }
    }

    #[cfg(any(feature = "azure-table", feature = "firestore", feature = "redis"))]
    pub(crate) fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into()).filter(|namespace| !namespace.is_empty());
        self
    }

    #[cfg(any(feature = "azure-table", feature = "dynamodb", feature = "firestore"))]
    pub(crate) fn with_collection(mut self, collection: &str) -> Self {
        self.collection = Some(collection.to_owned());
        self
    }
}

/// What is told of a store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Nothing,
    Calls,
    CallsAndKeys,
}

impl Observed {
    /// The names of its options.
    pub(crate) const OPTIONS: [&'static str; 2] = ["observe", "observe_keys"];

    /// Takes its options out of `options`.
    pub(crate) fn take(options: &mut BTreeMap<String, String>) -> Result<Self> {
        let mut take = |name| switch(name, options.remove(name).as_deref());
        match (take("observe")?, take("observe_keys")?) {
            (Some(false), Some(_)) => Err(bad("`observe` is off: leave out `observe_keys`".to_owned())),
            (Some(false), None) => Ok(Self::Nothing),
            (_, Some(true)) => Ok(Self::CallsAndKeys),
            _ => Ok(Self::Calls),
        }
    }

    pub(crate) fn around(self, store: Arc<dyn StateStore>, names: Names) -> Arc<dyn StateStore> {
        let keys = match self {
            Self::Nothing => return store,
            Self::Calls => false,
            Self::CallsAndKeys => true,
        };
        let mut store = Observe::new(store).with_system(names.system);
        if let Some(namespace) = names.namespace {
            store = store.with_namespace(namespace);
        }
        if let Some(collection) = names.collection {
            store = store.with_collection(collection);
        }
        if keys {
            store = store.with_keys();
        }
        #[cfg(feature = "opentelemetry")]
        {
            store = store.with_meter(&meter());
        }
        Arc::new(store)
    }
}

/// A meter of the provider that the program has set.
#[cfg(feature = "opentelemetry")]
fn meter() -> opentelemetry::metrics::Meter {
    let scope = opentelemetry::InstrumentationScope::builder("statestore");
    opentelemetry::global::meter_with_scope(scope.with_version(env!("CARGO_PKG_VERSION")).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(pairs: &[(&str, &str)]) -> Result<Observed> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut options = pairs.collect();
        let observed = Observed::take(&mut options)?;
        assert!(options.is_empty(), "{options:?}");
        Ok(observed)
    }

    #[test]
    fn calls_are_told_and_keys_only_if_asked_for() {
        for (pairs, expected) in [
            (&[][..], Observed::Calls),
            (&[("observe", "on"), ("observe_keys", "off")], Observed::Calls),
            (&[("observe_keys", "on")], Observed::CallsAndKeys),
            (&[("observe", "off")], Observed::Nothing),
        ] {
            assert_eq!(observed(pairs).unwrap(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (pairs, expected) in [
            (&[("observe", "keys")][..], "`observe` is `on` or `off`"),
            (&[("observe_keys", "yes")], "`observe_keys` is `on` or `off`"),
            (
                &[("observe", "off"), ("observe_keys", "on")],
                "`observe` is off: leave out `observe_keys`",
            ),
        ] {
            let message = observed(pairs).unwrap_err().to_string();
            assert!(message.contains(expected), "{pairs:?}: {message}");
        }
    }
}
