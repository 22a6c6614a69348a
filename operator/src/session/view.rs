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
pub struct PodStore(Arc<Pods>);

#[derive(Default)]
struct Pods {
    pods: RwLock<HashMap<ObjectRef, Arc<PodFacts>>>,
    /// Outlives a publication: a pod that comes or goes builds nothing anew.
    configs: Mutex<Option<Arc<Configs>>>,
}

/// What was built, and the configs that were asked of it. Pods of one
/// Deployment have equal labels and so one config.
struct Configs {
    built: Arc<Built>,
    known: Mutex<HashMap<String, HashMap<Labels, Arc<PodConfig>>>>,
}

/// The view that the operator publishes.
pub struct Cluster {
    pods: PodStore,
    configs: Arc<Configs>,
}

// ---------------------------------------------------------------- impl PodStore

impl PodStore {
    /// The pod as it is now. Equal facts keep their identity, so that sessions see no change.
    pub fn put(&self, pod: PodFacts) {
        let mut pods = self.0.pods.write().unwrap_or_else(PoisonError::into_inner);
        let id = pod.id();
        if pods.get(&id).is_none_or(|known| **known != pod) {
            pods.insert(id, Arc::new(pod));
        }
    }

    /// The pod is gone.
    pub fn remove(&self, id: &ObjectRef) {
        let mut pods = self.0.pods.write().unwrap_or_else(PoisonError::into_inner);
        pods.remove(id);
    }

    /// The pod, if it is known.
    pub fn get(&self, id: &ObjectRef) -> Option<Arc<PodFacts>> {
        let pods = self.0.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(id).cloned()
    }

    fn configs_of(&self, built: Arc<Built>) -> Arc<Configs> {
        let configs = &self.0.configs;
        let mut newest = configs.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(configs) if Arc::ptr_eq(&configs.built, &built) => configs.clone(),
            _ => {
                let configs = Arc::new(Configs {
                    built,
                    known: Mutex::default(),
                });
                *newest = Some(configs.clone());
                configs
            }
        }
    }
}

// ---------------------------------------------------------------- impl Cluster

impl Cluster {
    /// What was built, for the pods of `pods`.
    pub fn new(built: Arc<Built>, pods: PodStore) -> Self {
        let configs = pods.configs_of(built);
        Self { pods, configs }
    }
}

impl View for Cluster {
    fn pod(&self, id: &ObjectRef) -> Option<Arc<PodFacts>> {
        self.pods.get(id)
    }

    fn config(&self, pod: &PodFacts) -> Arc<PodConfig> {
        self.configs.of(pod)
    }
}

// ---------------------------------------------------------------- impl Configs

impl Configs {
    fn of(&self, pod: &PodFacts) -> Arc<PodConfig> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(&pod.namespace).and_then(|c| c.get(&pod.labels)) {
            return config.clone();
        }
        let config = Arc::new(self.built.for_pod(pod));
        let of_namespace = known.entry(pod.namespace.clone()).or_default();
        of_namespace.insert(pod.labels.clone(), config.clone());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, app: &str) -> PodFacts {
        PodFacts {
            namespace: "shop".into(),
            name: name.into(),
            uid: name.into(),
            labels: Labels::from([("app".into(), app.into())]),
            service_account: None,
            workload: "Deployment/web".into(),
            terminating: false,
            injected: true,
        }
    }

    #[test]
    fn equal_facts_keep_their_identity_and_others_do_not() {
        let pods = PodStore::default();
        pods.put(pod("a", "web"));
        let first = pods.get(&pod("a", "web").id()).expect("known");
        pods.put(pod("a", "web"));
        let same = pods.get(&first.id()).expect("known");
        assert!(Arc::ptr_eq(&first, &same));
        pods.put(pod("a", "admin"));
        let other = pods.get(&first.id()).expect("known");
        assert_eq!(other.labels["app"], "admin");
        pods.remove(&first.id());
        assert_eq!(pods.get(&first.id()), None);
    }

    #[test]
    fn pods_with_equal_labels_share_a_config_until_something_else_is_built() {
        let (built, pods) = (Arc::new(Built::default()), PodStore::default());
        let before = Cluster::new(built.clone(), pods.clone()).config(&pod("a", "web"));
        // Another publication, because a pod came.
        pods.put(pod("b", "web"));
        let after = Cluster::new(built, pods.clone()).config(&pod("b", "web"));
        assert!(Arc::ptr_eq(&before, &after));
        let rebuilt = Cluster::new(Arc::new(Built::default()), pods).config(&pod("a", "web"));
        assert!(!Arc::ptr_eq(&before, &rebuilt));
    }
}
