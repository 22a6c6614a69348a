//! The leader's hand that writes statuses: a few calls at a time, each with an end.

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use llmroute_crds::FIELD_MANAGER;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::slot::{Moment, Outcome};
use super::{Desk, Job, Next, StatusKind, transitions};
use crate::events::Events;
use crate::kubernetes::{CallError, call, is_conflict, is_not_found};
use crate::leader::Role;
use crate::metrics::Metrics;

/// Calls at a time: a status takes the API server some 5 ms, so these make more
/// than a thousand a second, and leave the rest of its attention to others.
const AT_A_TIME: usize = 8;

/// What the writer works with.
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// How it calls the kinds.
    pub providers: ApiResource,
    /// Likewise.
    pub routes: ApiResource,
    /// What is wanted.
    pub desk: Desk,
    /// Only the leader writes.
    pub role: watch::Receiver<Role>,
    /// Where changes for the worse are told.
    pub events: Events,
    /// Writes by outcome, and the backlog.
    pub metrics: Metrics,
}

type Calls = FuturesUnordered<BoxFuture<'static, (Job, Outcome)>>;

// ---------------------------------------------------------------- impl Writer

impl Writer {
    /// Writes while this process leads. After `stop` it writes what there is to
    /// write without waiting for calm, and ends.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut calls = Calls::new();
        let mut held = Held::default();
        let mut leading_since = None;
        let mut flush = false;
        loop {
            self.note_role(&mut leading_since);
            let mut wake = None;
            if let Some(leading_since) = leading_since {
                let moment = Moment {
                    now: Instant::now(),
                    leading_since,
                    flush,
                };
                wake = self.start(moment, &calls);
                self.tell_held(&mut held, moment.now);
            } else {
                held.clear();
            }
            let wake = wake.into_iter().chain(held.due()).min();
            self.count();
            // A pause after a failure is longer than any shutdown.
            if flush && calls.is_empty() {
                return;
            }
            tokio::select! {
                Some((job, outcome)) = calls.next() => {
                    if matches!(outcome, Outcome::Written { .. }) {
                        self.tell(&job, &mut held);
                    }
                    self.desk.ended(&job.object, outcome, Instant::now());
                }
                () = self.desk.touched() => {}
                () = sleep_until(wake) => {}
                Ok(()) = self.role.changed() => {}
                () = stop.cancelled(), if !flush => flush = true,
            }
        }
    }

    fn note_role(&self, leading_since: &mut Option<Instant>) {
        let leads = self.role.borrow().leading().is_some();
        if !leads {
            *leading_since = None;
        } else if leading_since.is_none() {
            self.desk.forget_writes();
            *leading_since = Some(Instant::now());
        }
    }

    /// Sends what is due; when to look again otherwise.
    fn start(&self, moment: Moment, calls: &Calls) -> Option<Instant> {
        let room = AT_A_TIME.saturating_sub(calls.len());
        if room == 0 {
            return None;
        }
        match self.desk.next(moment, room) {
            Next::Jobs(jobs) => {
                for job in jobs {
                    calls.push(self.write(job).boxed());
                }
                None
            }
            Next::Wait(until) => until,
        }
    }

    fn write(&self, job: Job) -> impl Future<Output = (Job, Outcome)> + Send + 'static {
        let resource = match job.object.kind {
            StatusKind::Provider => &self.providers,
            StatusKind::Route => &self.routes,
        };
        let id = &job.object.id;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &id.namespace, resource);
        let patch = Patch::Apply(patch(resource, &job));
        let metrics = self.metrics.clone();
        async move {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let written = api.patch_status(&job.object.id.name, &params, &patch);
            let (outcome, label) = match call(written).await {
                Ok(object) => (written_as(object), "applied"),
                Err(error) => failed(&job, &error),
            };
            metrics.status_writes.with_label_values(&[label]).inc();
            (job, outcome)
        }
    }

    fn tell(&self, job: &Job, held: &mut Held) {
        let before = job.before.as_deref().unwrap_or(&Value::Null);
        let Job { object, wanted, .. } = job;
        for note in transitions::notes(object, &wanted.uid, before, &wanted.status) {
            if let Some(note) = held.take(object, note, Instant::now()) {
                self.events.publish(note);
            }
        }
    }

    /// By what is wanted now: what is there may be some seconds older.
    fn tell_held(&self, held: &mut Held, now: Instant) {
        for (object, uid) in held.ripe(now) {
            let wanted = self.desk.wanted(&object).filter(|w| w.uid == uid);
            let note = wanted.and_then(|w| transitions::unresolved(&object, &uid, &w.status));
            if let Some(note) = note {
                self.events.publish(note);
            }
        }
    }

    fn count(&self) {
        let backlog = i64::try_from(self.desk.backlog()).unwrap_or(i64::MAX);
        self.metrics.status_backlog.set(backlog);
    }
}

/// The uid makes sure that another life of the name doesn't get this status.
fn patch(resource: &ApiResource, job: &Job) -> Value {
    let id = &job.object.id;
    let mut metadata = json!({ "name": id.name, "namespace": id.namespace });
    if !job.wanted.uid.is_empty() {
        metadata["uid"] = job.wanted.uid.clone().into();
    }
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        "status": job.wanted.status,
    })
}

fn written_as(object: DynamicObject) -> Outcome {
    let version = object.metadata.resource_version;
    Outcome::Written {
        version: version.and_then(|v| v.parse().ok()),
        status: object.data.get("status").cloned(),
    }
}

/// Also the label of the metric.
fn failed(job: &Job, error: &CallError) -> (Outcome, &'static str) {
    let object = &job.object;
    if is_conflict(error) || is_not_found(error) {
        tracing::debug!(%object, %error, "the object of a status is another now");
        return (Outcome::Moot, "moot");
    }
    tracing::warn!(%object, %error, "status not written");
    match error {
        CallError::Timeout => (Outcome::Failed, "timeout"),
        CallError::Kube(_) => (Outcome::Failed, "failed"),
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
