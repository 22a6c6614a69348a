//! One change at a time: what it concerns directly, and then who names that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use llmroute_protocol::{Body, Key, Kind};

use super::{Effects, Engine};
use crate::controllers::built::{BuiltProvider, BuiltRoute};
use crate::controllers::provider::{ProviderState, References};
use crate::controllers::route::{Providers, RouteState};
use crate::world::{Change, Object, ObjectRef};

// ------------------------------------------------------------- impl Engine

impl Engine {
    /// Takes a change and rebuilds what depends on it.
    pub fn apply(&mut self, change: Change) -> Effects {
        let mut effects = Effects::default();
        match change {
            Change::Provider(object) => {
                let id = object.id.clone();
                if put_object(&mut self.world.providers, object) {
                    self.rebuild_provider(&id, &mut effects);
                }
            }
            Change::ProviderGone(id) => {
                if self.world.providers.remove(&id).is_some() {
                    self.rebuild_provider(&id, &mut effects);
                }
            }
            Change::Route(object) => {
                let id = object.id.clone();
                if put_object(&mut self.world.routes, object) {
                    self.rebuild_route(&id, &mut effects);
                }
            }
            Change::RouteGone(id) => {
                if self.world.routes.remove(&id).is_some() {
                    self.rebuild_route(&id, &mut effects);
                }
            }
            Change::Secret(secret) => {
                let id = secret.id.clone();
                if put(&mut self.world.secrets, id.clone(), secret) {
                    self.rebuild_providers(self.by_secret.of(&id), &mut effects);
                }
            }
            Change::SecretGone(id) => {
                if self.world.secrets.remove(&id).is_some() {
                    self.rebuild_providers(self.by_secret.of(&id), &mut effects);
                }
            }
            Change::ConfigMap(id, data) => {
                if put(&mut self.world.config_maps, id.clone(), data) {
                    self.rebuild_providers(self.by_config_map.of(&id), &mut effects);
                }
            }
            Change::ConfigMapGone(id) => {
                if self.world.config_maps.remove(&id).is_some() {
                    self.rebuild_providers(self.by_config_map.of(&id), &mut effects);
                }
            }
            Change::Namespace(name, labels) => {
                if put(&mut self.world.namespaces, name.clone(), labels) {
                    self.namespace_changed(&name, &mut effects);
                }
            }
            Change::NamespaceGone(name) => {
                if self.world.namespaces.remove(&name).is_some() {
                    self.namespace_changed(&name, &mut effects);
                }
            }
            Change::Pod(pod) => {
                let id = pod.id();
                if put(&mut self.world.pods, id.clone(), pod) {
                    self.pods_changed(&id.namespace, &mut effects);
                }
            }
            Change::PodGone(id) => {
                if self.world.pods.remove(&id).is_some() {
                    self.pods_changed(&id.namespace, &mut effects);
                }
            }
            Change::Global(global) => self.set_global(global, &mut effects),
        }
        effects
    }

    fn rebuild_providers(&mut self, ids: BTreeSet<ObjectRef>, effects: &mut Effects) {
        for id in ids {
            self.rebuild_provider(&id, effects);
        }
    }

    fn rebuild_provider(&mut self, id: &ObjectRef, effects: &mut Effects) {
        effects.providers.insert(id.clone());
        let before = self.providers.remove(id);
        let object = self.world.providers.get(id);
        let after = object.map(|object| {
            ProviderState::reconcile(&self.world, object, before.as_ref(), &self.options)
        });
        let references = after.as_ref().map(|state| state.references.clone());
        let References { secret, config_map } = references.unwrap_or_default();
        self.by_secret.set(id, secret.into_iter().collect());
        self.by_config_map.set(id, config_map.into_iter().collect());
        let malformed = after
            .as_ref()
            .and_then(ProviderState::malformed_at)
            .is_some();
        mark(&mut self.malformed_providers, id, malformed);
        let same = before == after;
        self.publish_provider(id, after.as_ref(), effects);
        if let Some(after) = after {
            self.providers.insert(id.clone(), after);
        }
        if !same {
            for route in self.by_provider.of(id) {
                self.rebuild_route(&route, effects);
            }
        }
    }

    /// Puts what was built of a provider where sessions find it.
    fn publish_provider(
        &mut self,
        id: &ObjectRef,
        state: Option<&ProviderState>,
        effects: &mut Effects,
    ) {
        let after = state.map(|state| BuiltProvider {
            resource: Arc::clone(&state.resource),
            credential: state.credential.clone(),
            whole: state.is_whole(),
        });
        let before = self.built.providers.get(id);
        if before == after.as_ref() {
            return;
        }
        let version = |built: Option<&BuiltProvider>, kind: Kind| {
            let built = built?;
            let resource = match kind {
                Kind::Credential => built.credential.as_ref()?,
                _ => &built.resource,
            };
            Some(resource.version.clone())
        };
        for kind in [Kind::Provider, Kind::Credential] {
            if version(before, kind) != version(after.as_ref(), kind) {
                effects.resources.insert(Key::new(kind, id.to_string()));
            }
        }
        let providers = &mut Arc::make_mut(&mut self.built).providers;
        match after {
            Some(after) => providers.insert(id.clone(), after),
            None => providers.remove(id),
        };
    }

