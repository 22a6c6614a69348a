//! Looks at a pod that no watch shows: it may be relabelled or deleted, and
//! nobody would tell. One look at a time for a stream, a few for all; each runs
//! by itself, so that a sidecar that doesn't read keeps no turn from the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::kubernetes::CallError;
use crate::session::{PodLookup, Shared};
use crate::world::{ObjectRef, PodFacts};

/// The pod as it is now; `None` when it is gone.
pub(super) type Found = Result<Option<Arc<PodFacts>>, CallError>;

pub(super) struct Looks<'a> {
    shared: &'a Shared,
    id: ObjectRef,
    due: Instant,
    /// At most one; ends with the stream.
    going: JoinSet<Found>,
}

// ---------------------------------------------------------------- impl Looks

impl<'a> Looks<'a> {
    /// It was looked at just now.
    pub(super) fn new(shared: &'a Shared, id: ObjectRef) -> Self {
        // Spread, so that a thousand sessions don't look at once.
        let first = 0.5 + 0.5 * fastrand::f64();
        Self {
            due: Instant::now() + shared.limits.look.mul_f64(first),
            shared,
            id,
            going: JoinSet::new(),
        }
    }

    /// What the next look finds. Cancelled, it goes on with the next call.
    pub(super) async fn next(&mut self) -> Found {
        if self.going.is_empty() {
            self.wait().await;
            let (pods, turns) = (self.shared.auth.pods(), self.shared.looks.clone());
            self.going.spawn(look(pods, turns, self.id.clone()));
        }
        let found = self.going.join_next().await;
        self.stop();
        // One that broke has found nothing out.
        let found = found.and_then(Result::ok);
        found.unwrap_or(Err(CallError::Timeout))
    }

    /// Gives up the look that is under way; the next one is due in its time.
    pub(super) fn stop(&mut self) {
        self.going.abort_all();
        self.going.detach_all();
        self.due = Instant::now() + self.every();
    }

    /// While the API server is out of reach nothing is asked: it couldn't say.
    async fn wait(&mut self) {
        sleep_until(self.due).await;
        while self.shared.health.is_out_of_reach() {
            self.due = Instant::now() + self.every();
            sleep_until(self.due).await;
        }
    }

    fn every(&self) -> Duration {
        self.shared.limits.look
    }
}

async fn look(pods: Arc<dyn PodLookup>, turns: Arc<Semaphore>, id: ObjectRef) -> Found {
    let _turn = turns.acquire().await.expect("never closed");
    pods.get(&id).await
}
