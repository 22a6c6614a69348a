//! How long to wait before the next stream.
//!
//! Full jitter: after an outage a thousand sidecars must not come back at once.
//! The wait grows with each stream that gave nothing; it is reset by the first
//! valid message and not by a connection, which an overloaded operator accepts
//! long before it can serve it.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(15);
/// No operator can send its sidecars away for longer.
const MOST_TOLD: Duration = Duration::from_mins(5);

/// The state between two streams.
#[derive(Debug)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// A valid message came: whoever serves is able to.
    pub(super) fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// The wait after a stream that ended by itself. `random` is in `0.0..1.0`.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let wait = self.ceiling.mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = (self.ceiling * 2).min(MOST);
        wait
    }

    /// The wait that the operator asked for, plus jitter of as much again (at least of
    /// what would have been waited anyway).
    pub(super) fn told(&mut self, after: Duration, random: f64) -> Duration {
        let after = after.min(MOST_TOLD);
        let jitter = after.max(self.ceiling).mul_f64(random.clamp(0.0, 1.0));
        self.ceiling = (self.ceiling * 2).min(MOST);
        after + jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_100_ms_to_15_s() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..10).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000]
        );
    }

    #[test]
    fn the_jitter_is_full() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), Duration::from_millis(100));
    }

    #[test]
    fn a_valid_message_starts_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..5 {
            backoff.next(0.5);
        }
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST);
    }

    #[test]
    fn a_told_wait_is_kept_spread_and_bounded() {
        let mut backoff = Backoff::new();
        let two = Duration::from_secs(2);
        assert_eq!(backoff.told(two, 0.0), two);
        assert_eq!(backoff.told(two, 1.0), two * 2);
        assert_eq!(backoff.told(Duration::from_hours(24), 0.0), MOST_TOLD);
    }
}
