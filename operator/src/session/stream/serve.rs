//! A welcomed stream: pushes down, answers up, until something ends it.

use std::sync::Arc;
use std::time::Duration;

use llmroute_protocol::{Ack, FromOperator, FromSidecar, Held, Ping, from_operator, from_sidecar};
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

use super::looks::{Found, Looks};
use super::{Out, Welcomed, broken, welcome_frame};
use crate::session::Shared;
use crate::session::auth::Refusal;
use crate::session::end::End;
use crate::session::facts::{OpenFacts, Waiting};
use crate::session::push::{Push, Pushed};
use crate::session::registry::Taken;
use crate::session::view::{Published, View};
use crate::world::{ObjectRef, PodFacts};

/// While the API server can't be reached, an expired token is looked at so often.
const RECHECK: Duration = Duration::from_secs(2);

pub(super) struct Serving<'a> {
    shared: &'a Shared,
    out: &'a Out,
    epoch: u64,
    pod: Pod,
    /// While no view shows the pod.
    looks: Looks<'a>,
    seat: Taken,
    facts: OpenFacts,
    /// `None` without a common schema.
    push: Option<Push>,
    held: Vec<Held>,
    timers: Timers,
}

/// The pod as it was last seen.
struct Pod {
    id: ObjectRef,
    facts: Arc<PodFacts>,
    /// What a view showed; `None` until one did.
    seen: Option<Arc<PodFacts>>,
}

struct Timers {
    ping: Instant,
    dead: Instant,
    token: Instant,
    /// An unanswered push is called stale then.
    stale: Option<Instant>,
}

// ---------------------------------------------------------------- impl Serving

impl<'a> Serving<'a> {
    pub(super) fn new(shared: &'a Shared, welcomed: Welcomed, out: &'a Out) -> Self {
        let Welcomed {
            epoch,
            proven,
            hello,
            schema,
            seat,
        } = welcomed;
        let now = Instant::now();
        let pod = proven.pod;
        tracing::debug!(pod = %pod.id(), version = hello.binary_version, "session welcomed");
        shared.metrics.sessions.inc();
        shared.metrics.sessions_opened.inc();
        Self {
            shared,
            out,
            epoch,
            facts: shared.facts.open(pod.clone()),
            looks: Looks::new(shared, pod.id()),
            pod: Pod {
                id: pod.id(),
                facts: pod,
                seen: None,
            },
            seat,
            push: schema.map(|schema| Push::new(epoch, schema)),
            held: hello.held,
            timers: Timers {
                // Spread, so that a thousand sessions don't ping at once.
                ping: now + shared.limits.ping.mul_f64(fastrand::f64()),
                dead: now + shared.limits.dead,
                token: proven.ends,
                stale: None,
            },
        }
    }

