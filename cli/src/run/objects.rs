//! The objects of a folder as changes of the operator's world.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use llmroute_operator::world::{Change, Labels, Object as WorldObject, ObjectRef, SecretFacts};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::manifests::{Kind, Object, ObjectKey};

/// The label by which a cluster names each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What the operator was told so far.
#[derive(Default)]
pub(super) struct Told {
    objects: BTreeMap<ObjectKey, Object>,
    namespaces: BTreeMap<String, Labels>,
}

// ---------------------------------------------------------------- impl Told

impl Told {
    /// What has changed since the last time. `always` is a namespace that is
    /// there without an object in it.
    pub(super) fn changes(
        &mut self,
        objects: &BTreeMap<ObjectKey, Object>,
        always: &str,
    ) -> Vec<Change> {
        let mut changes = self.namespaces(objects, always);
        for (key, object) in objects {
            if self.objects.get(key) != Some(object) {
                changes.extend(change(key, object));
            }
        }
        let gone = self.objects.keys().filter(|key| !objects.contains_key(key));
        changes.extend(gone.filter_map(absence));
        self.objects.clone_from(objects);
        changes
    }

    /// Namespaces that a manifest describes, and those that are only used.
    fn namespaces(&mut self, objects: &BTreeMap<ObjectKey, Object>, always: &str) -> Vec<Change> {
        let used = objects.keys().map(|key| match key.kind {
            Kind::Namespace => key.name.as_str(),
            _ => key.namespace.as_str(),
        });
        let names: BTreeSet<&str> = used.chain([always]).collect();
        let labelled = names.into_iter().map(|name| {
            let key = ObjectKey {
                kind: Kind::Namespace,
                namespace: String::new(),
                name: name.to_owned(),
            };
            let mut labels = objects.get(&key).map(labels).unwrap_or_default();
            labels.insert(NAMESPACE_NAME.to_owned(), name.to_owned());
            (name.to_owned(), labels)
        });
        let namespaces: BTreeMap<_, _> = labelled.collect();
        let mut changes = Vec::new();
        for (name, labels) in &namespaces {
            if self.namespaces.get(name) != Some(labels) {
                changes.push(Change::Namespace(name.clone(), labels.clone()));
            }
        }
        let gone = self
            .namespaces
            .keys()
            .filter(|name| !namespaces.contains_key(*name));
        changes.extend(gone.cloned().map(Change::NamespaceGone));
        self.namespaces = namespaces;
        changes
    }
}

fn change(key: &ObjectKey, object: &Object) -> Option<Change> {
    let Object {
        document,
        generation,
        created_unix_ms,
    } = object;
    let id = || ObjectRef::new(&key.namespace, &key.name);
    let ours = || {
        let created = Timestamp::from_millisecond(*created_unix_ms).unwrap_or_default();
        WorldObject::from_manifest(document, *generation, created)
    };
    match key.kind {
        Kind::Provider => ours().map(Change::Provider),
        Kind::Route => ours().map(Change::Route),
        Kind::Secret => {
            // Without our label it doesn't exist, and may have had it before.
            let facts = read::<Secret>(document).and_then(SecretFacts::from_secret);
            Some(facts.map_or_else(|| Change::SecretGone(id()), Change::Secret))
        }
        Kind::ConfigMap => {
            let data = document.get("data").and_then(read).unwrap_or_default();
            Some(Change::ConfigMap(id(), data))
        }
        Kind::Namespace => None,
    }
}

fn absence(key: &ObjectKey) -> Option<Change> {
    let id = ObjectRef::new(&key.namespace, &key.name);
    match key.kind {
        Kind::Provider => Some(Change::ProviderGone(id)),
        Kind::Route => Some(Change::RouteGone(id)),
        Kind::Secret => Some(Change::SecretGone(id)),
        Kind::ConfigMap => Some(Change::ConfigMapGone(id)),
        Kind::Namespace => None,
    }
}

fn labels(object: &Object) -> Labels {
    object
        .document
        .pointer("/metadata/labels")
        .and_then(read)
        .unwrap_or_default()
}

/// What was admitted has the shape; if it hasn't, it is as good as absent.
fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}
