//! What the operator knows of the cluster, as plain data: no client, no clock,
//! no watch. The shell (or `llmroute run`, from files) turns what it sees into
//! [`Change`]s; the engine of `controllers` folds them in.
//!
//! Objects of our kinds are kept as they came. That a `spec` can't be read is a
//! finding of `validate` on that one object, never an end of a watch.

mod object;
mod pod;
mod secret;
mod selector;

use std::collections::BTreeMap;

pub use object::{Object, ObjectRef};
pub use pod::{INJECTED_LABEL, PodFacts, workload_of};
pub use secret::{CREDENTIAL_LABEL, SecretFacts};
pub use selector::{Selector, SelectorError};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// One thing that happened. Idempotent: applying it twice changes nothing more.
#[derive(Clone, Debug)]
pub enum Change {
    /// An `LLMProvider` as it is now.
    Provider(Object),
    /// An `LLMProvider` is gone.
    ProviderGone(ObjectRef),
    /// An `LLMRoute` as it is now.
    Route(Object),
    /// An `LLMRoute` is gone.
    RouteGone(ObjectRef),
    /// A Secret with our label.
    Secret(SecretFacts),
    /// A Secret is gone, or lost our label.
    SecretGone(ObjectRef),
    /// The text entries of a `ConfigMap`.
    ConfigMap(ObjectRef, BTreeMap<String, String>),
    /// A `ConfigMap` is gone.
    ConfigMapGone(ObjectRef),
    /// A namespace and its labels.
    Namespace(String, Labels),
    /// A namespace is gone.
    NamespaceGone(String),
    /// A pod as it is now.
    Pod(PodFacts),
    /// A pod is gone.
    PodGone(ObjectRef),
    /// What concerns every sidecar.
    Global(llmroute_protocol::Global),
}

/// All of it. Read by `fetch`, changed by the engine only.
#[derive(Default)]
pub struct World {
    /// `LLMProvider`s.
    pub providers: BTreeMap<ObjectRef, Object>,
    /// `LLMRoute`s.
    pub routes: BTreeMap<ObjectRef, Object>,
    /// Secrets with our label.
    pub secrets: BTreeMap<ObjectRef, SecretFacts>,
    /// `ConfigMap`s that something names.
    pub config_maps: BTreeMap<ObjectRef, BTreeMap<String, String>>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Pods that carry a sidecar, by name.
    pub pods: BTreeMap<ObjectRef, PodFacts>,
}
