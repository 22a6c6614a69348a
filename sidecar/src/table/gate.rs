//! `limits.maxConcurrent`: how many calls of a rule may be under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The count of one rule. It outlives a change of the config, and so does what
/// it counts: a limit that is lowered refuses new calls until enough of the old
/// ones have ended.
#[derive(Debug)]
pub struct Gate {
    under_way: AtomicU32,
    limit: AtomicU32,
}

/// One call's place; dropping it gives it back.
#[derive(Debug)]
pub struct Permit(Arc<Gate>);

impl Gate {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            under_way: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
        }
    }

    pub(super) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Relaxed);
    }

    /// A place, if there is one now. Nothing waits for a place: a call that
    /// can't begin is answered at once, and the client's own backoff spreads it.
    pub fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.limit.load(Relaxed);
        self.under_way
            .fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1))
            .ok()
            .map(|_| Permit(self.clone()))
    }

    /// Calls under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// The limit of now.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_lowered_limit_waits_for_the_old_calls() {
        let gate = Arc::new(Gate::new(2));
        let (a, b) = (gate.try_enter(), gate.try_enter());
        assert!(a.is_some() && b.is_some() && gate.try_enter().is_none());
        gate.set_limit(1);
        drop(a);
        assert!(gate.try_enter().is_none(), "one is still under way");
        drop(b);
        assert!(gate.try_enter().is_some());
        assert_eq!(gate.under_way(), 0, "the permit was dropped at once");
    }
}
