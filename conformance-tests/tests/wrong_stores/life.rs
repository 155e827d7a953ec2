//! Stores that do not start, serve, stop or come back as they should.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use async_trait::async_trait;
use statestore_api::{
    Applied, Bytes, DeleteOptions, Entry, Error, GetOptions, Key, PutOptions, Result, Version,
};

use crate::calls::Limits;
use crate::fault::{Fault, Reader};
use crate::pause;
use crate::table::{Slot, Slots, Table};

fn unavailable(reason: &str) -> Error {
    Error::Unavailable {
        applied: Applied::No,
        reason: reason.into(),
        source: None,
    }
}

/// `ready` creates the table, which is there already the second time.
#[derive(Default)]
struct ReadyOnce(AtomicBool);

#[async_trait]
impl Fault for ReadyOnce {
    async fn ready(&self, _: &Table) -> Result<()> {
        match self.0.swap(true, SeqCst) {
            true => Err(unavailable("the table exists already")),
            false => Ok(()),
        }
    }
}

/// `ready` begins with an empty table.
struct ReadyEmpties;

#[async_trait]
impl Fault for ReadyEmpties {
    async fn ready(&self, table: &Table) -> Result<()> {
        table.slots().clear();
        Ok(())
    }
}

/// What is closed cannot be closed.
#[derive(Default)]
struct ClosesOnce(AtomicBool);

#[async_trait]
impl Fault for ClosesOnce {
    async fn close(&self, _: &Table) -> Result<()> {
        match self.0.swap(true, SeqCst) {
            true => Err(unavailable("the connection is closed")),
            false => Ok(()),
        }
    }
}

/// What is closed looks like a server that is away.
#[derive(Default)]
struct LooksAway(AtomicBool);

#[async_trait]
impl Fault for LooksAway {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        match self.0.load(SeqCst) {
            true => Err(unavailable("there is no connection")),
            false => table.get(Reader::Get, key),
        }
    }

    async fn close(&self, _: &Table) -> Result<()> {
        self.0.store(true, SeqCst);
        Ok(())
    }

    fn restart(&self, _: &mut Slots) {
        self.0.store(false, SeqCst);
    }
}

/// A connection takes one request at a time, and refuses a second.
#[derive(Default)]
struct ServesOneAtATime(AtomicBool);

#[async_trait]
impl Fault for ServesOneAtATime {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        if self.0.swap(true, SeqCst) {
            return Err(unavailable("the connection is in use"));
        }
        pause().await;
        self.0.store(false, SeqCst);
        table.put(key, value, options)
    }
}

/// A pool has ten connections, and refuses an eleventh request.
#[derive(Default)]
struct ServesTenAtATime(AtomicU32);

#[async_trait]
impl Fault for ServesTenAtATime {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let before = self.0.fetch_add(1, SeqCst);
        pause().await;
        self.0.fetch_sub(1, SeqCst);
        if before >= 10 {
            return Err(unavailable("the pool is exhausted"));
        }
        table.put(key, value, options)
    }
}

/// Replies over one connection are handed to whoever asked last.
#[derive(Default)]
struct MixesReplies(Mutex<Vec<Result<Option<Entry>>>>);

#[async_trait]
impl Fault for MixesReplies {
    async fn get(&self, table: &Table, key: &Key, _: GetOptions) -> Result<Option<Entry>> {
        let entry = table.get(Reader::Get, key);
        self.0.lock().unwrap().push(entry);
        pause().await;
        self.0.lock().unwrap().pop().unwrap()
    }
}

/// So are the replies to writes.
#[derive(Default)]
struct MixesRepliesToWrites(Mutex<Vec<Result<Version>>>);

#[async_trait]
impl Fault for MixesRepliesToWrites {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        let put = table.put(key, value, options);
        self.0.lock().unwrap().push(put);
        pause().await;
        self.0.lock().unwrap().pop().unwrap()
    }
}

/// A put is acknowledged before it is written: the last is lost with the process.
#[derive(Default)]
struct LosesTheLastWrite(Mutex<Option<(Key, Option<Slot>)>>);

