//! What a mutation does to an item and under which condition, in DynamoDB's expression language. Pure.
//!
//! Every condition sees to three things besides the precondition: that the item has not expired by the client's
//! clock (or has), that it is of our format, which the name of its version says, and that this very write has not been
//! applied before.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use statestore_api::backend::Stamp;
use statestore_api::backend::expiry::Expiry;
use statestore_api::{Precondition, Result, WriteId};

use super::codec::{self, Item, TTL};
use crate::change::Change;

/// What has to be there: a [`Precondition`] whose version has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Anything,
    Gone,
    There,
    Version(Stamp),
}

impl Wanted {
    /// # Errors
    /// [`InvalidVersion`](statestore_api::Error::InvalidVersion) when the version is no stamp.
    pub(super) fn of(precondition: &Precondition) -> Result<Self> {
        Ok(match precondition {
            Precondition::None => Self::Anything,
            Precondition::Absent => Self::Gone,
            Precondition::Exists => Self::There,
            Precondition::Matches(version) => Self::Version(version.stamp()?),
        })
    }
}

/// What has to hold of an unconditional put that keeps the expiry. An update expression cannot say "keep `x`, unless it
/// is past", so there are two requests, of which one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Nothing is there, or an entry that has not expired: its expiry stays.
    #[default]
    Live,
    /// Nothing is there, or an expired entry: its expiry is cleared.
    Expired,
}

impl Keeping {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Live => Self::Expired,
            Self::Expired => Self::Live,
        }
    }

    /// Whether it matters for this mutation.
    pub(super) fn matters(change: &Change, wanted: Wanted) -> bool {
        matches!((change, wanted), (Change::Put(_, Expiry::Keep), Wanted::Anything))
    }
}

/// The expressions of one request, and their values.
#[derive(Debug)]
pub(super) struct Expressions {
    /// `None` for a delete and a check.
    pub(super) update: Option<&'static str>,
    pub(super) condition: &'static str,
    pub(super) names: Option<HashMap<String, String>>,
    /// `None` where there are none: DynamoDB takes no empty list.
    pub(super) values: Option<Item>,
}

macro_rules! live {
    () => {
        "(attribute_not_exists(x) OR x>:now)"
    };
}

/// Neither this entry nor those it replaced, as far as it remembers, were written by this write.
macro_rules! not_ours {
    () => {
        "NOT contains(ver1,:w) AND NOT contains(p0,:w) AND NOT contains(p1,:w) \
         AND NOT contains(p2,:w) AND NOT contains(p3,:w)"
    };
}

/// The version is the one that `:is` binds. Behind it may stand those that it replaced.
macro_rules! version_is {
    () => {
        "begins_with(ver1,:is)"
    };
}
pub(super) const VERSION_IS: &str = version_is!();

/// Each right side means the item as it was before, so the versions move up one place.
macro_rules! next_version {
    () => {
        "ver1=:ver,p0=if_not_exists(ver1,:none),p1=if_not_exists(p0,:none),\
         p2=if_not_exists(p1,:none),p3=if_not_exists(p2,:none)"
    };
}

/// What has to hold of a key that is to be gone, of a write that has not been applied to it before.
pub(super) const GONE: &str = concat!(
    "attribute_not_exists(pk) OR (attribute_exists(ver1) AND x<=:now AND ",
    not_ours!(),
    ")"
);

/// The values in [`GONE`].
pub(super) fn gone(id: WriteId, now: u64) -> Item {
    HashMap::from([
        (":now".to_owned(), codec::number(now)),
        (":w".to_owned(), codec::written_by(id)),
    ])
}

