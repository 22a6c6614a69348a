//! What the sessions need to know of the cluster, and who tells them.
//!
//! The World's task publishes an immutable view after each batch of changes;
//! sessions read the newest one and never wait for it. They don't know how it
//! is made: the operator builds it from watches, tests and benchmarks by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use crate::controllers::{Built, PodConfig};
use crate::world::{Labels, ObjectRef, PodFacts};

/// The cluster at one moment.
pub trait View: Send + Sync + 'static {
    /// The pod, if it is watched and known.
    fn pod(&self, id: &ObjectRef) -> Option<Arc<PodFacts>>;

    /// Everything that a pod with these facts needs, and no more.
    fn config(&self, pod: &PodFacts) -> Arc<PodConfig>;
}

/// The newest view. `None` until the caches are synced: an empty config must
/// never be pushed only because nothing has been read yet.
pub type Published = watch::Receiver<Option<Arc<dyn View>>>;

/// The watched pods, each shared with the sessions that ask for it. Written by
/// the task that owns the World, before it publishes.
#[derive(Clone, Default)]
pub struct PodStore(Arc<RwLock<HashMap<ObjectRef, Arc<PodFacts>>>>);

/// The view that the operator publishes.
pub struct Cluster {
    built: Arc<Built>,
    pods: PodStore,
    /// Pods of one Deployment have equal labels and so one config.
    configs: Mutex<HashMap<String, HashMap<Labels, Arc<PodConfig>>>>,
}

// ---------------------------------------------------------------- impl PodStore

impl PodStore {
    /// The pod as it is now. Equal facts keep their identity, so that sessions see no change.
    pub fn put(&self, pod: PodFacts) {
        let mut pods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let id = pod.id();
        if pods.get(&id).is_none_or(|known| **known != pod) {
            pods.insert(id, Arc::new(pod));
        }
    }

    /// The pod is gone.
    pub fn remove(&self, id: &ObjectRef) {
        let mut pods = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pods.remove(id);
    }

    /// The pod, if it is known.
    pub fn get(&self, id: &ObjectRef) -> Option<Arc<PodFacts>> {
        let pods = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(id).cloned()
    }
}

// ---------------------------------------------------------------- impl Cluster

impl Cluster {
    /// What was built, for the pods of `pods`.
    pub fn new(built: Arc<Built>, pods: PodStore) -> Self {
        Self {
            built,
            pods,
            configs: Mutex::default(),
        }
    }
}

impl View for Cluster {
    fn pod(&self, id: &ObjectRef) -> Option<Arc<PodFacts>> {
        self.pods.get(id)
    }

    fn config(&self, pod: &PodFacts) -> Arc<PodConfig> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = configs.get(&pod.namespace).and_then(|c| c.get(&pod.labels)) {
            return known.clone();
        }
        let config = Arc::new(self.built.for_pod(pod));
        let of_namespace = configs.entry(pod.namespace.clone()).or_default();
        of_namespace.insert(pod.labels.clone(), config.clone());
        config
    }
}
