use std::time::Duration;

use statestore_api::{
    Attempt, Bytes, DeleteOptions, Entry, Error, GetOptions, Key, Precondition, PutOptions, Resolution,
    Result, StateStore, StateStoreExt as _, TouchOptions, TransactOp, TransactOptions, Ttl, Version, WriteId,
};

/// What the cases do to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Operation {
    Get,
    Create,
    CompareAndSet,
    /// Without a condition.
    Put,
    /// With a version.
    Touch,
    /// With a version.
    Delete,
    /// Without a condition.
    DeleteAlways,
    /// A put with a version, a create, and a delete with a version.
    Transaction,
    /// Three puts, each with a version.
    Batch,
}

impl Operation {
    pub(super) const ALL: [(&'static str, Self); 9] = [
        ("get", Self::Get),
        ("create", Self::Create),
        ("compare_and_set", Self::CompareAndSet),
        ("put", Self::Put),
        ("touch", Self::Touch),
        ("delete", Self::Delete),
        ("delete_always", Self::DeleteAlways),
        ("transaction", Self::Transaction),
        ("batch", Self::Batch),
    ];
}

/// What an operation writes.
const OURS: &str = "ours";

/// One operation on keys of its own, which can be sent several times.
pub(super) struct Trial {
    pub(super) operation: Operation,
    keys: Vec<Key>,
    /// What was there before, where something was.
    before: Vec<Option<Version>>,
    /// One for each write.
    ids: Vec<WriteId>,
}

/// The answer to a write: a version where it makes one.
pub(super) type Answer = Result<Option<Version>>;

impl Trial {
    /// Puts there what the operation needs.
    pub(super) async fn prepare(operation: Operation, direct: &dyn StateStore) -> Result<Self> {
        let partition = format!("f-{}", WriteId::new());
        let (keys, existing) = match operation {
            Operation::Create => (1, [false; 3]),
            Operation::Transaction => (3, [true, false, true]),
            Operation::Batch => (3, [true; 3]),
            _ => (1, [true; 3]),
        };
        let keys: Vec<Key> = (0..keys)
            .map(|id| Key::new(&partition, id.to_string()))
            .collect::<Result<_>>()?;
        let mut before = Vec::new();
        for (key, exists) in keys.iter().zip(existing) {
            before.push(match exists {
                true => Some(direct.create(key, "before").await?),
                false => None,
            });
        }
        let ids = keys.iter().map(|_| WriteId::new()).collect();
        Ok(Self {
            operation,
            keys,
            before,
            ids,
        })
    }

    fn matches(&self, place: usize) -> Precondition {
        Precondition::from(self.before[place].as_ref())
    }

    /// What the write of the key at this place is sent with.
    fn precondition(&self, place: usize) -> Precondition {
        match self.operation {
            Operation::Put | Operation::DeleteAlways | Operation::Get => Precondition::None,
            _ => self.matches(place),
        }
    }

    /// Sends it for the `number`-th time, from 0. Of a batch only those without an answer in `known` are sent.
    pub(super) async fn send(&self, store: &dyn StateStore, number: u32, known: &[Answer]) -> Vec<Answer> {
        let key = &self.keys[0];
        let attempt = |place: usize| Attempt {
            id: self.ids[place],
            number,
        };
        let put = |place| PutOptions::from(self.precondition(place)).with_attempt(attempt(place));
        let answer = match self.operation {
            Operation::Get => store.get(key, GetOptions::default()).await.map(version_of),
            Operation::Create | Operation::CompareAndSet | Operation::Put => {
                store.put(key, OURS.into(), put(0)).await.map(Some)
            }
            Operation::Touch => {
                let options = TouchOptions::from(self.precondition(0)).with_attempt(attempt(0));
                let hour = Ttl::After(Duration::from_secs(3_600));
                store.touch(key, hour, options).await.map(Some)
            }
            Operation::Delete | Operation::DeleteAlways => {
                let options = DeleteOptions::from(self.precondition(0)).with_attempt(attempt(0));
                store.delete(key, options).await.map(|()| None)
            }
            Operation::Transaction => {
                let ops = vec![
                    TransactOp::put(key.clone(), OURS).when(self.matches(0)),
                    TransactOp::put(self.keys[1].clone(), OURS).when(self.matches(1)),
                    TransactOp::delete(self.keys[2].clone()).when(self.matches(2)),
                ];
                let options = TransactOptions::default().with_attempt(attempt(0));
                let versions = store.transact(ops, options).await;
                versions.map(|versions| versions.into_iter().next().flatten())
            }
            Operation::Batch => {
                let open: Vec<usize> = (0..self.keys.len())
                    .filter(|place| !matches!(known.get(*place), Some(Ok(_))))
                    .collect();
                let puts = open
                    .iter()
                    .map(|place| (self.keys[*place].clone(), Bytes::from(OURS), put(*place)));
                let mut answers: Vec<Answer> = known
                    .iter()
                    .map(|answer| match answer {
                        Ok(version) => Ok(version.clone()),
                        Err(_) => Ok(None),
                    })
                    .collect();
                answers.resize_with(self.keys.len(), || Ok(None));
                for (place, answer) in open.iter().zip(store.put_many(puts.collect()).await) {
                    answers[*place] = answer.map(Some);
                }
                return answers;
            }
        };
        vec![answer]
    }