#[async_trait]
impl Fault for LosesTheLastWrite {
    async fn put(&self, table: &Table, key: &Key, value: Bytes, options: PutOptions) -> Result<Version> {
        *self.0.lock().unwrap() = Some((key.clone(), table.slot(key)));
        table.put(key, value, options)
    }

    fn restart(&self, slots: &mut Slots) {
        match self.0.lock().unwrap().take() {
            Some((key, Some(before))) => drop(slots.insert(key, before)),
            Some((key, None)) => drop(slots.remove(&key)),
            None => {}
        }
    }
}

/// A delete is acknowledged before it is written, and comes to nothing with the process.
#[derive(Default)]
struct LosesDeletes(Mutex<HashMap<Key, Slot>>);

#[async_trait]
impl Fault for LosesDeletes {
    async fn delete(&self, table: &Table, key: &Key, options: DeleteOptions) -> Result<()> {
        let slot = table.slot(key);
        table.delete(key, options)?;
        self.0
            .lock()
            .unwrap()
            .extend(slot.map(|slot| (key.clone(), slot)));
        Ok(())
    }

    fn restart(&self, slots: &mut Slots) {
        for (key, slot) in self.0.lock().unwrap().drain() {
            slots.entry(key).or_insert(slot);
        }
    }
}

/// Something else becomes of the entries when the process ends.
struct Restarts(fn(&mut Slot));

impl Fault for Restarts {
    fn restart(&self, slots: &mut Slots) {
        slots.values_mut().for_each(self.0);
    }
}

wrong_stores! {
    is_ready_once: ReadyOnce::default() => fails {
        start { ready_succeeds_and_may_be_repeated }
        restart { every_acknowledged_write_is_there }
    };
    is_empty_when_ready: ReadyEmpties => fails {
        start { ready_succeeds_and_may_be_repeated }
        cancellation {
            dropped_calls_leave_the_store_working the_answer_to_a_dropped_call_reaches_nobody_else
        }
        restart { every_acknowledged_write_is_there }
    };
    closes_once: ClosesOnce::default() => fails {
        start { close_may_be_repeated }
        restart { every_acknowledged_write_is_there no_version_is_reused a_retry_is_recognised }
    };
    looks_away_when_it_is_closed: LooksAway::default() => fails {
        start { a_closed_store_serves_or_says_that_it_is_closed }
    };
    serves_one_at_a_time: ServesOneAtATime::default() => fails at least { start { one_instance_serves_many_tasks } versions { no_version_is_given_to_two_writers } };
    serves_ten_at_a_time: ServesTenAtATime::default() => fails at least { start { one_instance_serves_many_tasks } batches { put_many_takes_any_number_of_keys } };
    mixes_replies_to_writes: MixesRepliesToWrites::default() => fails at least {
        start { one_instance_serves_many_tasks }
        batches { put_many_answers_in_the_order_given }
    };
    mixes_replies: MixesReplies::default() => fails {
        start { one_instance_serves_many_tasks }
        cancellation { dropped_calls_leave_the_store_working a_dropped_transaction_is_whole_or_not_there }
        restart { every_acknowledged_write_is_there }
    };
    loses_the_last_write_by_a_restart: LosesTheLastWrite::default() => fails {
        restart { every_acknowledged_write_is_there no_version_is_reused a_retry_is_recognised }
    };
    loses_deletes_by_a_restart: LosesDeletes::default() => fails {
        restart { every_acknowledged_write_is_there no_version_is_reused }
    };
    loses_expiries_by_a_restart: Restarts(|slot| slot.expires_at = None) => fails {
        restart { every_acknowledged_write_is_there expiry_goes_on }
    };
    has_no_name: Limits(|declared, _| declared.backend = "") => fails {
        start { capabilities_keep_what_every_store_can_do }
    };
    holds_small_values_only: Limits(|declared, kept| {
        (declared.max_value_bytes, kept.max_value_bytes) = (256 * 1024, 256 * 1024);
    }) => fails {
        start { capabilities_keep_what_every_store_can_do }
    };
}
