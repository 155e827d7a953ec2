use futures::TryStreamExt as _;
use statestore_api::{
    Bytes, Entry, Error, GetOptions, Key, ListOptions, Precondition, PutOptions, Result, StateStore as _,
    StateStoreExt as _, TransactOp, Version,
};

use super::client::{Client, Ended, may_fail};
use super::value;
use crate::history::{Call, Outcome, Seen};

const ACCOUNTS: usize = 6;
const OPENED_WITH: u64 = 100;
const SUM: u64 = OPENED_WITH * ACCOUNTS as u64;

/// How often to look for a moment at which nothing moves, while others transfer.
const LOOKS: usize = 6;

/// How often a setup or the last look may meet a fault.
const PATIENCE: usize = 1_000;

/// Accounts in one partition, whose sum no transfer changes.
pub(super) struct Bank {
    partition: String,
    accounts: Vec<Key>,
}

/// What is on an account, and by which write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Balance {
    amount: u64,
    seen: Seen,
}

impl Bank {
    pub(super) fn new(partition: &str) -> Result<Self> {
        let accounts = (0..ACCOUNTS).map(|number| Key::new(partition, format!("account-{number}")));
        Ok(Self {
            partition: partition.to_owned(),
            accounts: accounts.collect::<Result<_>>()?,
        })
    }

    pub(super) fn accounts(&self) -> &[Key] {
        &self.accounts
    }
}

fn read(entry: &Entry) -> Result<Balance, String> {
    let (seen, amount) = value::read(entry)?;
    let amount = amount.parse();
    let amount = amount.map_err(|_| "an account has a value that nobody wrote".to_owned())?;
    Ok(Balance { amount, seen })
}

fn seen(entry: &Entry) -> Result<Seen, String> {
    read(entry).map(|balance| balance.seen)
}

