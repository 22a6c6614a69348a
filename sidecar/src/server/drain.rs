//! The end of a process that has calls under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const ENDING: u8 = 2;

/// How far the end has come. Cloned freely; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Stage>);

#[derive(Debug, Default)]
struct Stage {
    now: AtomicU8,
    draining: Arc<Notify>,
    ending: Arc<Notify>,
}

/// Ready once open calls must end. Cancel safe.
#[derive(Debug)]
pub struct Ending {
    drain: Drain,
    notified: Option<Pin<Box<OwnedNotified>>>,
}

/// Counts open connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    open: AtomicUsize,
    changed: Notify,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Entered(Arc<Count>);

// ---------------------------------------------------------------- impl Drain

impl Drain {
    /// No new work is expected; what is under way goes on.
    pub fn begin(&self) {
        self.0.now.fetch_max(DRAINING, Ordering::AcqRel);
        self.0.draining.notify_waiters();
    }

    /// What is still under way must end now.
    pub fn end(&self) {
        self.0.now.store(ENDING, Ordering::Release);
        self.0.draining.notify_waiters();
        self.0.ending.notify_waiters();
    }

    /// True once draining has begun.
    pub fn has_begun(&self) -> bool {
        self.0.now.load(Ordering::Acquire) != RUNNING
    }

    /// True once open calls must end.
    pub fn is_ending(&self) -> bool {
        self.0.now.load(Ordering::Acquire) == ENDING
    }

    /// Waits until draining has begun.
    pub async fn begun(&self) {
        // Made before the look at the stage: a change between the two wakes it.
        let notified = self.0.draining.notified();
        if !self.has_begun() {
            notified.await;
        }
    }

    /// Waits until open calls must end.
    pub fn ending(&self) -> Ending {
        Ending {
            drain: self.clone(),
            notified: None,
        }
    }

    pub(super) fn draining(&self) -> OwnedNotified {
        self.0.draining.clone().notified_owned()
    }
}

// ---------------------------------------------------------------- impl Ending

impl Future for Ending {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let notified = this
            .notified
            .get_or_insert_with(|| Box::pin(this.drain.0.ending.clone().notified_owned()));
        if this.drain.is_ending() {
            return Poll::Ready(());
        }
        notified.as_mut().poll(cx)
    }
}

// ---------------------------------------------------------------- impl Open

impl Open {
    pub(super) fn enter(&self) -> Entered {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Entered(self.0.clone())
    }

    /// Waits until none is open.
    pub(super) async fn none(&self) {
        self.below(1).await;
    }

    /// Waits until fewer than `limit` are open.
    pub(super) async fn below(&self, limit: usize) {
        loop {
            let changed = self.0.changed.notified();
            if self.0.open.load(Ordering::Acquire) < limit.max(1) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_whether_it_began_before_or_after() {
        let drain = Drain::default();
        let (early, begun) = (drain.ending(), drain.begun());
        assert!(timeout(SHORT, drain.ending()).await.is_err());
        drain.begin();
        begun.await;
        drain.begun().await;
        assert!(
            timeout(SHORT, drain.ending()).await.is_err(),
            "only draining"
        );
        drain.end();
        early.await;
        drain.ending().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_to_leave_ends_the_wait() {
        let open = Open::default();
        open.none().await;
        let (one, two) = (open.enter(), open.enter());
        assert!(timeout(SHORT, open.none()).await.is_err());
        drop(one);
        open.below(2).await;
        drop(two);
        open.none().await;
    }
}
