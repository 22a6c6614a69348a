//! How the process ends, and in which order.
//!
//! Told to stop: not ready any more; sidecars are told to come back later and
//! the last statuses are written, at the same time; then the Lease is handed
//! over. Each step has an end, all together stay below the 30 s that a pod is
//! given. A second signal ends the process at once. Deposed, or half broken, the
//! process ends with another code than 0, and the container starts afresh.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Ended, Readiness};
use crate::tasks::{TaskEnd, Tasks};

/// Notices to sidecars, and the last statuses.
const DRAIN: Duration = Duration::from_secs(8);
/// Reading and writing the Lease, with a call that hangs before.
const HANDOVER: Duration = Duration::from_secs(12);

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Stopped,
    /// Another process leads.
    Deposed,
    /// A part of it ended by itself.
    Broken,
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// All that runs.
pub(super) struct Running {
    signals: Signals,
    readiness: Readiness,
    /// Run to the end of the process.
    steady: Tasks,
    /// End by themselves once `drain` is cancelled.
    draining: Tasks,
    drain: CancellationToken,
    election: Option<JoinHandle<Ended>>,
    step_down: CancellationToken,
}

/// What happened first.
enum Event {
    Signal,
    Task(TaskEnd),
    Election(Option<Ended>),
}

// ---------------------------------------------------------------- impl Signals

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

// ---------------------------------------------------------------- impl Running

impl Running {
    pub(super) fn new(signals: Signals, readiness: Readiness) -> Self {
        Self {
            signals,
            readiness,
            steady: Tasks::default(),
            draining: Tasks::default(),
            drain: CancellationToken::new(),
            election: None,
            step_down: CancellationToken::new(),
        }
    }

    pub(super) fn steady(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.steady.spawn(name, task);
    }

    /// `task` gets the token that tells it to drain.
    pub(super) fn draining<F>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.draining.spawn(name, task(self.drain.clone()));
    }

    /// `task` gets the token that tells it to hand the Lease over.
    pub(super) fn elect<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        self.election = Some(tokio::spawn(task(self.step_down.clone())));
    }

    /// Waits for `done`; `Some` when the process ends before.
    pub(super) async fn while_waiting(&mut self, done: impl Future<Output = ()>) -> Option<End> {
        tokio::select! {
            () = done => None,
            event = self.next() => Some(self.end(event).await),
        }
    }

    pub(super) async fn end_of_all(mut self) -> End {
        let event = self.next().await;
        self.end(event).await
    }

    async fn next(&mut self) -> Event {
        let election = async {
            match &mut self.election {
                // A panic of the election is the end of it, too.
                Some(handle) => handle.await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A part may end because the election did: that is the reason to tell.
            biased;
            () = self.signals.next() => Event::Signal,
            ended = election => Event::Election(ended),
            end = self.steady.next_end() => Event::Task(end),
            end = self.draining.next_end() => Event::Task(end),
        }
    }

    async fn end(&mut self, event: Event) -> End {
        match event {
            Event::Signal => {
                tracing::info!("told to stop");
                self.stop().await;
                End::Stopped
            }
            Event::Election(Some(Ended::Deposed { by })) => {
                tracing::warn!(by, "another process leads: this one starts afresh");
                self.election = None;
                self.stop().await;
                End::Deposed
            }
            Event::Election(Some(Ended::Stopped) | None) => {
                tracing::error!(task = "election", "a part of the operator ended by itself");
                self.election = None;
                self.stop().await;
                End::Broken
            }
            Event::Task(TaskEnd { name, panicked }) => {
                tracing::error!(
                    task = name,
                    panicked,
                    "a part of the operator ended by itself"
                );
                self.stop().await;
                End::Broken
            }
        }
    }

    async fn stop(&mut self) {
        self.readiness.wait_for("process", "it is stopping");
        let Self {
            signals,
            draining,
            drain,
            election,
            step_down,
            ..
        } = self;
        let orderly = async {
            drain.cancel();
            let left = draining.join(DRAIN).await;
            if !left.is_empty() {
                tracing::warn!(tasks = left.join(", "), "not drained in time");
            }
            step_down.cancel();
            if let Some(election) = election
                && tokio::time::timeout(HANDOVER, election).await.is_err()
            {
                tracing::warn!("Lease not handed over in time: it runs out by itself");
            }
        };
        tokio::select! {
            () = orderly => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("told to stop at once"),
        }
    }
}
