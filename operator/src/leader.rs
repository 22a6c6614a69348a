//! Who serves: one process, elected on a Lease, under an epoch of its own.
//!
//! The Lease only decides who tries; the epoch (`epoch`) decides who is
//! believed. A leader that can't reach the API server goes on leading: it
//! steps down only when it *reads* another holder of the Lease or another
//! owner of the epoch, and then for good, by ending the process. It knows
//! nothing of sessions: they follow the published [`Role`].

mod health;
mod label;
mod lease;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use health::LeaseHealth;
pub use label::LEADER_LABEL;
pub use lease::LEASE;

use crate::certs::serve::ServedLeaf;
use crate::epoch::{EpochStore, Root};
use crate::kubernetes::{CallError, call, is_conflict};
use crate::metrics::Metrics;
use label::LeaderLabel;
use lease::{Election, Step};

/// How often the Lease is renewed or looked at.
const RETRY: Duration = Duration::from_secs(2);
/// The root is read again every so many turns: 10 s.
const ROOT_EVERY: u32 = 5;
/// The label is set again every so many turns: 60 s.
const LABEL_EVERY: u32 = 30;
/// Taking the own label off may last so long; the next leader takes it off anyway.
const UNLABEL: Duration = Duration::from_secs(2);
/// A higher epoch in a Hello leads to one takeover in so much time.
const TAKEOVER_PAUSE: Duration = Duration::from_mins(1);

/// What this process is to the sidecars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another process leads, or nobody does yet.
    Standby {
        /// The last epoch that was read; 0 for none.
        epoch: u64,
    },
    /// The Lease is ours, the epoch isn't yet: nobody is served.
    Elected {
        /// The last epoch that was read or served.
        epoch: u64,
    },
    /// This process serves.
    Leading {
        /// Its own epoch.
        epoch: u64,
    },
}

/// Why the election ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop; the Lease was handed over if it was ours.
    Stopped,
    /// Another process was read as the holder or the owner; a Lease that was
    /// still ours was handed over.
    Deposed {
        /// Which one.
        by: String,
    },
}

/// What the election works with.
pub struct Candidate {
    /// The API server.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// This pod, when known: it gets the leader label.
    pub pod_name: Option<String>,
    /// Pod name and a random part: names this process and no other, ever.
    pub identity: String,
    /// Where the role is published.
    pub role: watch::Sender<Role>,
    /// Where renewals are noted.
    pub health: LeaseHealth,
    /// The highest epoch that a sidecar has shown.
    pub shown: watch::Receiver<u64>,
    /// No label before there is a certificate to serve.
    pub leaf: ServedLeaf,
    /// Leader, epoch and failures.
    pub metrics: Metrics,
}

/// The running election.
struct Run {
    candidate: Candidate,
    leases: Api<Lease>,
    root: EpochStore,
    election: Election,
    label: Option<LeaderLabel>,
    labelled_ago: Option<u32>,
    root_read_ago: u32,
    followed: Option<Instant>,
}

// ---------------------------------------------------------------- impl Role

impl Role {
    /// The epoch served, if this process serves.
    pub fn leading(&self) -> Option<u64> {
        match self {
            Self::Leading { epoch } => Some(*epoch),
            Self::Standby { .. } | Self::Elected { .. } => None,
        }
    }

    /// The epoch served, or the last that was read.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Standby { epoch } | Self::Elected { epoch } | Self::Leading { epoch } => *epoch,
        }
    }

    /// Whether this process is the one that writes.
    pub fn holds_lease(&self) -> bool {
        !matches!(self, Self::Standby { .. })
    }
}

// ---------------------------------------------------------------- impl Candidate

impl Candidate {
    /// Runs for the Lease until `stop` or until another leader is read.
    pub async fn run(self, stop: CancellationToken) -> Ended {
        let Self { client, .. } = &self;
        let leases = Api::namespaced(client.clone(), &self.namespace);
        let root = EpochStore::new(client.clone(), &self.namespace, &self.identity);
        let label = self
            .pod_name
            .as_ref()
            .map(|pod| LeaderLabel::new(client.clone(), &self.namespace, pod));
        let election = Election::new(&self.namespace, &self.identity);
        let run = Run {
            candidate: self,
            leases,
            root,
            election,
            label,
            labelled_ago: None,
            root_read_ago: 0,
            followed: None,
        };
        run.until(stop).await
    }
}

// ---------------------------------------------------------------- impl Run

impl Run {
    async fn until(mut self, stop: CancellationToken) -> Ended {
        loop {
            match self.turn().await {
                Ok(None) => {}
                Ok(Some(deposed)) => {
                    self.step_down().await;
                    return deposed;
                }
                Err(error) => {
                    if self.candidate.role.borrow().holds_lease() {
                        self.candidate.metrics.lease_failures.inc();
                    }
                    tracing::warn!(%error, "election turn failed");
                }
            }
            let pause = RETRY.mul_f64(1.0 + 0.1 * fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Without a sender there is nothing to wake for, and no reason to spin.
                Ok(()) = self.candidate.shown.changed() => {}
                () = stop.cancelled() => {
                    self.step_down().await;
                    return Ended::Stopped;
                }
            }
        }
    }

