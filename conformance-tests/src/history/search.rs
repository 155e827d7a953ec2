//! The search for an order: Wing and Gong's, with the memory of Lowe.

use std::collections::HashSet;

use super::Bound;

/// A state of the register: [`ANY`], [`ABSENT`], or a version by its number.
pub(super) type State = u32;

/// Not known, at the start of a part: the first step that tells decides.
pub(super) const ANY: State = 0;
pub(super) const ABSENT: State = 1;

/// An operation as a step from one state to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The operation's place in the history.
    pub(super) place: usize,
    pub(super) invoked: u64,
    /// `u64::MAX`: it need not happen at all.
    pub(super) completed: u64,
    pub(super) kind: StepKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StepKind {
    Read(State),
    /// The state was not `expected`, and if that is known, it was `current`.
    Refused {
        expected: State,
        current: Option<State>,
    },
    Write {
        from: State,
        to: State,
    },
}

impl Step {
    pub(super) fn is_optional(&self) -> bool {
        self.completed == u64::MAX
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self.kind, StepKind::Write { .. })
    }

    /// The state after the step, if it is possible in `state`.
    fn after(&self, state: State) -> Option<State> {
        let (needs, leaves) = match self.kind {
            StepKind::Read(seen) => (seen, seen),
            StepKind::Write { from, to } => (from, to),
            StepKind::Refused {
                expected,
                current: None,
            } => return (state != expected).then_some(state),
            StepKind::Refused {
                expected,
                current: Some(current),
            } => {
                if current == expected {
                    return None;
                }
                (current, current)
            }
        };
        (state == needs || state == ANY).then_some(leaves)
    }
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    Nothing,
    TooMuch,
}

/// Which steps are behind, and the state they have led to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Config {
    /// All steps before this place are behind.
    first: usize,
    /// One bit for each step.
    done: Box<[u64]>,
    state: State,
}

impl Config {
    fn is_done(&self, step: usize) -> bool {
        self.done[step / 64] & (1 << (step % 64)) != 0
    }

    fn take(&mut self, step: usize, state: State) {
        self.done[step / 64] |= 1 << (step % 64);
        self.state = state;
        while self.first < self.done.len() * 64 && self.is_done(self.first) {
            self.first += 1;
        }
    }
}

/// Looks for an order of `steps`, which are in the order of their invocation, from the state `start` on.
pub(super) fn search(steps: &[Step], start: State, bound: Bound) -> Found {
    let start = Config {
        first: 0,
        done: vec![0; steps.len() / 64 + 1].into(),
        state: start,
    };
    let mut visited = HashSet::new();
    let mut open = vec![start];
    while let Some(mut config) = open.pop() {
        let Some(next) = settle(steps, &mut config) else {
            return Found::Order;
        };
        if visited.contains(&config) {
            continue;
        }
        if visited.len() >= bound.0 {
            return Found::TooMuch;
        }
        for (step, state) in next {
            let mut after = config.clone();
            after.take(step, state);
            open.push(after);
        }
        visited.insert(config);
    }
    Found::Nothing
}

/// Takes every step that is possible next and changes nothing: whatever comes later, it can come first. Returns the
/// others that are possible next, with the states they lead to; nothing when no step is left that has to happen.
fn settle(steps: &[Step], config: &mut Config) -> Option<Vec<(usize, State)>> {
    loop {
        let (mut settled, mut left, mut next) = (false, false, Vec::new());
        let mut limit = u64::MAX;
        for (place, step) in steps.iter().enumerate().skip(config.first) {
            if step.invoked > limit {
                break;
            }
            if config.is_done(place) {
                continue;
            }
            left |= !step.is_optional();
            limit = limit.min(step.completed);
            match step.after(config.state) {
                Some(state) if state == config.state => {
                    config.take(place, state);
                    settled = true;
                }
                Some(state) => next.push((place, state)),
                None => {}
            }
        }
        if !settled {
            // The known ones are tried first: they are popped last in, first out.
            next.sort_by_key(|(place, _)| !steps[*place].is_optional());
            return left.then_some(next);
        }
    }
}
