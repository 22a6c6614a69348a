//! So many turns a second, in order; who would have to wait too long is told at once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub(super) struct Pace {
    step: Duration,
    longest_wait: Duration,
    /// When the next turn is free.
    free: Mutex<Option<Instant>>,
}

/// The queue is longer than anybody should wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Pace {
    pub(super) fn new(per_second: u32, longest_wait: Duration) -> Self {
        Self {
            step: Duration::from_secs(1) / per_second.max(1),
            longest_wait,
            free: Mutex::new(None),
        }
    }

    /// Waits for a turn. Cancelled, the turn is spent.
    pub(super) async fn turn(&self) -> Result<(), TooLong> {
        let now = Instant::now();
        let mine = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = free.map_or(now, |free| free.max(now));
            if mine - now > self.longest_wait {
                return Err(TooLong);
            }
            *free = Some(mine + self.step);
            mine
        };
        tokio::time::sleep_until(mine).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_pace_and_a_long_queue_is_refused() {
        let pace = Pace::new(10, Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..6 {
            pace.turn().await.expect("a turn");
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(500), "{took:?}");
        let waiting: Vec<_> = (0..20).map(|_| pace.turn()).collect();
        let refused = futures::future::join_all(waiting).await;
        let refused = refused.iter().filter(|turn| turn.is_err()).count();
        assert!((9..=10).contains(&refused), "{refused}");
    }
}
