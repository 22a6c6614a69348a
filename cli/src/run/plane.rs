//! The operator's part of `llmroute run`: manifests in place of watches, the
//! operator's own engine, its statuses printed in place of written.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use llmroute_operator::{
    controllers::{Engine, Options, PodConfig},
    world::{Change, ObjectRef, PodFacts},
};
use serde_json::Value;

use super::{
    facts::Facts,
    link::{Answer, CredentialNews},
    objects::Told,
};
use crate::manifests::{Folder, Kind, ObjectKey, Problem};

/// Folder, engine and what the one sidecar said.
pub(super) struct Plane {
    folder: Folder,
    told: Told,
    engine: Engine,
    pod: PodFacts,
    facts: Facts,
    pushed: Option<Arc<PodConfig>>,
    statuses: BTreeMap<ObjectKey, Value>,
}

/// A status that reads differently from before; `None`: the object is gone.
pub(super) struct StatusChange {
    pub(super) object: ObjectKey,
    pub(super) status: Option<Value>,
}

// --------------------------------------------------------------- impl Plane

impl Plane {
    pub(super) fn new(folder: Folder, pod: PodFacts) -> Self {
        let mut engine = Engine::new(Options {
            allow_loopback: true,
            ..Options::default()
        });
        engine.apply(Change::Pod(pod.clone()));
        Self {
            folder,
            told: Told::default(),
            engine,
            pod,
            facts: Facts::default(),
            pushed: None,
            statuses: BTreeMap::new(),
        }
    }

    /// Reads the folder anew. What can't be taken is told and leaves what was there.
    pub(super) fn reload(&mut self, now: Timestamp) -> Vec<Problem> {
        let problems = self.folder.reload(now.as_millisecond());
        for change in self
            .told
            .changes(self.folder.objects(), &self.pod.namespace)
        {
            // All statuses are asked for anyway: a folder is small.
            let _ = self.engine.apply(change);
        }
        problems
    }

    /// What the sidecar needs, if that isn't what it has.
    pub(super) fn next_push(&mut self) -> Option<Arc<PodConfig>> {
        let config = Arc::new(self.engine.built().for_pod(&self.pod));
        let same = self
            .pushed
            .as_ref()
            .is_some_and(|pushed| pushed.hash == config.hash);
        (!same).then(|| {
            self.pushed = Some(Arc::clone(&config));
            config
        })
    }

    pub(super) fn answered(&mut self, answers: Vec<Answer>, now: Timestamp) {
        self.facts.answered(answers, now);
    }

    pub(super) fn learned(&mut self, news: Vec<CredentialNews>) {
        self.facts.learned(news);
    }

    /// The statuses that read differently since this was last asked.
    pub(super) fn statuses(&mut self, now: Timestamp) -> Vec<StatusChange> {
        let mut statuses = BTreeMap::new();
        let world = self.engine.world();
        for (kind, id) in (world.providers.keys().map(|id| (Kind::Provider, id)))
            .chain(world.routes.keys().map(|id| (Kind::Route, id)))
        {
            let object = key(kind, id);
            if let Some(status) = self.status(&object, id, now) {
                statuses.insert(object, status);
            }
        }
        let before = std::mem::replace(&mut self.statuses, statuses);
        let changed = self
            .statuses
            .iter()
            .filter(|(object, status)| before.get(*object).map(shown) != Some(shown(status)));
        let changed = changed.map(|(object, status)| (object.clone(), Some(status.clone())));
        let gone = before
            .keys()
            .filter(|object| !self.statuses.contains_key(*object));
        let gone = gone.map(|object| (object.clone(), None));
        changed
            .chain(gone)
            .map(|(object, status)| StatusChange { object, status })
            .collect()
    }

    fn status(&self, object: &ObjectKey, id: &ObjectRef, now: Timestamp) -> Option<Value> {
        let previous = self.statuses.get(object);
        if object.kind == Kind::Route {
            let dataplane = self.facts.route(&self.engine.built(), &self.pod, id);
            return self.engine.route_status(id, previous, &dataplane, now);
        }
        // The hash of the credential that is in use stands in the status itself.
        let bare =
            self.engine
                .provider_status(id, previous, &self.facts.credential(id, None), now)?;
        let hash8 = bare.pointer("/credential/hash8").and_then(Value::as_str);
        let facts = self.facts.credential(id, hash8);
        self.engine.provider_status(id, previous, &facts, now)
    }
}

/// All of a status but the texts of its summary: that another route names a
/// provider is no news of the provider.
fn shown(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(members) = status.as_object_mut() {
        members.remove("summary");
    }
    status
}

fn key(kind: Kind, id: &ObjectRef) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}
