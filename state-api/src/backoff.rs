use std::time::Duration;

/// A random wait between none and `base` doubled this often, but at most `max`: full jitter, so that callers who failed
/// together do not come back together.
pub(crate) fn full_jitter(base: Duration, max: Duration, doublings: u32) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(max).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_random_up_to_a_bound_that_doubles() {
        let (base, max) = (Duration::from_millis(10), Duration::from_millis(1_000));
        for (doublings, bound) in [(0, 10), (1, 20), (3, 80), (7, 1_000), (40, 1_000)] {
            let bound = Duration::from_millis(bound);
            let waits: Vec<Duration> = (0..500).map(|_| full_jitter(base, max, doublings)).collect();
            assert!(waits.iter().all(|wait| *wait <= bound), "{doublings} doublings");
            assert!(
                waits.iter().any(|wait| *wait < bound / 4),
                "{doublings} doublings"
            );
            assert!(
                waits.iter().any(|wait| *wait > bound / 4 * 3),
                "{doublings} doublings"
            );
        }
    }
}