impl Expressions {
    /// The request that applies `change` as `stamp` where `wanted` holds at `now`, in epoch milliseconds.
    pub(super) fn new(change: &Change, wanted: Wanted, stamp: Stamp, now: u64, keeping: Keeping) -> Self {
        let mut values = HashMap::with_capacity(9);
        let mut bind = |name: &str, value| drop(values.insert(name.to_owned(), value));

        // Over nothing, and over what has expired, there is no expiry to keep.
        let (wanted, keeps) = match (change, wanted, keeping) {
            (Change::Put(_, Expiry::Keep), Wanted::Anything, Keeping::Expired) => (Wanted::Gone, false),
            (Change::Put(_, Expiry::Keep), Wanted::Gone, _) => (wanted, false),
            (Change::Touch(_), Wanted::Anything, _) => (Wanted::There, false),
            (Change::Put(_, Expiry::Keep), ..) => (wanted, true),
            _ => (wanted, false),
        };
        let writes = matches!(change, Change::Put(..) | Change::Touch(_));
        let condition = match (writes, wanted) {
            (true, Wanted::Anything) if keeps => concat!(
                "attribute_not_exists(pk) OR (attribute_exists(ver1) AND ",
                live!(),
                " AND ",
                not_ours!(),
                ")"
            ),
            (true, Wanted::Anything) => concat!(
                "attribute_not_exists(pk) OR (attribute_exists(ver1) AND ",
                not_ours!(),
                ")"
            ),
            (true, Wanted::Gone) => GONE,
            (true, Wanted::There) => concat!("attribute_exists(ver1) AND ", live!(), " AND ", not_ours!()),
            (true, Wanted::Version(_)) => concat!(version_is!(), " AND ", live!(), " AND ", not_ours!()),
            (false, Wanted::Anything) => "attribute_not_exists(pk) OR attribute_exists(ver1)",
            (false, Wanted::Gone) => "attribute_not_exists(pk) OR (attribute_exists(ver1) AND x<=:now)",
            (false, Wanted::There) => concat!("attribute_exists(ver1) AND ", live!()),
            (false, Wanted::Version(_)) => concat!(version_is!(), " AND ", live!()),
        };
        if wanted != Wanted::Anything || keeps {
            bind(":now", codec::number(now));
        }
        if let Wanted::Version(expected) = wanted {
            bind(":is", codec::stamp(expected));
        }
        if writes {
            bind(":ver", codec::stamp(stamp));
            bind(":w", codec::written_by(stamp.write_id()));
            bind(":none", AttributeValue::S(String::new()));
        }
        let expiry = match change {
            Change::Put(_, Expiry::Keep) if !keeps => Some(None),
            Change::Put(_, Expiry::Set(at)) | Change::Touch(Expiry::Set(at)) => Some(*at),
            _ => None,
        };
        if let Some(Some(at)) = expiry {
            bind(":x", codec::number(at));
            bind(":ttl", codec::number(codec::ttl_seconds(at)));
        }
        let update = match change {
            Change::Put(value, _) => {
                bind(":v", codec::value(value));
                Some(match expiry {
                    None => concat!("SET v=:v,", next_version!()),
                    Some(None) => concat!("SET v=:v,", next_version!(), " REMOVE x,#ttl"),
                    Some(Some(_)) => concat!("SET v=:v,", next_version!(), ",x=:x,#ttl=:ttl"),
                })
            }
            Change::Touch(_) => Some(match expiry {
                None => concat!("SET ", next_version!()),
                Some(None) => concat!("SET ", next_version!(), " REMOVE x,#ttl"),
                Some(Some(_)) => concat!("SET ", next_version!(), ",x=:x,#ttl=:ttl"),
            }),
            Change::Delete | Change::Check => None,
        };
        Self {
            update,
            condition,
            // `TTL` is a word of the expression language.
            names: expiry.map(|_| HashMap::from([("#ttl".to_owned(), TTL.to_owned())])),
            values: (!values.is_empty()).then_some(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use statestore_api::{Bytes, Key, WriteId};

    use super::*;

    fn stamp() -> Stamp {
        Stamp::new(WriteId::new(), 7, &Key::new("p", "id").unwrap())
    }

    fn changes() -> Vec<Change> {
        let expiries = [Expiry::Keep, Expiry::Set(None), Expiry::Set(Some(1_500))];
        let put = |expiry| Change::Put(Bytes::from_static(b"x"), expiry);
        let mut changes: Vec<_> = expiries
            .iter()
            .flat_map(|expiry| [put(*expiry), Change::Touch(*expiry)])
            .collect();
        changes.extend([Change::Delete, Change::Check]);
        changes
    }

    fn all() -> impl Iterator<Item = (Change, Wanted, Expressions)> {
        let wanted = [
            Wanted::Anything,
            Wanted::Gone,
            Wanted::There,
            Wanted::Version(stamp()),
        ];
        changes().into_iter().flat_map(move |change| {
            wanted.into_iter().flat_map(move |wanted| {
                let change = change.clone();
                [Keeping::Live, Keeping::Expired].map(move |keeping| {
                    let made = Expressions::new(&change, wanted, stamp(), 1_000, keeping);
                    (change.clone(), wanted, made)
                })
            })
        })
    }

    /// DynamoDB refuses a request that binds what it does not use, and one that uses what it does not bind.
    #[test]
    fn what_is_bound_is_used_and_what_is_used_is_bound() {
        for (_, _, made) in all() {
            let text = format!("{} {}", made.update.unwrap_or_default(), made.condition);
            assert!(
                made.values.as_ref().is_none_or(|values| !values.is_empty()),
                "{text}"
            );
            let names = made.names.iter().flatten().map(|(name, _)| name.as_str());
            let mut bound: Vec<&str> = made
                .values
                .iter()
                .flatten()
                .map(|(name, _)| name.as_str())
                .chain(names)
                .collect();
            let mut used: Vec<&str> = text
                .split(|c: char| !(c.is_ascii_alphanumeric() || ":#".contains(c)))
                .filter(|word| word.starts_with([':', '#']))
                .collect();
            bound.sort_unstable();
            used.sort_unstable();
            used.dedup();
            assert_eq!(bound, used, "{text}");
        }
    }

    #[test]
    fn every_condition_looks_at_the_format_and_all_but_the_unconditional_at_the_expiry() {
        for (change, wanted, made) in all() {
            assert!(
                ["attribute_exists(ver1)", VERSION_IS].map(|of_us| made.condition.contains(of_us))
                    != [false; 2],
                "{}",
                made.condition
            );
            let unconditional = wanted == Wanted::Anything
                && !matches!(change, Change::Touch(_) | Change::Put(_, Expiry::Keep));
            assert_eq!(
                made.condition.contains(":now"),
                !unconditional,
                "{}",
                made.condition
            );
            assert_eq!(
                made.condition.contains("contains(ver1,:w)"),
                made.update.is_some(),
                "{}",
                made.condition
            );
        }
    }

    #[test]
    fn keep_never_keeps_what_has_expired() {
        let keep = Change::Put(Bytes::new(), Expiry::Keep);
        let made = |wanted, keeping| Expressions::new(&keep, wanted, stamp(), 1_000, keeping);
        let live = made(Wanted::Anything, Keeping::Live);
        assert!(live.condition.contains("x>:now") && live.names.is_none());
        for over in [
            made(Wanted::Anything, Keeping::Expired),
            made(Wanted::Gone, Keeping::Live),
        ] {
            assert!(over.condition.contains("x<=:now"));
            assert!(
                over.update
                    .is_some_and(|update| update.ends_with("REMOVE x,#ttl"))
            );
        }
    }
}
