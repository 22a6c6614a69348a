//! Folds changes into the world and rebuilds what they concern, and no more: an
//! index says who names what. It can't fail: an object that makes no sense is a
//! status of that object.

mod changes;
mod effects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::conflicts::Conflicts;
use super::index::Index;
use super::provider::{self, ProviderState};
use super::route::{self, Pushed, RouteState};
use super::{Built, CredentialFacts, Dataplane};
use crate::world::{ObjectRef, World};

pub use effects::Effects;

/// What the shell may switch.
#[derive(Clone, Debug)]
pub struct Options {
    /// Endpoints on 127.0.0.1 and `::1` are taken: `llmroute run`, tests and benchmarks.
    pub allow_loopback: bool,
    /// Where the cluster's DNS answers, such as `cluster.local`.
    pub cluster_domain: String,
}

/// The world and what was built of it.
#[derive(Default)]
pub struct Engine {
    options: Options,
    world: World,
    providers: BTreeMap<ObjectRef, ProviderState>,
    routes: BTreeMap<ObjectRef, RouteState>,
    conflicts: Conflicts,
    /// Provider <- routes.
    by_provider: Index,
    /// Secret <- providers.
    by_secret: Index,
    /// `ConfigMap` <- providers.
    by_config_map: Index,
    malformed_providers: BTreeSet<ObjectRef>,
    malformed_routes: BTreeSet<ObjectRef>,
    built: Arc<Built>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_loopback: false,
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

// ------------------------------------------------------------- impl Engine

impl Engine {
    /// An empty world.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// What can be pushed as of the last change; later changes leave it as it is.
    pub fn built(&self) -> Arc<Built> {
        Arc::clone(&self.built)
    }

    /// What is known.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Objects whose `spec` couldn't be read: providers, routes.
    pub fn malformed(&self) -> (usize, usize) {
        (self.malformed_providers.len(), self.malformed_routes.len())
    }

    /// The member at which the `spec` of a provider couldn't be read, if so.
    pub fn provider_malformed_at(&self, id: &ObjectRef) -> Option<&str> {
        self.providers.get(id)?.malformed_at()
    }

    /// Likewise of a route.
    pub fn route_malformed_at(&self, id: &ObjectRef) -> Option<&str> {
        self.routes.get(id)?.malformed_at()
    }

    /// The `ConfigMap`s that providers name: the shell need watch no others.
    pub fn config_maps(&self) -> BTreeSet<ObjectRef> {
        self.by_config_map.all().cloned().collect()
    }

    /// The whole `.status` of a provider; `None` for one that isn't there.
    /// `previous` is what was last written, else what the watch last saw stands in.
    pub fn provider_status(
        &self,
        provider: &ObjectRef,
        previous: Option<&Value>,
        credential: &CredentialFacts,
        now: Timestamp,
    ) -> Option<Value> {
        let seen = self.world.providers.get(provider)?.status.as_ref();
        let state = self.providers.get(provider)?;
        let previous = read(previous.or(seen));
        let routes = self.by_provider.count(provider);
        let status = provider::status(state, &previous, routes, credential, now);
        Some(serde_json::to_value(status).expect("a status has only texts for keys"))
    }

    /// The whole `.status` of a route, likewise.
    pub fn route_status(
        &self,
        route: &ObjectRef,
        previous: Option<&Value>,
        dataplane: &Dataplane,
        now: Timestamp,
    ) -> Option<Value> {
        let seen = self.world.routes.get(route)?.status.as_ref();
        let state = self.routes.get(route)?;
        let previous = read(previous.or(seen));
        let pushed = Pushed {
            id: route,
            conflict: self.conflicts.of(route),
            dataplane,
        };
        let status = route::status(state, &previous, &pushed, now);
        Some(serde_json::to_value(status).expect("a status has only texts for keys"))
    }
}

/// A status that doesn't fit any more (an older version's) is as good as none.
fn read<T: DeserializeOwned + Default>(status: Option<&Value>) -> T {
    let status = status.and_then(|status| T::deserialize(status).ok());
    status.unwrap_or_default()
}

#[cfg(test)]
mod tests;
