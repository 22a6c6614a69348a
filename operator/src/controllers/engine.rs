//! Folds changes into the world and rebuilds what they concern.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use llmroute_protocol::{Body, Key};
use serde_json::Value;

use super::{Built, CredentialFacts, Dataplane};
use crate::world::{Change, ObjectRef, World};

/// What the shell may switch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Endpoints on 127.0.0.1 and ::1 are taken: `llmroute run`, tests and benchmarks.
    pub allow_loopback: bool,
}

/// What a change led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Resources that are new, other or gone. Where a selector changed, the
    /// route's: which pods need it may differ although its bytes don't.
    pub resources: BTreeSet<Key>,
    /// Routes whose status may read differently.
    pub routes: BTreeSet<ObjectRef>,
    /// Providers whose status may read differently.
    pub providers: BTreeSet<ObjectRef>,
}

/// The world and what was built of it.
pub struct Engine {
    options: Options,
    world: World,
    built: Arc<Built>,
}

// ------------------------------------------------------------- impl Engine

impl Engine {
    /// An empty world.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            world: World::default(),
            built: Arc::default(),
        }
    }

    /// Takes a change and rebuilds what depends on it.
    pub fn apply(&mut self, change: Change) -> Effects {
        let mut effects = Effects::default();
        if let Change::Global(global) = change {
            let resource = Arc::new(Body::Global(global).into_resource());
            let built = Arc::make_mut(&mut self.built);
            if built.global.as_ref() != Some(&resource) {
                built.global = Some(resource);
                effects
                    .resources
                    .insert(Key::new(llmroute_protocol::Kind::Global, "global"));
            }
        }
        effects
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
        let _ = self.options;
        (0, 0)
    }

    /// The `ConfigMap`s that providers name: the shell need watch no others.
    pub fn config_maps(&self) -> BTreeSet<ObjectRef> {
        BTreeSet::new()
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
        let _ = (credential, now, previous);
        self.world.providers.get(provider)?.status.clone()
    }

    /// The whole `.status` of a route, likewise.
    pub fn route_status(
        &self,
        route: &ObjectRef,
        previous: Option<&Value>,
        dataplane: &Dataplane,
        now: Timestamp,
    ) -> Option<Value> {
        let _ = (dataplane, now, previous);
        self.world.routes.get(route)?.status.clone()
    }
}

// ------------------------------------------------------------ impl Effects

impl Effects {
    /// Nothing to push, nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self {
            resources,
            routes,
            providers,
        } = self;
        resources.is_empty() && routes.is_empty() && providers.is_empty()
    }

    /// Joins what several changes led to.
    pub fn merge(&mut self, other: Self) {
        self.resources.extend(other.resources);
        self.routes.extend(other.routes);
        self.providers.extend(other.providers);
    }
}
