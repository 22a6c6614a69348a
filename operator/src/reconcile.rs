//! The one task that owns the World.
//!
//! Everything seen goes through it, in batches: into the engine, out as an
//! immutable view for the sessions and as wanted statuses on the [`Desk`]. It
//! decides nothing about routes and providers (`controllers` does), and it waits
//! for nobody but its own queue. Nothing is published before every cache was
//! listed: half a World would look to sidecars like deletions.

mod gate;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::controllers::{CredentialFacts, Effects, Engine, Options};
use crate::leader::Role;
use crate::metrics::Metrics;
use crate::session::{Cluster, Facts, PodStore, Touched, View};
use crate::status::{Desk, StatusKind, StatusRef, Wanted};
use crate::watches::{QUEUE, Seen};
use crate::world::{Change, Object, ObjectRef};
use gate::Gate;

pub use gate::GATE;

/// Statuses are computed at most so often: a push to a thousand sidecars brings
/// a thousand acks, and each looks at all of them.
const STATUS_PAUSE: Duration = Duration::from_millis(20);
/// Routes whose sidecars haven't all answered are looked at again so often.
const UNSETTLED_EVERY: Duration = Duration::from_secs(1);
/// Everything is looked at again after so many of those turns: a minute.
const ALL_EVERY: u32 = 60;

/// What the reconciler works with.
pub struct Deps {
    /// From the watches.
    pub seen: mpsc::Receiver<Seen>,
    /// What sidecars answered.
    pub facts: Facts,
    /// For the sessions; `None` until everything was listed.
    pub view: watch::Sender<Option<Arc<dyn View>>>,
    /// The `ConfigMap`s that providers name.
    pub config_maps: watch::Sender<BTreeSet<ObjectRef>>,
    /// The CA certificates that sidecars are to trust.
    pub trusted: watch::Receiver<String>,
    /// Where wanted statuses go.
    pub desk: Desk,
    /// Statuses are the leader's.
    pub role: watch::Receiver<Role>,
    /// Duration of batches, malformed objects.
    pub metrics: Metrics,
    /// Gate `config`.
    pub readiness: crate::admin::Readiness,
    /// For the engine.
    pub options: Options,
    /// The wall clock, for conditions.
    pub clock: fn() -> Timestamp,
}

/// The task.
pub struct Reconciler {
    deps: Deps,
    engine: Engine,
    pods: PodStore,
    gate: Gate,
    /// Not yet published.
    stale_view: bool,
    /// Statuses to compute.
    due: Touched,
    /// Routes that wait for answers.
    unsettled: BTreeSet<ObjectRef>,
    computed_at: Option<Instant>,
    turns: u32,
}

// ---------------------------------------------------------------- impl Reconciler

impl Reconciler {
    /// An empty World.
    pub fn new(deps: Deps) -> Self {
        Self {
            engine: Engine::new(deps.options.clone()),
            gate: Gate::new(deps.readiness.clone()),
            deps,
            pods: PodStore::default(),
            stale_view: true,
            due: Touched::default(),
            unsettled: BTreeSet::new(),
            computed_at: None,
            turns: 0,
        }
    }

    /// Runs until the watches have ended.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(QUEUE);
        let mut tick = interval(UNSETTLED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let facts = self.deps.facts.clone();
        // The certificates may have been read before this task began.
        self.trust();
        loop {
            let status_at = self.status_at();
            tokio::select! {
                count = self.deps.seen.recv_many(&mut batch, QUEUE) => {
                    if count == 0 {
                        return;
                    }
                    self.take(&mut batch);
                }
                touched = facts.touched() => self.mark(touched),
                Ok(()) = self.deps.trusted.changed() => self.trust(),
                Ok(()) = self.deps.role.changed() => self.mark_all(),
                _ = tick.tick() => self.turn(),
                () = sleep_until(status_at) => self.compute_statuses(),
            }
            if self.gate.is_open() && self.stale_view {
                self.publish();
            }
        }
    }

    fn take(&mut self, batch: &mut Vec<Seen>) {
        let timer = self.deps.metrics.reconcile_seconds.start_timer();
        for seen in batch.drain(..) {
            match seen {
                Seen::Synced(source) => self.gate.synced(source),
                Seen::Change { change, version } => self.apply(change, version),
            }
        }
        let named = self.engine.config_maps();
        self.gate.await_config_maps(&named, Instant::now());
        self.deps.config_maps.send_if_modified(|known| {
            let changed = *known != named;
            *known = named;
            changed
        });
        timer.observe_duration();
    }

    fn apply(&mut self, change: Change, version: Option<u64>) {
        self.note_pods(&change);
        self.note_desk(&change, version);
        match &change {
            Change::ConfigMap(id, _) | Change::ConfigMapGone(id) => self.gate.answered(id),
            _ => {}
        }
        let object = match &change {
            Change::Provider(object) => Some(status_of(StatusKind::Provider, &object.id)),
            Change::Route(object) => Some(status_of(StatusKind::Route, &object.id)),
            _ => None,
        };
        let before = self.malformed_at(object.as_ref());
        let effects = self.engine.apply(change);
        let path = self.malformed_at(object.as_ref());
        if let (Some(object), Some(path)) = (&object, &path)
            && before.as_ref() != Some(path)
        {
            // Not what it reads there: that is somebody's content.
            tracing::warn!(%object, path, "an object can't be read");
        }
        self.count_malformed();
        self.note(effects);
    }

    fn malformed_at(&self, object: Option<&StatusRef>) -> Option<String> {
        let StatusRef { kind, id } = object?;
        let path = match kind {
            StatusKind::Provider => self.engine.provider_malformed_at(id),
            StatusKind::Route => self.engine.route_malformed_at(id),
        };
        path.map(str::to_owned)
    }

