//! What was built, as a snapshot that sessions read without a lock: which
//! resources a pod needs, each encoded once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use llmroute_protocol::{Key, Kind, Resource, set_hash};

use crate::world::{ObjectRef, PodFacts, Selector};

/// Everything that can be pushed. Cloned when it changes; the parts are shared.
#[derive(Clone, Default)]
pub struct Built {
    /// By namespace, as a pod sees no route of another.
    pub(super) routes: BTreeMap<String, BTreeMap<String, Arc<BuiltRoute>>>,
    pub(super) providers: BTreeMap<ObjectRef, BuiltProvider>,
    pub(super) global: Option<Arc<Resource>>,
}

/// A route, whom it reaches and what it uses.
#[derive(Debug, PartialEq)]
pub(super) struct BuiltRoute {
    pub(super) selector: Selector,
    pub(super) resource: Arc<Resource>,
    /// Of the targets that can be called.
    pub(super) providers: BTreeSet<ObjectRef>,
    /// Sidecars are expected to take it.
    pub(super) whole: bool,
}

/// A provider and its secret.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BuiltProvider {
    pub(super) resource: Arc<Resource>,
    pub(super) credential: Option<Arc<Resource>>,
    /// Sidecars are expected to take it.
    pub(super) whole: bool,
}

/// What one pod needs, and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodConfig {
    /// Its routes, their providers, their credentials, and `global`.
    pub resources: BTreeMap<Key, Arc<Resource>>,
    /// `set_hash` of them.
    pub hash: Bytes,
    /// The routes among them.
    pub routes: Vec<ObjectRef>,
}

// -------------------------------------------------------------- impl Built

impl Built {
    /// What a pod needs. Equal for equal pods at any leader.
    pub fn for_pod(&self, pod: &PodFacts) -> PodConfig {
        let mut resources = BTreeMap::new();
        let mut routes = Vec::new();
        for (name, route) in self.routes_for(pod) {
            routes.push(ObjectRef::new(&pod.namespace, name));
            let all = self.of_route(route);
            resources.extend(all.map(|(key, _, resource)| (key, resource)));
        }
        resources.extend(self.global.iter().map(keyed));
        let hash = set_hash(resources.iter().map(|(key, r)| (key, r.version.as_str())));
        PodConfig {
            resources,
            hash,
            routes,
        }
    }

    /// What must be in force at a sidecar before a route is, with the versions:
    /// the route, its providers and their credentials. Bodies that are pushed
    /// only to be refused don't count; one that isn't pushed has no needs.
    pub fn needs(&self, route: &ObjectRef) -> Vec<(Key, String)> {
        let built = self.route(route).filter(|route| route.whole);
        let resources = built.into_iter().flat_map(|route| self.of_route(route));
        resources
            .filter(|(_, whole, _)| *whole)
            .map(|(key, _, resource)| (key, resource.version.clone()))
            .collect()
    }

    /// Whether a route selects a pod, by namespace and labels.
    pub fn selects(&self, route: &ObjectRef, pod: &PodFacts) -> bool {
        let built = self.route(route);
        route.namespace == pod.namespace
            && built.is_some_and(|built| built.selector.matches(&pod.labels))
    }

    pub(super) fn route(&self, id: &ObjectRef) -> Option<&BuiltRoute> {
        let routes = self.routes.get(&id.namespace)?;
        routes.get(&id.name).map(|route| &**route)
    }

    fn routes_for(&self, pod: &PodFacts) -> impl Iterator<Item = (&String, &BuiltRoute)> {
        let routes = self.routes.get(&pod.namespace).into_iter().flatten();
        routes
            .map(|(name, route)| (name, &**route))
            .filter(|(_, route)| route.selector.matches(&pod.labels))
    }

    /// Everything of one route; whether a sidecar is expected to take each.
    fn of_route<'a>(
        &'a self,
        route: &'a BuiltRoute,
    ) -> impl Iterator<Item = (Key, bool, Arc<Resource>)> + 'a {
        let providers = route.providers.iter();
        let providers = providers.filter_map(|id| self.providers.get(id));
        let resources = providers.flat_map(|provider| {
            let both = [Some(&provider.resource), provider.credential.as_ref()];
            both.into_iter()
                .flatten()
                .map(|resource| (provider.whole, resource))
        });
        resources
            .chain([(route.whole, &route.resource)])
            .map(|(whole, resource)| {
                let (key, resource) = keyed(resource);
                (key, whole, resource)
            })
    }
}

fn keyed(resource: &Arc<Resource>) -> (Key, Arc<Resource>) {
    let kind = Kind::try_from(resource.kind).unwrap_or_default();
    (Key::new(kind, resource.name.clone()), Arc::clone(resource))
}