    pub(super) async fn run(mut self, mut inbound: Streaming<FromSidecar>) -> End {
        let mut view = self.shared.view.clone();
        let mut role = self.shared.role.clone();
        let superseded = self.seat.superseded.clone();
        let opened = async {
            self.send(welcome_frame(self.shared, self.epoch)).await?;
            self.follow(&mut view).await
        };
        if let Err(end) = opened.await {
            return end;
        }
        loop {
            let turn = tokio::select! {
                frame = inbound.message() => match frame {
                    Ok(Some(frame)) => self.heard(frame, &mut view).await,
                    Ok(None) => Err(End::Gone),
                    Err(status) => Err(broken(&status)),
                },
                changed = view.changed() => match changed {
                    Ok(()) => self.follow(&mut view).await,
                    // The operator ends.
                    Err(_) => Err(End::Drain),
                },
                found = self.looks.next(), if self.pod.seen.is_none() => {
                    self.looked(found, &mut view).await
                }
                changed = role.changed() => match changed {
                    Ok(()) if role.borrow().leading() == Some(self.epoch) => Ok(()),
                    Ok(()) => Err(End::NotLeader),
                    Err(_) => Err(End::Drain),
                },
                () = superseded.cancelled() => Err(End::Superseded),
                () = self.shared.drain.cancelled() => Err(End::Drain),
                () = sleep_until(self.timers.next()) => self.tick().await,
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Takes what a look at a pod that no view shows has found.
    async fn looked(&mut self, found: Found, view: &mut Published) -> Result<(), End> {
        match found {
            Ok(Some(pod)) if pod.uid == self.pod.facts.uid => {
                if self.pod.take(&pod, &self.facts) {
                    return self.follow(view).await;
                }
                Ok(())
            }
            Ok(Some(_)) => Err(End::Refused(Refusal::PodReplaced)),
            Ok(None) => Err(End::Refused(Refusal::PodGone)),
            // It says nothing of the pod: the next look may.
            Err(error) => {
                tracing::debug!(pod = %self.pod.id, %error, "pod not read");
                Ok(())
            }
        }
    }

    async fn heard(&mut self, frame: FromSidecar, view: &mut Published) -> Result<(), End> {
        self.timers.dead = Instant::now() + self.shared.limits.dead;
        match frame.frame {
            Some(from_sidecar::Frame::Ack(ack)) => {
                self.acked(&ack);
                self.follow(view).await
            }
            Some(from_sidecar::Frame::CredentialState(said)) => {
                self.facts.credential(said);
                Ok(())
            }
            // A frame of a newer sidecar is none of ours to judge.
            Some(from_sidecar::Frame::Ping(_)) | None => Ok(()),
            Some(from_sidecar::Frame::Hello(_)) => Err(End::Malformed),
        }
    }

    fn acked(&mut self, ack: &Ack) {
        let Some(acked) = self.push.as_mut().and_then(|push| push.ack(ack)) else {
            tracing::debug!(pod = %self.pod.id, seq = ack.seq, "ack of nothing that was sent");
            return;
        };
        let metrics = &self.shared.metrics;
        metrics
            .push_ack_seconds
            .observe(acked.since.elapsed().as_secs_f64());
        for (outcome, count) in ["ok", "warn", "error"].iter().zip(acked.outcomes) {
            if count > 0 {
                metrics
                    .ack_results
                    .with_label_values(&[outcome])
                    .inc_by(count);
            }
        }
        self.timers.stale = None;
        self.facts.answered(acked.answers, (self.shared.clock)());
    }

    /// Looks at the newest view and pushes what follows from it.
    async fn follow(&mut self, view: &mut Published) -> Result<(), End> {
        let Some(newest) = view.borrow_and_update().clone() else {
            return Ok(());
        };
        self.pod.update(&*newest, &self.facts)?;
        if self.pod.seen.is_some() {
            self.looks.stop();
        }
        let wanted = newest.config(&self.pod.facts);
        drop(newest);
        let Some(push) = &mut self.push else {
            self.facts.waits(wanted, Waiting::NewerSidecar);
            return Ok(());
        };
        let now = Instant::now();
        let Some(pushed) = push.next(&wanted, &self.held, now) else {
            return Ok(());
        };
        // Only the snapshot asks what the sidecar held.
        self.held = Vec::new();
        self.pushed(pushed, now).await
    }

    async fn pushed(&mut self, pushed: Pushed, now: Instant) -> Result<(), End> {
        let Pushed {
            frames,
            config,
            bytes,
            kind,
        } = pushed;
        self.facts.waits(config, Waiting::Ack);
        self.timers.stale = Some(now + self.shared.limits.stale);
        self.shared.metrics.pushes.with_label_values(&[kind]).inc();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.shared.metrics.push_bytes.inc_by(bytes);
        for frame in frames {
            self.send(frame).await?;
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let limits = &self.shared.limits;
        if self.timers.dead <= now {
            return Err(End::Silent);
        }
        if self.timers.token <= now {
            if !self.shared.health.is_out_of_reach() {
                return Err(End::TokenExpired);
            }
            self.timers.token = now + RECHECK;
        }
        if self.timers.stale.is_some_and(|at| at <= now) {
            self.timers.stale = None;
            self.facts.stale();
        }
        if self.timers.ping <= now {
            self.timers.ping = now + limits.ping;
            return self.send(self.ping()).await;
        }
        Ok(())
    }

    fn ping(&self) -> FromOperator {
        FromOperator {
            frame: Some(from_operator::Frame::Ping(Ping {
                leader_unix_ms: (self.shared.clock)().as_millisecond(),
                lease_unrenewed: self.shared.health.is_unrenewed(),
            })),
        }
    }

    async fn send(&self, frame: FromOperator) -> Result<(), End> {
        match self.out.try_reserve() {
            Ok(room) => {
                room.send(Ok(frame));
                Ok(())
            }
            // It doesn't read: either the path is slow or it is dead.
            Err(tokio::sync::mpsc::error::TrySendError::Full(())) => {
                let sent = self.out.send_timeout(Ok(frame), self.shared.limits.dead);
                sent.await.map_err(|_| End::Silent)
            }
            Err(tokio::sync::mpsc::error::TrySendError::Closed(())) => Err(End::Gone),
        }
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.shared.metrics.sessions.dec();
    }
}

// ---------------------------------------------------------------- impl Pod

impl Pod {
    /// Takes the pod as the API server has it now; whether it is other than before.
    fn take(&mut self, pod: &PodFacts, facts: &OpenFacts) -> bool {
        let pod = PodFacts {
            // Not part of the metadata.
            service_account: self.facts.service_account.clone(),
            ..pod.clone()
        };
        if pod == *self.facts {
            return false;
        }
        self.facts = Arc::new(pod);
        facts.pod(self.facts.clone());
        true
    }

    /// Takes what the view says of the pod.
    fn update(&mut self, view: &dyn View, facts: &OpenFacts) -> Result<(), End> {
        match (view.pod(&self.id), &self.seen) {
            (Some(pod), Some(seen)) if Arc::ptr_eq(&pod, seen) => Ok(()),
            (Some(pod), _) if pod.uid == self.facts.uid => {
                self.take(&pod, facts);
                self.seen = Some(pod);
                Ok(())
            }
            // Shown at the hello by the API server itself: the watch is behind, or
            // doesn't cover the pod. Looks tell what becomes of it.
            (_, None) => Ok(()),
            (Some(_), Some(_)) => Err(End::Refused(Refusal::PodReplaced)),
            (None, Some(_)) => Err(End::Refused(Refusal::PodGone)),
        }
    }
}

// ---------------------------------------------------------------- impl Timers

impl Timers {
    fn next(&self) -> Instant {
        let first = self.ping.min(self.dead).min(self.token);
        self.stale.map_or(first, |stale| first.min(stale))
    }
}
