//! From a file of manifests to changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use llmroute_operator::controllers::{
    Built, CredentialFacts, Dataplane, Engine, Options, Rejection,
};
use llmroute_operator::world::{Change, Object, ObjectRef, PodFacts, SecretFacts};
use llmroute_protocol::{Key, Kind, Resource};
use serde::Deserialize;
use serde_json::Value;

/// One case.
pub(crate) struct Input {
    pub(crate) changes: Vec<Change>,
    pub(crate) options: Options,
    /// Values that must not be seen in what comes out.
    pub(crate) secrets: Vec<String>,
    facts: Facts,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Facts {
    #[serde(rename = "kind")]
    _kind: String,
    allow_loopback: bool,
    /// By route.
    sidecars: BTreeMap<String, Sidecars>,
    /// By provider.
    credentials: BTreeMap<String, Credential>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sidecars {
    connected: u32,
    acked: u32,
    rejected: u32,
    stale: u32,
    rejections: Vec<Refusal>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    pod: String,
    route: Option<String>,
    provider: Option<String>,
    path: String,
    message: String,
    time: Timestamp,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Credential {
    rejecting: u32,
    accepting: u32,
}

// --------------------------------------------------------------- impl Input

impl Input {
    pub(crate) fn parse(text: &str) -> Self {
        let mut input = Self {
            changes: Vec::new(),
            options: Options::default(),
            secrets: Vec::new(),
            facts: Facts::default(),
        };
        for document in serde_yaml::Deserializer::from_str(text) {
            let document = Value::deserialize(document).expect("a YAML document");
            if !document.is_null() {
                input.take(document);
            }
        }
        input.options.allow_loopback = input.facts.allow_loopback;
        input
    }

    fn take(&mut self, document: Value) {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        let change = match kind.as_str() {
            "LLMProvider" => Change::Provider(object(&document)),
            "LLMRoute" => Change::Route(object(&document)),
            "Secret" => match self.secret(document) {
                Some(secret) => Change::Secret(secret),
                None => return,
            },
            "ConfigMap" => {
                let map: ConfigMap = typed(document);
                Change::ConfigMap(id(&map.metadata), map.data.unwrap_or_default())
            }
            "Namespace" => {
                let metadata = typed::<Namespace>(document).metadata;
                let name = metadata.name.expect("a name");
                Change::Namespace(name, metadata.labels.unwrap_or_default())
            }
            "Pod" => {
                let pod: Pod = typed(document);
                Change::Pod(PodFacts::from_metadata(&pod.metadata).expect("a pod"))
            }
            "Facts" => {
                self.facts = typed(document);
                return;
            }
            other => panic!("no case has a {other}"),
        };
        self.changes.push(change);
    }

    fn secret(&mut self, document: Value) -> Option<SecretFacts> {
        let values = document["stringData"].as_object().into_iter().flatten();
        let values = values.filter_map(|(_, value)| value.as_str());
        self.secrets
            .extend(values.filter(|v| v.len() > 3).map(str::to_owned));
        SecretFacts::from_secret(typed::<Secret>(document))
    }

    pub(crate) fn dataplane(&self, route: &ObjectRef) -> Dataplane {
        let sidecars = self.facts.sidecars.get(&route.to_string());
        let Sidecars {
            connected,
            acked,
            rejected,
            stale,
            rejections,
        } = sidecars.cloned().unwrap_or_default();
        Dataplane {
            connected,
            acked,
            rejected,
            stale,
            rejections: rejections
                .into_iter()
                .map(Refusal::into_rejection)
                .collect(),
        }
    }

    pub(crate) fn credential(&self, provider: &ObjectRef) -> CredentialFacts {
        let facts = self.facts.credentials.get(&provider.to_string());
        let Credential {
            rejecting,
            accepting,
        } = facts.cloned().unwrap_or_default();
        CredentialFacts {
            rejecting,
            accepting,
            rejected401: rejecting.into(),
        }
    }
}

impl Refusal {
    fn into_rejection(self) -> Rejection {
        let resource = match (self.route, self.provider) {
            (Some(route), None) => Key::new(Kind::Route, route),
            (None, Some(provider)) => Key::new(Kind::Provider, provider),
            _ => panic!("a refusal is of a route or of a provider"),
        };
        Rejection {
            pod: self.pod,
            resource,
            path: self.path,
            message: self.message,
            at: self.time,
        }
    }
}

/// What undoes a change, where something does.
pub(crate) fn gone(change: &Change) -> Option<Change> {
    Some(match change {
        Change::Provider(object) => Change::ProviderGone(object.id.clone()),
        Change::Route(object) => Change::RouteGone(object.id.clone()),
        Change::Secret(secret) => Change::SecretGone(secret.id.clone()),
        Change::ConfigMap(id, _) => Change::ConfigMapGone(id.clone()),
        Change::Namespace(name, _) => Change::NamespaceGone(name.clone()),
        Change::Pod(pod) => Change::PodGone(pod.id()),
        _ => return None,
    })
}

/// Everything that pods of the case get of a route.
pub(crate) fn everything(built: &Built, engine: &Engine, route: &ObjectRef) -> Vec<Arc<Resource>> {
    let pods = engine.world().pods.values();
    let pods = pods.filter(|pod| built.selects(route, pod));
    pods.flat_map(|pod| built.for_pod(pod).resources.into_values())
        .collect()
}

fn object(document: &Value) -> Object {
    let metadata = &document["metadata"];
    let created = metadata["creationTimestamp"].as_str();
    let created = created
        .unwrap_or("2026-01-01T00:00:00Z")
        .parse()
        .expect("a time");
    let generation = metadata["generation"].as_i64().unwrap_or(1);
    Object::from_manifest(document, generation, created).expect("namespace and name")
}

fn id(metadata: &ObjectMeta) -> ObjectRef {
    let part = |part: &Option<String>| part.clone().expect("namespace and name");
    ObjectRef::new(part(&metadata.namespace), part(&metadata.name))
}

fn typed<T: for<'de> Deserialize<'de>>(document: Value) -> T {
    serde_json::from_value(document).expect("of its kind")
}
