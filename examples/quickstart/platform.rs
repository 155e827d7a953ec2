//! The simulation: a queue that delivers at least once, and function instances that come, work at the same time and die.

use std::collections::VecDeque;
use std::sync::Arc;

use statestore::{BoxError, StateStore};
use tokio::task::JoinSet;

use crate::events::Event;
use crate::handler::{Outcome, handle};
use crate::story::Story;

/// How many instances work at the same time.
pub(crate) const INSTANCES: u32 = 6;

/// The events whose handling costs an instance its life, between its write and its reply: a scale that is put into the cart, and
/// alice's order, by whichever of two clicks it is placed.
const FATAL: [&str; 3] = ["4cfdb1", "41df2a", "15febb"];

/// What the platform hears of an instance that was given an event.
pub(crate) enum Reply {
    Handled(Outcome),
    Failed(BoxError),
    /// It died behind its write. Nobody but the simulation knows what it had done.
    Nothing,
}

/// The instances that are there, by their numbers.
pub(crate) struct Platform {
    idle: VecDeque<u32>,
    started: u32,
}

impl Platform {
    pub(crate) fn start() -> Self {
        Self {
            idle: (1..=INSTANCES).collect(),
            started: INSTANCES,
        }
    }

    /// Ends all instances and starts others.
    pub(crate) fn restart(&mut self) {
        self.idle.clear();
        for _ in 0..INSTANCES {
            self.start_one();
        }
    }

    fn start_one(&mut self) {
        self.started += 1;
        self.idle.push_back(self.started);
    }

    /// Delivers `events`, each to the next instance that is idle. Returns those that no instance acknowledged, for the
    /// queue to deliver again.
    pub(crate) async fn deliver(
        &mut self,
        store: &Arc<dyn StateStore>,
        events: Vec<Event>,
        story: &mut Story,
    ) -> Result<Vec<Event>, BoxError> {
        let mut queue = VecDeque::from(events);
        let mut working = JoinSet::new();
        let mut unacknowledged = Vec::new();
        loop {
            while !queue.is_empty()
                && let Some(instance) = self.idle.pop_front()
                && let Some(event) = queue.pop_front()
            {
                working.spawn(work(instance, Arc::clone(store), event));
            }
            let Some(done) = working.join_next().await else {
                return Ok(unacknowledged);
            };
            let (instance, event, reply) = done?;
            story.tell(instance, &event, &reply);
            match reply {
                Reply::Nothing => self.start_one(),
                _ => self.idle.push_back(instance),
            }
            if !matches!(reply, Reply::Handled(Outcome::Done { .. } | Outcome::DoneBefore)) {
                unacknowledged.push(event);
            }
        }
    }
}

/// One instance, with one event. It knows nothing of any other.
async fn work(instance: u32, store: Arc<dyn StateStore>, event: Event) -> (u32, Event, Reply) {
    let reply = match handle(&*store, &event).await {
        Ok(Outcome::Done { .. }) if FATAL.contains(&event.id.as_str()) => Reply::Nothing,
        Ok(outcome) => Reply::Handled(outcome),
        Err(error) => Reply::Failed(error),
    };
    (instance, event, reply)
}