    /// One look at the Lease and what follows from it.
    async fn turn(&mut self) -> Result<Option<Ended>, CallError> {
        let lease = call(self.leases.get_opt(LEASE)).await?;
        let held = self.candidate.role.borrow().holds_lease();
        let step = self.election.decide(lease, held, Instant::now());
        let written = match step {
            Step::Wait => {
                if self.candidate.role.borrow().epoch() == 0 {
                    let epoch = self.root.read().await?.map_or(0, |root| root.epoch);
                    self.publish(Role::Standby { epoch });
                }
                return Ok(None);
            }
            Step::Deposed { by } => return Ok(Some(Ended::Deposed { by })),
            Step::Create(lease) => self.create(&lease).await?,
            Step::Replace(lease) => self.replace(&lease).await?,
        };
        if !written {
            return Ok(None);
        }
        self.candidate.health.renewed();
        if !held {
            tracing::info!(identity = self.candidate.identity, "Lease acquired");
            self.publish(Role::Elected {
                epoch: self.epoch(),
            });
        }
        self.lead().await
    }

    /// The Lease is ours: own an epoch, keep owning it, wear the label.
    async fn lead(&mut self) -> Result<Option<Ended>, CallError> {
        let role = self.candidate.role.borrow().clone();
        if let Some(epoch) = role.leading() {
            if let Some(ended) = self.check_root(epoch).await? {
                return Ok(Some(ended));
            }
            self.follow_shown(epoch);
        }
        if self.candidate.role.borrow().leading().is_none() {
            let shown = *self.candidate.shown.borrow();
            let epoch = self.root.take_over(shown.max(role.epoch())).await?;
            tracing::info!(epoch, "epoch taken over");
            self.publish(Role::Leading { epoch });
        }
        self.wear_label().await?;
        Ok(None)
    }

    async fn check_root(&mut self, epoch: u64) -> Result<Option<Ended>, CallError> {
        self.root_read_ago += 1;
        if self.root_read_ago < ROOT_EVERY {
            return Ok(None);
        }
        self.root_read_ago = 0;
        match self.root.read().await? {
            Some(Root { owner, .. }) if owner != self.candidate.identity => {
                Ok(Some(Ended::Deposed { by: owner }))
            }
            Some(root) if root.epoch == epoch => Ok(None),
            // Deleted, or edited by hand: own a newer one.
            Some(_) | None => {
                tracing::warn!(epoch, "the epoch in the store isn't ours any more");
                self.publish(Role::Elected { epoch });
                Ok(None)
            }
        }
    }

    /// A sidecar has followed a higher epoch: the store was set back. Own one above it.
    fn follow_shown(&mut self, epoch: u64) {
        let shown = *self.candidate.shown.borrow_and_update();
        let recent = |at: Instant| at.elapsed() < TAKEOVER_PAUSE;
        if shown > epoch && !self.followed.is_some_and(recent) {
            tracing::warn!(epoch, shown, "a sidecar has followed a higher epoch");
            // The election's own takeover doesn't count: a store that was set back shows
            // just after it, and its sidecars are not to wait.
            self.followed = Some(Instant::now());
            self.publish(Role::Elected { epoch });
        }
    }

    async fn wear_label(&mut self) -> Result<(), CallError> {
        let Some(label) = &self.label else {
            return Ok(());
        };
        let due = self.labelled_ago.is_none_or(|turns| turns >= LABEL_EVERY);
        if due && self.candidate.leaf.is_set() {
            label.take().await?;
            self.labelled_ago = Some(0);
        }
        self.labelled_ago = self.labelled_ago.map(|turns| turns + 1);
        Ok(())
    }

    async fn create(&self, lease: &Lease) -> Result<bool, CallError> {
        let answer = call(self.leases.create(&PostParams::default(), lease)).await;
        unless_conflict(answer)
    }

    async fn replace(&self, lease: &Lease) -> Result<bool, CallError> {
        let params = PostParams::default();
        unless_conflict(call(self.leases.replace(LEASE, &params, lease)).await)
    }

    /// Serves nobody any more, takes the label off, gives the Lease away, in this order.
    async fn step_down(&mut self) {
        if !self.candidate.role.borrow().holds_lease() {
            return;
        }
        self.publish(Role::Standby {
            epoch: self.epoch(),
        });
        if let Some(label) = &self.label
            && self.labelled_ago.is_some()
        {
            match tokio::time::timeout(UNLABEL, label.drop_own()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "leader label not taken off"),
                Err(_) => tracing::warn!("leader label not taken off in time"),
            }
        }
        self.release().await;
    }

    /// Gives the Lease away if it is ours, so that the next leader need not wait it out.
    async fn release(&self) {
        let released = async {
            match call(self.leases.get_opt(LEASE)).await? {
                Some(lease) => match self.election.released(lease) {
                    Some(lease) => self.replace(&lease).await,
                    None => Ok(false),
                },
                None => Ok(false),
            }
        };
        match released.await {
            Ok(released) => tracing::info!(released, "Lease handed over"),
            Err(error) => tracing::warn!(%error, "Lease not handed over: it runs out by itself"),
        }
    }

    fn epoch(&self) -> u64 {
        self.candidate.role.borrow().epoch()
    }

    fn publish(&self, role: Role) {
        let Candidate { metrics, .. } = &self.candidate;
        metrics.leader.set(i64::from(role.leading().is_some()));
        metrics
            .epoch
            .set(i64::try_from(role.epoch()).unwrap_or(i64::MAX));
        self.candidate.role.send_replace(role);
    }
}

fn unless_conflict<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Ok(_) => Ok(true),
        // The next turn reads who was faster.
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