    fn rebuild_route(&mut self, id: &ObjectRef, effects: &mut Effects) {
        effects.routes.insert(id.clone());
        let before = self.routes.remove(id);
        let after = self.world.routes.get(id).map(|object| {
            let providers = Providers::fetch(&self.world, &self.providers, &id.namespace);
            RouteState::reconcile(object, &providers, before.as_ref())
        });
        let malformed = after.as_ref().and_then(RouteState::malformed_at).is_some();
        mark(&mut self.malformed_routes, id, malformed);
        let names = after.as_ref().map(|state| state.names.clone());
        let renamed = self.by_provider.set(id, names.unwrap_or_default());
        // Their status says how many routes name them.
        let renamed = renamed
            .into_iter()
            .filter(|id| self.world.providers.contains_key(id));
        effects.providers.extend(renamed);
        self.settle_conflicts(id, after.as_ref(), effects);
        self.publish_route(id, after.as_ref(), effects);
        if let Some(after) = after {
            self.routes.insert(id.clone(), after);
        }
    }

    fn settle_conflicts(
        &mut self,
        id: &ObjectRef,
        state: Option<&RouteState>,
        effects: &mut Effects,
    ) {
        let pods = &self.world.pods;
        let changed = match state {
            Some(state) => self.conflicts.set(
                id,
                state.created(),
                state.push.selector.clone(),
                state.claims(),
                pods,
            ),
            None => self.conflicts.remove(id, pods),
        };
        effects.routes.extend(changed);
    }

    /// Puts what was built of a route where sessions find it.
    fn publish_route(&mut self, id: &ObjectRef, state: Option<&RouteState>, effects: &mut Effects) {
        let after = state.map(|state| {
            Arc::new(BuiltRoute {
                selector: state.push.selector.clone(),
                resource: Arc::clone(&state.push.resource),
                providers: state.push.providers.clone(),
                whole: state.is_whole(),
            })
        });
        let before = self.built.route(id);
        if before == after.as_deref() {
            return;
        }
        effects
            .resources
            .insert(Key::new(Kind::Route, id.to_string()));
        let routes = &mut Arc::make_mut(&mut self.built).routes;
        let of_namespace = routes.entry(id.namespace.clone()).or_default();
        match after {
            Some(after) => of_namespace.insert(id.name.clone(), after),
            None => of_namespace.remove(&id.name),
        };
        if of_namespace.is_empty() {
            routes.remove(&id.namespace);
        }
    }

    /// Its routes may now be let in by a provider's selector, or no more.
    fn namespace_changed(&mut self, name: &str, effects: &mut Effects) {
        let selecting = |provider: &ObjectRef| {
            let state = self.providers.get(provider);
            provider.namespace != name && state.is_some_and(ProviderState::selects_namespaces)
        };
        let first = ObjectRef::new(name, "");
        let routes = self.routes.range(first..);
        let routes = routes.take_while(|(id, _)| id.namespace == name);
        let concerned = routes.filter(|(_, state)| state.names.iter().any(selecting));
        let concerned: Vec<_> = concerned.map(|(id, _)| id.clone()).collect();
        for id in concerned {
            self.rebuild_route(&id, effects);
        }
    }

    fn pods_changed(&mut self, namespace: &str, effects: &mut Effects) {
        let pods = &self.world.pods;
        effects
            .routes
            .extend(self.conflicts.pods_changed(namespace, pods));
    }

    fn set_global(&mut self, global: llmroute_protocol::Global, effects: &mut Effects) {
        let resource = Body::Global(global).into_resource();
        if self.built.global.as_deref() != Some(&resource) {
            effects.resources.insert(Key::new(Kind::Global, "global"));
            Arc::make_mut(&mut self.built).global = Some(Arc::new(resource));
        }
    }
}

fn mark(set: &mut BTreeSet<ObjectRef>, id: &ObjectRef, member: bool) {
    if member {
        set.insert(id.clone());
    } else {
        set.remove(id);
    }
}

/// Whether anything is other than before, the status of the object aside: a
/// status that we wrote ourselves concerns nothing.
fn put_object(objects: &mut BTreeMap<ObjectRef, Object>, object: Object) -> bool {
    let known = objects.get_mut(&object.id).filter(|known| {
        (&known.uid, known.generation, known.created, &known.spec)
            == (&object.uid, object.generation, object.created, &object.spec)
    });
    if let Some(known) = known {
        known.status = object.status;
        return false;
    }
    objects.insert(object.id.clone(), object);
    true
}

/// Whether the value is other than before.
fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}
