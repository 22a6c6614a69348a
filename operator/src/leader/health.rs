//! Since when the Lease has gone unrenewed. It says nothing about who leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Sidecars are told once the Lease has gone unrenewed for so long.
const UNRENEWED: Duration = Duration::from_secs(15);
/// The API server counts as out of reach once renewals, 2 s apart, have failed for so long.
const OUT_OF_REACH: Duration = Duration::from_secs(6);

/// Shared by the election, which notes, and the sessions, which ask.
#[derive(Clone)]
pub struct LeaseHealth {
    start: Instant,
    renewed_ms: Arc<AtomicU64>,
}

impl LeaseHealth {
    /// Renewed just now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            renewed_ms: Arc::default(),
        }
    }

    /// The API server has just taken a renewal.
    pub fn renewed(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.renewed_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether sidecars must be told.
    pub fn is_unrenewed(&self) -> bool {
        self.age() >= UNRENEWED
    }

    /// Whether the API server can be asked at all, as far as is known.
    pub fn is_out_of_reach(&self) -> bool {
        self.age() >= OUT_OF_REACH
    }

    fn age(&self) -> Duration {
        let renewed = Duration::from_millis(self.renewed_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(renewed)
    }
}

impl Default for LeaseHealth {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sidecars_are_told_after_15_s_without_a_renewal_and_no_longer_after_one() {
        let health = LeaseHealth::new();
        tokio::time::advance(Duration::from_millis(14_900)).await;
        assert!(!health.is_unrenewed());
        assert!(health.is_out_of_reach());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(health.is_unrenewed());
        health.renewed();
        assert!(!health.is_unrenewed() && !health.is_out_of_reach());
    }
}
