//! The shortest part of a history that cannot be.

use super::Bound;
use super::search::{ANY, Found, Step, StepKind, search};

/// The places of the operations of the shortest part of `steps` that has no order, whatever was before it.
pub(super) fn shortest(steps: &[Step], bound: Bound) -> Vec<usize> {
    let cannot_be =
        |from: u64, to: u64| search(&window(steps, from, to), start(from), bound) == Found::Nothing;
    let mut times: Vec<u64> = steps
        .iter()
        .flat_map(|step| [step.invoked, step.completed])
        .filter(|time| *time != u64::MAX)
        .collect();
    times.sort_unstable();
    // What can be up to some time could be up to any earlier one, and the same for where a part starts.
    let last = times.partition_point(|&to| !cannot_be(0, to));
    let Some(&to) = times.get(last) else {
        return places(steps);
    };
    let first = times.partition_point(|&from| cannot_be(from, to));
    let from = first.checked_sub(1).map_or(0, |first| times[first]);
    let mut part = window(steps, from, to);
    if search(&part, start(from), bound) != Found::Nothing {
        part = window(steps, 0, to);
    }
    // A step that changes nothing only makes it harder to find an order.
    for place in (0..part.len()).rev() {
        if !part[place].is_write() {
            let mut without = part.clone();
            without.remove(place);
            if search(&without, start(from), bound) == Found::Nothing {
                part = without;
            }
        }
    }
    // Writes of unknown outcome that nothing in the part has to do with are no explanation.
    let touched: Vec<_> = part
        .iter()
        .filter(|step| !step.is_optional())
        .flat_map(states)
        .collect();
    part.retain(|step| !step.is_optional() || states(step).iter().any(|state| touched.contains(state)));
    places(&part)
}

/// Before a part the state may be any, at the very start it is not.
fn start(from: u64) -> u32 {
    if from == 0 { super::search::ABSENT } else { ANY }
}

/// The steps of a span of time. Those that go on over one of its ends may have happened outside.
fn window(steps: &[Step], from: u64, to: u64) -> Vec<Step> {
    steps
        .iter()
        .filter(|step| step.completed >= from && step.invoked <= to)
        .filter_map(|step| {
            let inside = step.invoked >= from && step.completed <= to;
            match inside || step.is_optional() {
                true => Some(*step),
                false => step.is_write().then_some(Step {
                    completed: u64::MAX,
                    ..*step
                }),
            }
        })
        .collect()
}

fn states(step: &Step) -> Vec<u32> {
    match step.kind {
        StepKind::Read(state) => vec![state],
        StepKind::Refused { expected, current } => [Some(expected), current].into_iter().flatten().collect(),
        StepKind::Write { from, to } => vec![from, to],
    }
}

fn places(steps: &[Step]) -> Vec<usize> {
    let mut places: Vec<_> = steps.iter().map(|step| step.place).collect();
    places.sort_unstable();
    places.dedup();
    places
}