    /// What became of it, as the store tells another process.
    pub(super) async fn resolve(&self, store: &dyn StateStore) -> Result<Resolution> {
        store
            .resolve(&self.keys[0], self.ids[0], &self.precondition(0))
            .await
    }

    /// Whether it was applied, by what is there and was not before; and the versions that are there.
    pub(super) async fn applied(&self, direct: &dyn StateStore) -> Result<(bool, Vec<Option<Version>>)> {
        let mut entries = Vec::new();
        for key in &self.keys {
            entries.push(direct.get(key, GetOptions::default()).await?);
        }
        let is_ours = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.value == OURS);
        let applied = match self.operation {
            Operation::Get => true,
            Operation::Touch => entries[0]
                .as_ref()
                .is_some_and(|entry| entry.expires_at.is_some()),
            Operation::Delete | Operation::DeleteAlways => entries[0].is_none(),
            Operation::Transaction => {
                let parts = [is_ours(&entries[0]), is_ours(&entries[1]), entries[2].is_none()];
                let is_before =
                    |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.value == "before");
                let ours_alone = (parts[0] || is_before(&entries[0])) && (parts[1] || entries[1].is_none());
                assert!(
                    !ours_alone || parts.iter().all(|part| *part == parts[0]),
                    "half a transaction: {parts:?}"
                );
                parts[0]
            }
            _ => entries.iter().all(is_ours),
        };
        Ok((applied, entries.into_iter().map(version_of).collect()))
    }

    /// Another client writes each key that is not deleted so often, one on top of the other.
    pub(super) async fn others_write(&self, direct: &dyn StateStore, times: usize) -> Result<()> {
        let keys = match self.operation {
            Operation::Transaction => &self.keys[..2],
            _ => &self.keys[..],
        };
        for key in keys {
            for time in 0..times {
                let entry = direct.get(key, GetOptions::default()).await?;
                let options = PutOptions::from(Precondition::from(entry.as_ref()));
                direct.put(key, format!("theirs {time}").into(), options).await?;
            }
        }
        Ok(())
    }

    /// Another client deletes each key.
    pub(super) async fn others_delete(&self, direct: &dyn StateStore) -> Result<()> {
        for key in &self.keys {
            direct.delete(key, Precondition::None.into()).await?;
        }
        Ok(())
    }

    /// Deletes what is left.
    pub(super) async fn clean_up(&self, direct: &dyn StateStore) {
        // What cannot be deleted stays, which disturbs nobody.
        drop(self.others_delete(direct).await);
    }
}

fn version_of(entry: Option<Entry>) -> Option<Version> {
    entry.map(|entry| entry.version)
}

/// All answers in a word, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    Ok,
    /// Not applied, and to be tried again.
    NotApplied,
    Conflict,
    Indeterminate,
    /// It may have been applied: to be tried again.
    Unknown,
}

impl Word {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let words = answers.iter().map(|answer| match answer {
            Ok(_) => Self::Ok,
            Err(Error::Conflict(_)) => Self::Conflict,
            Err(Error::Indeterminate { .. }) => Self::Indeterminate,
            Err(error) if error.may_have_applied() => Self::Unknown,
            Err(error) if error.is_retryable() => Self::NotApplied,
            Err(error) => panic!("an answer that should not be: {error} ({error:?})"),
        });
        words.max().unwrap_or(Self::Ok)
    }

    /// As the table has it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotApplied => "not sent",
            Self::Conflict => "conflict",
            Self::Indeterminate => "indeterminate",
            Self::Unknown => "unknown",
        }
    }
}