    fn note(&mut self, effects: Effects) {
        let Effects {
            resources,
            routes,
            providers,
        } = effects;
        self.stale_view |= !resources.is_empty();
        self.mark(Touched { routes, providers });
    }

    /// The engine needs no pods: sessions ask for theirs.
    fn note_pods(&mut self, change: &Change) {
        match change {
            Change::Pod(pod) if self.pods.get(&pod.id()).as_deref() == Some(pod) => {}
            Change::Pod(pod) => {
                self.pods.put(pod.clone());
                self.stale_view = true;
            }
            Change::PodGone(id) => {
                self.pods.remove(id);
                self.stale_view = true;
            }
            _ => {}
        }
    }

    fn note_desk(&self, change: &Change, version: Option<u64>) {
        let seen = |kind: StatusKind, object: &Object| {
            let status = object.status.clone();
            self.deps
                .desk
                .seen(&status_of(kind, &object.id), status, version);
        };
        match change {
            Change::Provider(object) => seen(StatusKind::Provider, object),
            Change::Route(object) => seen(StatusKind::Route, object),
            Change::ProviderGone(id) => self.deps.desk.gone(&status_of(StatusKind::Provider, id)),
            Change::RouteGone(id) => self.deps.desk.gone(&status_of(StatusKind::Route, id)),
            _ => {}
        }
    }

    fn count_malformed(&self) {
        let (providers, routes) = self.engine.malformed();
        let gauge = &self.deps.metrics.malformed;
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        gauge
            .with_label_values(&["llmproviders"])
            .set(count(providers));
        gauge.with_label_values(&["llmroutes"]).set(count(routes));
    }

    /// The bundle goes to every sidecar.
    fn trust(&mut self) {
        let ca_bundle_pem = self.deps.trusted.borrow_and_update().clone();
        if ca_bundle_pem.is_empty() {
            return;
        }
        let global = llmroute_protocol::Global {
            log_level: String::new(),
            ca_bundle_pem,
        };
        let effects = self.engine.apply(Change::Global(global));
        self.note(effects);
    }

    fn publish(&mut self) {
        let view = Cluster::new(self.engine.built(), self.pods.clone());
        self.deps.view.send_replace(Some(Arc::new(view)));
        self.stale_view = false;
    }
}

// ---------------------------------------------------------------- statuses

impl Reconciler {
    /// When to compute what is due.
    fn status_at(&self) -> Option<Instant> {
        let due = self.due != Touched::default();
        let ready = due && self.leads() && self.gate.is_open();
        let earliest = self
            .computed_at
            .map_or_else(Instant::now, |at| at + STATUS_PAUSE);
        ready.then_some(earliest)
    }

    fn leads(&self) -> bool {
        self.deps.role.borrow().leading().is_some()
    }

    fn mark(&mut self, touched: Touched) {
        // A standby keeps none: the next leader computes them all.
        if self.leads() {
            self.due.routes.extend(touched.routes);
            self.due.providers.extend(touched.providers);
        }
    }

    fn mark_all(&mut self) {
        let world = self.engine.world();
        let all = Touched {
            routes: world.routes.keys().cloned().collect(),
            providers: world.providers.keys().cloned().collect(),
        };
        self.mark(all);
    }

    fn turn(&mut self) {
        self.gate.look(Instant::now());
        self.turns += 1;
        if self.turns.is_multiple_of(ALL_EVERY) {
            self.mark_all();
        }
        let routes = std::mem::take(&mut self.unsettled);
        self.mark(Touched {
            routes,
            ..Touched::default()
        });
    }

    fn compute_statuses(&mut self) {
        let Touched { routes, providers } = std::mem::take(&mut self.due);
        let now = (self.deps.clock)();
        for id in providers {
            self.compute_provider(&id, now);
        }
        for id in routes {
            self.compute_route(&id, now);
        }
        self.computed_at = Some(Instant::now());
    }

    fn compute_provider(&self, id: &ObjectRef, now: Timestamp) {
        let object = status_of(StatusKind::Provider, id);
        let there = self.deps.desk.there(&object);
        let compute = |facts: &CredentialFacts| {
            let there = there.as_deref();
            self.engine.provider_status(id, there, facts, now)
        };
        let Some(mut status) = compute(&CredentialFacts::default()) else {
            return;
        };
        let hash8 = status.pointer("/credential/hash8").and_then(|h| h.as_str());
        let facts = hash8.map(|hash8| self.deps.facts.credential(id, hash8));
        if let Some(facts) = facts.filter(|facts| *facts != CredentialFacts::default()) {
            status = compute(&facts).unwrap_or(status);
        }
        if let Some(provider) = self.engine.world().providers.get(id) {
            self.deps.desk.want(&object, wanted(provider, status));
        }
    }

    fn compute_route(&mut self, id: &ObjectRef, now: Timestamp) {
        let object = status_of(StatusKind::Route, id);
        let there = self.deps.desk.there(&object);
        let dataplane = self.deps.facts.route(&self.engine.built(), id);
        let status = self
            .engine
            .route_status(id, there.as_deref(), &dataplane, now);
        let Some((status, route)) = status.zip(self.engine.world().routes.get(id)) else {
            return;
        };
        if dataplane.pending() > 0 {
            self.unsettled.insert(id.clone());
        }
        self.deps.desk.want(&object, wanted(route, status));
    }
}

fn status_of(kind: StatusKind, id: &ObjectRef) -> StatusRef {
    StatusRef {
        kind,
        id: id.clone(),
    }
}

fn wanted(object: &Object, status: serde_json::Value) -> Wanted {
    Wanted {
        uid: object.uid.clone(),
        generation: object.generation,
        status,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
