//! Alternating rounds, and what they say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Load, Operation, Ready, Side};

/// How long is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// What all turns of one side may take together. Preparing them is not counted, but bounded as well.
    pub(crate) side: Duration,
    pub(crate) rounds: usize,
    /// As many rounds at the most of ours beside the one that does the same work, until their ratio is known.
    pub(crate) peer_rounds: usize,
}

/// A ratio is known when its median is, to this on either side.
const KNOWN: f64 = 0.02;

/// The quartiles of some measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
    /// Where the median is with a confidence of 95 %, however the measurements are distributed: from their order alone.
    pub(crate) median_within: (f64, f64),
}

impl Spread {
    /// # Panics
    /// If there are none.
    pub(crate) fn of(measured: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measured.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            // Between the two neighbours of the place.
            let place = (sorted.len() - 1) as f64 * part;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        // By the normal approximation of the binomial distribution; of few measurements it is the whole range.
        let (half, margin) = (sorted.len() as f64 / 2.0, 0.98 * (sorted.len() as f64).sqrt());
        let last = sorted.len() - 1;
        let low = (half - margin).floor().max(1.0) as usize - 1;
        let high = ((half + margin).ceil() as usize).min(last);
        Self {
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
            median_within: (sorted[low], sorted[high]),
        }
    }

    fn is_known(&self) -> bool {
        let (low, high) = self.median_within;
        high - low <= 2.0 * KNOWN
    }
}

/// The times of one side by ours of the same rounds.
fn ratio(theirs: &[f64], ours: &[f64]) -> Spread {
    Spread::of(theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours))
}

/// What was measured of one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// What it does for the operation.
    pub(crate) work: String,
    /// Whether that is the same work as ours.
    pub(crate) is_peer: bool,
    /// The time an operation takes in microseconds, all tasks together: the turn's time by its operations.
    pub(crate) micros: Spread,
    /// That time by ours of the same round: 2 is twice as slow as ours, 0.5 twice as fast. That of ours is 1.
    pub(crate) ratio: Spread,
    /// The times of all rounds, in microseconds.
    pub(crate) rounds: Vec<f64>,
}

/// One operation at one load: a row of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) size: usize,
    pub(crate) tasks: usize,
    /// Ours first.
    pub(crate) sides: Vec<Measured>,
    /// Who cannot, and why.
    pub(crate) cannot: Vec<(String, &'static str)>,
}

/// Compares all sides, the first of which is ours.
pub(crate) async fn compare(
    service: &'static str,
    sides: &[Arc<dyn Side>],
    operation: Operation,
    (size, tasks): (usize, usize),
    budget: Budget,
) -> Cell {
    let mut cannot = Vec::new();
    let mut able = Vec::new();
    for side in sides {
        let does = side.does(operation, size);
        match does.work() {
            Ok(work) => able.push((side, work, does.is_peer())),
            Err(why) => cannot.push((side.name().to_owned(), why)),
        }
    }
    let turn = budget.side / u32::try_from(budget.rounds).expect("few");
    let mut times = Vec::new();
    for (side, ..) in &able {
        times.push(
            calibrate(
                &***side,
                operation,
                Load {
                    size,
                    tasks,
                    times: 1,
                },
                turn,
            )
            .await,
        );
    }
    // The time in which preparing and all may not be done, on a machine that does something else.
    let mut deadline = Instant::now() + budget.side * 4 * u32::try_from(able.len()).expect("few");
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); able.len()];
    let peer = able.iter().position(|(_, _, is_peer)| *is_peer);
    for round in 0..budget.rounds.max(budget.peer_rounds) {
        if round == budget.rounds {
            deadline = Instant::now() + budget.side * 8;
        }
        let mut order: Vec<usize> = match peer {
            _ if round < budget.rounds => (0..able.len()).collect(),
            Some(peer) if !ratio(&rounds[peer], &rounds[0]).is_known() => vec![0, peer],
            _ => break,
        };
        let first = round / 2 % order.len();
        order.rotate_left(first);
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let load = Load {
                size,
                tasks,
                times: times[place],
            };
            let took = turn_of(&**able[place].0, operation, load).await;
            rounds[place].push(took.as_secs_f64() * 1e6 / load.operations() as f64);
        }
        if round >= 4 && Instant::now() > deadline {
            break;
        }
    }
    let ours = rounds.first().cloned().unwrap_or_default();
    let sides = able
        .iter()
        .zip(rounds)
        .map(|((side, work, is_peer), rounds)| Measured {
            name: side.name().to_owned(),
            work: work.clone(),
            is_peer: *is_peer,
            micros: Spread::of(rounds.iter().copied()),
            ratio: ratio(&rounds, &ours),
            rounds,
        });
    Cell {
        service,
        operation: operation.name(),
        size,
        tasks,
        sides: sides.collect(),
        cannot,
    }
}

/// How often each task has to do it for a turn to take about this long.
async fn calibrate(side: &dyn Side, operation: Operation, mut load: Load, turn: Duration) -> u64 {
    loop {
        // The quicker of two: one may have been held up by something else.
        let took = turn_of(side, operation, load).await;
        let took = took.min(turn_of(side, operation, load).await);
        let factor = turn.as_secs_f64() / took.as_secs_f64().max(1e-9);
        if factor < 4.0 {
            return ((load.times as f64 * factor) as u64).clamp(1, 1_000_000);
        }
        load.times = (load.times as f64 * factor.min(8.0)) as u64;
    }
}

async fn turn_of(side: &dyn Side, operation: Operation, load: Load) -> Duration {
    timed(side.prepare(operation, load).await).await
}

/// Runs all jobs at once.
pub(crate) async fn timed(ready: Ready) -> Duration {
    let start = Instant::now();
    let tasks: Vec<_> = ready.jobs.into_iter().map(tokio::spawn).collect();
    for task in tasks {
        task.await.expect("a job that panics has said why");
    }
    let took = start.elapsed();
    ready.afterwards.await;
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_between_their_neighbours() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((spread.lower, spread.median, spread.upper), (2.0, 3.0, 4.0));
        let spread = Spread::of([1.0, 2.0]);
        assert_eq!((spread.lower, spread.median, spread.upper), (1.25, 1.5, 1.75));
        assert_eq!(Spread::of([7.0]).upper, 7.0);
    }

    #[test]
    fn a_median_is_known_from_many_measurements() {
        let few = Spread::of((0..5).map(f64::from));
        assert_eq!(few.median_within, (0.0, 4.0), "the whole range");
        // By the binomial distribution the ranks 40 to 61 have 96.5 %, 41 to 60 have 94.3 %.
        let many = Spread::of((1..=100).map(f64::from));
        assert_eq!(many.median_within, (40.0, 61.0));
        assert!(Spread::of((0..33).map(|n| 1.0 + f64::from(n) / 1000.0)).is_known());
        assert!(!Spread::of((0..33).map(|n| 1.0 + f64::from(n) / 100.0)).is_known());
    }
}