impl Client {
    /// Creates the accounts. Nobody else does.
    pub(super) async fn open_accounts(&mut self) -> Result<(), String> {
        for account in self.round.bank.accounts.clone() {
            for _ in 0..PATIENCE {
                let number = self.next_number();
                let call = Call::Put {
                    value: number,
                    expected: None,
                };
                let invocation = self.invoke(&account, call);
                let options = PutOptions::from(Precondition::Absent);
                let value: Bytes = value::account(number, OPENED_WITH);
                let result = self.store.put(&account, value, options).await;
                if let Ended::Answered = self.settle(invocation, result.map(Outcome::Written), seen)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What is on each account, each read on its own; nothing if a read failed.
    async fn balances(&mut self, by_list: bool) -> Result<Option<Vec<Balance>>, String> {
        let round = self.round.clone();
        let accounts = round.bank.accounts();
        let invocations: Vec<_> = accounts
            .iter()
            .map(|account| self.invoke(account, Call::Get))
            .collect();
        let entries: Vec<Result<Option<Entry>>> = if by_list {
            let options = ListOptions::default().with_page_size(4);
            let listed: Result<Vec<_>> = self
                .store
                .list(&round.bank.partition, options)
                .try_collect()
                .await;
            match listed {
                Ok(items) => {
                    let entry = |account: &Key| items.iter().find(|item| item.key == *account)?.entry.clone();
                    accounts.iter().map(|account| Ok(entry(account))).collect()
                }
                Err(error) if may_fail(&error) => {
                    invocations
                        .into_iter()
                        .for_each(|invocation| round.recorder.withdraw(invocation));
                    return Ok(None);
                }
                Err(error) => return Err(format!("listing the accounts failed: {error} ({error:?})")),
            }
        } else {
            self.store.get_many(accounts, GetOptions::default()).await
        };
        let mut balances = Some(Vec::new());
        for (invocation, entry) in invocations.into_iter().zip(entries) {
            match entry {
                Ok(Some(entry)) => {
                    let balance = read(&entry)?;
                    let outcome = Outcome::Read(Some(balance.seen.clone()));
                    round.recorder.complete(invocation, outcome);
                    if let Some(balances) = &mut balances {
                        balances.push(balance);
                    }
                }
                Ok(None) => return Err("an account is gone".to_owned()),
                Err(error) if may_fail(&error) => {
                    round.recorder.withdraw(invocation);
                    balances = None;
                }
                Err(error) => return Err(format!("reading an account failed: {error} ({error:?})")),
            }
        }
        Ok(balances)
    }

    /// Moves money from one account to another.
    pub(super) async fn transfer(&mut self) -> Result<(), String> {
        let Some(balances) = self.balances(false).await? else {
            return Ok(());
        };
        let from = self.rng.usize(..ACCOUNTS);
        let to = (from + self.rng.usize(1..ACCOUNTS)) % ACCOUNTS;
        let amount = self.rng.u64(..=balances[from].amount.min(10));
        let changes = [
            (from, balances[from].amount - amount),
            (to, balances[to].amount + amount),
        ];
        let (mut ops, mut invocations) = (Vec::new(), Vec::new());
        let faults = self.faults();
        for (account, balance) in changes {
            let key = self.round.bank.accounts[account].clone();
            let number = self.next_number();
            let version: Version = balances[account].seen.version.clone();
            let call = Call::Put {
                value: number,
                expected: Some(version.clone()),
            };
            invocations.push((key.clone(), self.invoke(&key, call)));
            let put = TransactOp::put(key, value::account(number, balance));
            ops.push(put.when(Precondition::Matches(version)));
        }
        let result = self.store.transact(ops, Default::default()).await;
        let mut ended = Ended::Answered;
        for (place, (_, invocation)) in invocations.into_iter().enumerate() {
            let result = match &result {
                Ok(versions) => match versions.get(place) {
                    Some(Some(version)) => Ok(Outcome::Written(version.clone())),
                    _ => return Err("a transaction answered without the version of a put".to_owned()),
                },
                Err(Error::Conflict(conflict)) if conflict.op == Some(place) => {
                    Err(Error::Conflict(conflict.clone()))
                }
                // It does not say that this account was the reason, only that nothing was written.
                Err(Error::Conflict(_)) => {
                    self.round.recorder.withdraw(invocation);
                    continue;
                }
                Err(error) => Err(same(error)?),
            };
            ended = self.settle(invocation, result, seen)?;
        }
        self.count("transact", faults, &ended);
        Ok(())
    }

    /// Looks at all accounts at one moment, if one is found: between two looks that see the same versions, since
    /// none is used twice. Alternates between `list` and `get_many`.
    pub(super) async fn audit(&mut self) -> Result<(), String> {
        let by_list = self.store.capabilities().listing && self.rng.bool();
        let mut before = None;
        for _ in 0..LOOKS {
            let now = self.balances(by_list).await?;
            if now.is_some() && now == before {
                let sum: u64 = now.iter().flatten().map(|balance| balance.amount).sum();
                if sum != SUM {
                    return Err(format!(
                        "the accounts have {sum}, and had {SUM} when they were opened: {now:?}"
                    ));
                }
                self.report.audits[usize::from(!by_list)] += 1;
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }

    /// The same until such a moment was found by `get_many` and by `list`.
    pub(super) async fn audit_until_it_succeeds(&mut self) -> Result<(), String> {
        let wanted = [self.store.capabilities().listing, true];
        self.report.lists = wanted[0];
        let audits = self.report.audits;
        for _ in 0..PATIENCE {
            self.audit().await?;
            let done = |place: usize| !wanted[place] || self.report.audits[place] > audits[place];
            if done(0) && done(1) {
                return Ok(());
            }
        }
        Err("the accounts do not come to rest".to_owned())
    }
}

/// The error again, for the second account of a transaction: only what the history needs of it.
fn same(error: &Error) -> Result<Error, String> {
    match error {
        Error::Indeterminate { write_id, reason, .. } => Ok(Error::Indeterminate {
            write_id: *write_id,
            reason: reason.clone(),
            source: None,
        }),
        Error::Timeout { after, applied, .. } => Ok(Error::Timeout {
            after: *after,
            applied: *applied,
            source: None,
        }),
        Error::Unavailable { applied, reason, .. } => Ok(Error::Unavailable {
            applied: *applied,
            reason: reason.clone(),
            source: None,
        }),
        Error::Throttled { retry_after, .. } => Ok(Error::Throttled {
            retry_after: *retry_after,
            source: None,
        }),
        error => Err(format!("a transfer failed: {error} ({error:?})")),
    }
}
