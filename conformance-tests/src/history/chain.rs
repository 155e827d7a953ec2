//! The versions of a key against real time, without a search.

use std::collections::HashMap;

use statestore_api::Version;

use super::steps::Broken;
use super::{Call, Operation, Outcome};

/// What is known of a version.
#[derive(Default)]
struct Known {
    /// The put that made it, by its place.
    written: Option<usize>,
    /// The acknowledged write that replaced or deleted it.
    replaced: Option<usize>,
}

/// Checks that the versions are one chain in the order of real time.
pub(super) fn check(operations: &[Operation]) -> Result<(), Broken> {
    let mut versions: HashMap<&Version, Known> = HashMap::new();
    let mut puts = HashMap::new();
    for (place, operation) in operations.iter().enumerate() {
        if let Call::Put { value, .. } = operation.call {
            puts.insert(value, place);
        }
        if let Outcome::Written(version) = &operation.outcome
            && let Some(other) = versions.entry(version).or_default().written.replace(place)
        {
            return Err(("two writes have the same version", vec![other, place]));
        }
        if let (true, Some(Some(expected))) = (operation.is_acknowledged(), operation.call.expected())
            && let Some(other) = versions.entry(expected).or_default().replaced.replace(place)
        {
            return Err(("two writes replaced the same version", vec![other, place]));
        }
    }
    for seen in operations.iter().filter_map(|operation| operation.outcome.seen()) {
        let known = versions.entry(&seen.version).or_default();
        known.written = known.written.or_else(|| puts.get(&seen.value).copied());
    }
    for (place, operation) in operations.iter().enumerate() {
        // Who replaces a version has met it as much as who reads it.
        let replaces = operation.call.expected().flatten();
        let seen = operation.outcome.seen().map(|seen| &seen.version);
        for version in seen
            .into_iter()
            .chain(replaces.filter(|_| operation.is_acknowledged()))
        {
            let Some(known) = versions.get(version) else {
                continue;
            };
            if let Some(written) = known.written
                && operations[written].invoked > operation.end()
            {
                return Err(("a version was there before it was written", vec![written, place]));
            }
            if let Some(replaced) = known.replaced
                && operations[replaced].end() < operation.invoked
            {
                return Err(("a version was there after it was replaced", vec![replaced, place]));
            }
        }
    }
    in_order(operations, &versions)
}

/// Checks that nobody sees a version after somebody has seen one further down the chain.
fn in_order(operations: &[Operation], versions: &HashMap<&Version, Known>) -> Result<(), Broken> {
    let before = |version: &Version| {
        let written = versions.get(version)?.written?;
        operations[written].call.expected().flatten()
    };
    // Each version's root, and how far it is from it.
    let mut positions: HashMap<&Version, (&Version, usize)> = HashMap::new();
    for &version in versions.keys() {
        let (mut path, mut at) = (Vec::new(), version);
        let (root, depth) = loop {
            if let Some(&known) = positions.get(at) {
                break known;
            }
            path.push(at);
            match before(at) {
                Some(earlier) if path.len() <= operations.len() => at = earlier,
                // The root, or a circle, which the search rejects.
                _ => break (at, 0),
            }
        };
        let known = usize::from(!positions.contains_key(at));
        for (steps, version) in path.iter().rev().enumerate() {
            positions.insert(version, (root, depth + 1 - known + steps));
        }
    }
    let mut sightings: Vec<_> = operations
        .iter()
        .enumerate()
        .filter_map(|(place, operation)| {
            let (root, position) = positions.get(&operation.outcome.seen()?.version)?;
            Some((place, *root, *position))
        })
        .collect();
    let mut ended = sightings.clone();
    sightings.sort_by_key(|(place, ..)| operations[*place].invoked);
    ended.sort_by_key(|(place, ..)| operations[*place].end());
    let mut ended = ended.into_iter().peekable();
    let mut furthest: HashMap<&Version, (usize, usize)> = HashMap::new();
    for (place, root, position) in sightings {
        while let Some((earlier, root, position)) =
            ended.next_if(|(earlier, ..)| operations[*earlier].end() < operations[place].invoked)
        {
            let furthest = furthest.entry(root).or_insert((position, earlier));
            if position > furthest.0 {
                *furthest = (position, earlier);
            }
        }
        if let Some(&(further, earlier)) = furthest.get(root)
            && further > position
        {
            return Err(("a later read saw an earlier version", vec![earlier, place]));
        }
    }
    Ok(())
}
