//! The parts of the process and the channels between them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::stop::Running;
use super::{Args, Metrics, Readiness, Role};
use crate::certs::serve::ServedLeaf;
use crate::certs::store::{self as certs, CertKeeper};
use crate::controllers::Options;
use crate::events::{Events, Note, Publisher, Reason, Severity};
use crate::leader::{Candidate, LEASE, LeaseHealth};
use crate::reconcile::{self, Reconciler};
use crate::session::{self, Facts, KubePods, KubeReviewer, Limits, SessionServer, View};
use crate::status::{Desk, Writer};
use crate::watches::{self, Referenced, Watches};
use crate::world::ObjectRef;

/// Everything that more than one task holds.
pub(super) struct Parts {
    args: Args,
    client: Client,
    metrics: Metrics,
    readiness: Readiness,
    /// Names this process and no other, ever.
    pub(super) identity: String,
    role: watch::Sender<Role>,
    shown: watch::Sender<u64>,
    health: LeaseHealth,
    leaf: ServedLeaf,
    trusted: watch::Sender<String>,
    view: watch::Sender<Option<Arc<dyn View>>>,
    facts: Facts,
    desk: Desk,
    events: Events,
}

// ---------------------------------------------------------------- impl Parts

impl Parts {
    /// The receiver is for `start_serving`.
    pub(super) fn new(
        args: Args,
        client: Client,
        metrics: Metrics,
        readiness: Readiness,
    ) -> (Self, mpsc::Receiver<Note>) {
        let host = args.pod_name.as_deref().unwrap_or("local");
        let identity = format!("{host}_{:016x}", fastrand::u64(..));
        readiness.wait_for(certs::GATE, "the Secret to be read");
        readiness.wait_for(reconcile::GATE, "the kinds to be served");
        let (events, notes) = Events::new(&metrics);
        let parts = Self {
            args,
            client,
            metrics,
            readiness,
            identity,
            role: watch::Sender::new(Role::Standby { epoch: 0 }),
            shown: watch::Sender::new(0),
            health: LeaseHealth::new(),
            leaf: ServedLeaf::default(),
            trusted: watch::Sender::new(String::new()),
            view: watch::Sender::new(None),
            facts: Facts::default(),
            desk: Desk::default(),
            events,
        };
        (parts, notes)
    }

    /// Events, certificates and the session port: a replica that doesn't lead says so.
    pub(super) fn start_serving(
        &self,
        running: &mut Running,
        listener: TcpListener,
        notes: mpsc::Receiver<Note>,
    ) {
        let (client, metrics) = (self.client.clone(), self.metrics.clone());
        let publisher = Publisher::new(client, &self.identity, notes, metrics);
        running.steady("events", publisher.run());
        let keeper = CertKeeper {
            client: self.client.clone(),
            namespace: self.args.namespace.clone(),
            names: self.args.session_names(),
            role: self.role.subscribe(),
            leaf: self.leaf.clone(),
            trusted: self.trusted.clone(),
            metrics: self.metrics.clone(),
            events: self.events.clone(),
            readiness: self.readiness.clone(),
        };
        running.steady("certificates", keeper.run());
        let server = SessionServer::new(session::Deps {
            view: self.view.subscribe(),
            pods: Arc::new(KubePods::new(self.client.clone())),
            reviewer: Arc::new(KubeReviewer::new(self.client.clone())),
            role: self.role.subscribe(),
            shown: self.shown.clone(),
            health: self.health.clone(),
            owner: self.identity.clone(),
            facts: self.facts.clone(),
            metrics: self.metrics.clone(),
            clock: Timestamp::now,
            limits: Limits::default(),
        });
        let leaf = self.leaf.clone();
        running.draining("sessions", |drain| server.serve(listener, leaf, drain));
    }

    /// Watches, the World and statuses. The future ends when the first view is published.
    pub(super) fn start_watching(
        &self,
        running: &mut Running,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (seen, told) = mpsc::channel(watches::QUEUE);
        let config_maps = watch::Sender::new(BTreeSet::new());
        self.start_watches(running, seen, config_maps.subscribe());
        let reconciler = Reconciler::new(reconcile::Deps {
            seen: told,
            facts: self.facts.clone(),
            view: self.view.clone(),
            config_maps,
            trusted: self.trusted.subscribe(),
            desk: self.desk.clone(),
            role: self.role.subscribe(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
            options: Options {
                allow_loopback: self.args.allow_loopback_upstreams,
                cluster_domain: self.args.cluster_domain.clone(),
            },
            clock: Timestamp::now,
        });
        running.steady("reconciler", reconciler.run());
        self.start_writing(running);
        let mut view = self.view.subscribe();
        async move {
            // The sender is as old as the process.
            let _ = view.wait_for(Option::is_some).await;
        }
    }

    fn start_watches(
        &self,
        running: &mut Running,
        seen: mpsc::Sender<watches::Seen>,
        config_maps: watch::Receiver<BTreeSet<ObjectRef>>,
    ) {
        let watches = Watches {
            client: self.client.clone(),
            seen,
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        };
        let (providers, routes) = (llmroute_crds::provider_crd(), llmroute_crds::route_crd());
        running.steady("watch of providers", watches.clone().providers(providers));
        running.steady("watch of routes", watches.clone().routes(routes));
        running.steady("watch of secrets", watches.clone().secrets());
        running.steady("watch of namespaces", watches.clone().namespaces());
        running.steady("watch of pods", watches.clone().pods());
        let referenced = Referenced::new(watches, config_maps);
        running.steady("watch of config maps", referenced.run());
    }

    fn start_writing(&self, running: &mut Running) {
        let writer = Writer {
            client: self.client.clone(),
            providers: watches::resource(&llmroute_crds::provider_crd()),
            routes: watches::resource(&llmroute_crds::route_crd()),
            desk: self.desk.clone(),
            role: self.role.subscribe(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
        };
        running.draining("status writer", |drain| writer.run(drain));
        let lease = lease(&self.args.namespace);
        let events = self.events.clone();
        let announced = announce(self.role.subscribe(), events, lease, self.identity.clone());
        running.steady("announcement of the leader", announced);
    }

    /// Runs for the Lease: only now, as this replica knows what there is to serve.
    pub(super) fn start_leading(self, running: &mut Running) {
        let candidate = Candidate {
            client: self.client,
            namespace: self.args.namespace,
            pod_name: self.args.pod_name,
            identity: self.identity,
            role: self.role,
            health: self.health,
            shown: self.shown.subscribe(),
            leaf: self.leaf,
            metrics: self.metrics,
        };
        running.elect(|step_down| candidate.run(step_down));
    }
}

/// Tells of each epoch that this process comes to serve.
async fn announce(
    mut role: watch::Receiver<Role>,
    events: Events,
    lease: ObjectReference,
    identity: String,
) {
    loop {
        if let Some(epoch) = role.borrow_and_update().leading() {
            let text = format!("{identity} serves under epoch {epoch}");
            let reason = Reason::LeaderChanged;
            events.publish(Note::new(lease.clone(), Severity::Normal, reason, &text));
        }
        if role.changed().await.is_err() {
            // The election has ended, and with it the process.
            return std::future::pending().await;
        }
    }
}

fn lease(namespace: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(LEASE.to_owned()),
        ..ObjectReference::default()
    }
}
