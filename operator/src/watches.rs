//! What is watched, and how each thing seen becomes a [`Change`].
//!
//! One task a [`Source`], all into one bounded queue. Objects of our kinds are
//! read as they come, whatever is in them; Secrets only with our label; pods
//! and namespaces as metadata. Everything is reduced as it arrives: no cache of
//! the client's keeps a second copy. A watch that fails is tried again after a
//! short wait, and what was known stays known meanwhile.

mod config_maps;
mod follow;
mod patience;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;

use crate::admin::Readiness;
use crate::metrics::Metrics;
use crate::world::{
    CREDENTIAL_LABEL, Change, INJECTED_LABEL, Object, ObjectRef, PodFacts, SecretFacts,
};

pub use config_maps::Referenced;
use follow::Follow;
pub(crate) use follow::told;

/// So many things that were seen wait for the reconciler; then the watches wait.
pub const QUEUE: usize = 1024;

/// Where a change comes from. Also a metric's label and a readiness gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `LLMProvider`s.
    Providers,
    /// `LLMRoute`s.
    Routes,
    /// Labelled Secrets.
    Secrets,
    /// `ConfigMap`s that a provider names.
    ConfigMaps,
    /// Labels of namespaces.
    Namespaces,
    /// Pods with a sidecar.
    Pods,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Seen {
    /// Something is other than before.
    Change {
        /// What.
        change: Change,
        /// The object's resourceVersion, where it has one that can be compared.
        version: Option<u64>,
    },
    /// Everything there is was told once.
    Synced(Source),
}

/// What the watches share.
#[derive(Clone)]
pub struct Watches {
    /// The API server.
    pub client: Client,
    /// Where things go that were seen.
    pub seen: mpsc::Sender<Seen>,
    /// Objects and errors.
    pub metrics: Metrics,
    /// One gate a source.
    pub readiness: Readiness,
}

// ---------------------------------------------------------------- impl Source

impl Source {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Providers,
        Self::Routes,
        Self::Secrets,
        Self::ConfigMaps,
        Self::Namespaces,
        Self::Pods,
    ];

    /// Those that are listed whole before anything is published.
    pub const LISTED: [Self; 5] = [
        Self::Providers,
        Self::Routes,
        Self::Secrets,
        Self::Namespaces,
        Self::Pods,
    ];

    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Providers => "llmproviders",
            Self::Routes => "llmroutes",
            Self::Secrets => "secrets",
            Self::ConfigMaps => "configmaps",
            Self::Namespaces => "namespaces",
            Self::Pods => "pods",
        }
    }

    /// The readiness gate.
    pub fn gate(self) -> String {
        format!("cache {}", self.label())
    }
}

// ---------------------------------------------------------------- impl Seen

impl Seen {
    /// A change whose object's version nobody compares.
    pub fn change(change: Change) -> Self {
        Self::Change {
            change,
            version: None,
        }
    }
}

// ---------------------------------------------------------------- impl Watches

impl Watches {
    /// `LLMProvider`s, as `crd` defines them.
    pub async fn providers(self, crd: CustomResourceDefinition) {
        let api = self.objects(&crd);
        let open = || watcher(api.clone(), watcher::Config::default());
        let follow = self.follow(Source::Providers);
        let gone = Change::ProviderGone;
        follow
            .run(open, |o| object(o, Change::Provider), gone)
            .await;
    }

    /// `LLMRoute`s, as `crd` defines them.
    pub async fn routes(self, crd: CustomResourceDefinition) {
        let api = self.objects(&crd);
        let open = || watcher(api.clone(), watcher::Config::default());
        let follow = self.follow(Source::Routes);
        let gone = Change::RouteGone;
        follow.run(open, |o| object(o, Change::Route), gone).await;
    }

    /// Secrets that carry our label; the API server sends no other.
    pub async fn secrets(self) {
        let config = watcher::Config::default().labels(&format!("{CREDENTIAL_LABEL}=true"));
        let api = Api::<Secret>::all(self.client.clone());
        let open = || watcher(api.clone(), config.clone());
        let reduce = |secret: Secret| {
            let facts = SecretFacts::from_secret(secret)?;
            Some((facts.id.clone(), Seen::change(Change::Secret(facts))))
        };
        let follow = self.follow(Source::Secrets);
        follow.run(open, reduce, Change::SecretGone).await;
    }

    /// Labels of namespaces.
    pub async fn namespaces(self) {
        let api = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
        let open = || watcher(api.clone(), watcher::Config::default());
        let reduce = |namespace: PartialObjectMeta<Namespace>| {
            let name = namespace.metadata.name?;
            let labels = namespace.metadata.labels.unwrap_or_default();
            let id = ObjectRef::new("", name.clone());
            Some((id, Seen::change(Change::Namespace(name, labels))))
        };
        let gone = |id: ObjectRef| Change::NamespaceGone(id.name);
        self.follow(Source::Namespaces)
            .run(open, reduce, gone)
            .await;
    }

    /// Pods that carry our sidecar.
    pub async fn pods(self) {
        let config = watcher::Config::default().labels(&format!("{INJECTED_LABEL}=true"));
        let api = Api::<PartialObjectMeta<Pod>>::all(self.client.clone());
        let reduce = |pod: PartialObjectMeta<Pod>| {
            let facts = PodFacts::from_metadata(&pod.metadata)?;
            Some((facts.id(), Seen::change(Change::Pod(facts))))
        };
        let open = || watcher(api.clone(), config.clone());
        let follow = self.follow(Source::Pods);
        follow.run(open, reduce, Change::PodGone).await;
    }

    fn objects(&self, crd: &CustomResourceDefinition) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &resource(crd))
    }

    fn follow(&self, source: Source) -> Follow {
        self.readiness.wait_for(&source.gate(), "the first list");
        Follow::new(source, self.clone())
    }
}

/// How the API server calls the kind that `crd` defines.
pub fn resource(crd: &CustomResourceDefinition) -> ApiResource {
    let (spec, names) = (&crd.spec, &crd.spec.names);
    let version = spec.versions.last().map_or("", |v| v.name.as_str());
    ApiResource {
        group: spec.group.clone(),
        version: version.to_owned(),
        api_version: format!("{}/{version}", spec.group),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
    }
}

fn object(object: DynamicObject, change: fn(Object) -> Change) -> Option<(ObjectRef, Seen)> {
    let version = object.metadata.resource_version.as_deref();
    let version = version.and_then(|v| v.parse().ok());
    let object = Object::from_dynamic(object)?;
    let id = object.id.clone();
    let change = change(object);
    Some((id, Seen::Change { change, version }))
}
