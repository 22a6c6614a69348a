//! Ends the process where its one event loop no longer turns.
//!
//! A loop that is stuck answers nothing and drains nothing; the kubelet, which
//! has no liveness probe to ask, would leave it so for ever. A thread of its
//! own counts: the loop has to reset the count, and a process that was frozen
//! as a whole (a stopped container, a debugger) doesn't count meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// How often both look: seldom enough to cost nothing.
const EVERY: Duration = Duration::from_secs(5);
/// Looks without a turn of the loop, after which it is stuck: 30 s.
const STUCK_AFTER: u32 = 6;

/// Starts the watch over the runtime that this is called in.
pub fn start() -> io::Result<()> {
    let looks = Arc::new(AtomicU32::new(0));
    let loop_looks = looks.clone();
    tokio::spawn(async move {
        loop {
            loop_looks.store(0, Relaxed);
            tokio::time::sleep(EVERY).await;
        }
    });
    let watch = move || {
        while !is_stuck(&looks) {
            thread::sleep(EVERY);
        }
        tracing::error!("the event loop has not turned for 30 s: aborting");
        std::process::abort();
    };
    let thread = thread::Builder::new().name("watchdog".into());
    // Enough for one log line.
    thread.stack_size(128 * 1024).spawn(watch)?;
    Ok(())
}

fn is_stuck(looks: &AtomicU32) -> bool {
    looks.fetch_add(1, Relaxed) >= STUCK_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loop_that_does_not_turn_for_all_the_looks_is_stuck() {
        let looks = AtomicU32::new(0);
        for _ in 0..STUCK_AFTER {
            assert!(!is_stuck(&looks));
        }
        looks.store(0, Relaxed);
        assert!(!is_stuck(&looks), "it turned");
        looks.store(STUCK_AFTER, Relaxed);
        assert!(is_stuck(&looks));
        assert_eq!(EVERY * STUCK_AFTER, Duration::from_secs(30));
    }
}
