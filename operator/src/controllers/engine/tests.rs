//! A small world, and what a change makes the engine do again.

mod references;
mod refused;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use llmroute_protocol::{Body, Global, Key, Kind, Provider, Route};
use serde_json::{Value, json};

use super::{Effects, Engine, Options};
use crate::controllers::{Built, CredentialFacts, Dataplane, PodConfig};
use crate::world::{Change, Labels, Object, ObjectRef, PodFacts, SecretFacts};

const ROUTE: &str = "shop/chat";

fn id(name: &str) -> ObjectRef {
    ObjectRef::parse(name).expect("namespace/name")
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

fn object(name: &str, generation: i64, spec: Value) -> Object {
    Object {
        id: id(name),
        uid: "1".into(),
        generation,
        created: Timestamp::UNIX_EPOCH,
        spec,
        status: None,
    }
}

fn openai(from: &str) -> Value {
    let selector = json!({"matchLabels": {"team": "shop"}});
    let mut allowed = json!({"from": from});
    if from == "Selector" {
        allowed["selector"] = selector;
    }
    json!({
        "type": "openai",
        "auth": {"secretRef": {"name": "key"}},
        "endpoint": {"caBundleRef": {"name": "ca"}},
        "allowedNamespaces": allowed,
    })
}

fn to(namespace: &str, provider: &str) -> Value {
    json!({"rules": [{"name": "any", "targets": [
        {"providerRef": {"name": provider, "namespace": namespace}},
    ]}]})
}

fn secret(value: &str) -> Change {
    let data = [("api-key".to_owned(), value.as_bytes().to_vec())];
    Change::Secret(SecretFacts::new(id("shop/key"), data))
}

fn ca() -> Change {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["ca".into()]).expect("parameters");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Change::ConfigMap(id("shop/ca"), BTreeMap::from([("ca.crt".to_owned(), pem)]))
}

fn pod(name: &str, labels: &[(&str, &str)]) -> PodFacts {
    let id = id(name);
    let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    PodFacts {
        namespace: id.namespace,
        workload: format!("Pod/{}", id.name),
        name: id.name,
        uid: "1".into(),
        labels: labels.collect(),
        service_account: None,
        terminating: false,
        injected: true,
    }
}

/// A provider with a Secret and a CA, a route to it, all there.
fn whole() -> Engine {
    let mut engine = Engine::new(Options::default());
    engine.apply(secret("sk-1"));
    engine.apply(ca());
    engine.apply(Change::Provider(object("shop/openai", 1, openai("Same"))));
    engine.apply(Change::Route(object(ROUTE, 1, to("shop", "openai"))));
    assert_eq!(unavailable(&engine, ROUTE), "");
    engine
}

fn config(built: &Built) -> PodConfig {
    built.for_pod(&pod("shop/web", &[]))
}

fn body(engine: &Engine, kind: Kind, name: &str) -> Option<Body> {
    let namespace = id(name).namespace;
    let config = engine
        .built()
        .for_pod(&pod(&format!("{namespace}/web"), &[]));
    let resource = config.resources.get(&Key::new(kind, name))?.clone();
    Some(Body::decode(&resource).expect("a body of ours"))
}

fn route(engine: &Engine, name: &str) -> Route {
    match body(engine, Kind::Route, name) {
        Some(Body::Route(route)) => route,
        other => panic!("no route: {other:?}"),
    }
}

fn provider(engine: &Engine, name: &str) -> Provider {
    match body(engine, Kind::Provider, name) {
        Some(Body::Provider(provider)) => provider,
        other => panic!("no provider: {other:?}"),
    }
}

fn unavailable(engine: &Engine, name: &str) -> String {
    route(engine, name).rules[0].targets[0].unavailable.clone()
}

fn condition(status: &Value, type_: &str) -> (String, String) {
    let conditions = status["conditions"].as_array().expect("conditions");
    let found = conditions
        .iter()
        .find(|c| c["type"] == type_)
        .expect("it is there");
    let text = |field: &str| found[field].as_str().expect("a text").to_owned();
    (
        format!("{}/{}", text("status"), text("reason")),
        text("message"),
    )
}

fn route_condition(engine: &Engine, type_: &str) -> (String, String) {
    let status = engine.route_status(&id(ROUTE), None, &Dataplane::default(), now());
    condition(&status.expect("it is there"), type_)
}

fn provider_condition(engine: &Engine, type_: &str) -> (String, String) {
    let facts = CredentialFacts::default();
    let status = engine.provider_status(&id("shop/openai"), None, &facts, now());
    condition(&status.expect("it is there"), type_)
}

fn keys(effects: &Effects) -> BTreeSet<String> {
    let keys = effects.resources.iter();
    keys.map(|key| format!("{:?} {}", key.kind, key.name))
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_change_among_many_objects_rebuilds_a_few() {
    let mut engine = whole();
    for n in 0..200 {
        let mock = json!({"type": "mock"});
        engine.apply(Change::Provider(object(&format!("ns{n}/p"), 1, mock)));
        engine.apply(Change::Route(object(
            &format!("ns{n}/r"),
            1,
            to(&format!("ns{n}"), "p"),
        )));
    }
    let effects = engine.apply(secret("sk-2"));
    assert_eq!(effects.routes, BTreeSet::from([id(ROUTE)]));
    assert_eq!(effects.providers, BTreeSet::from([id("shop/openai")]));
}

#[test]
fn what_a_session_reads_stays_as_it_was_read() {
    let mut engine = whole();
    let before = engine.built();
    let hash = config(&before).hash;
    engine.apply(secret("sk-2"));
    engine.apply(Change::RouteGone(id(ROUTE)));
    assert_eq!(config(&before).hash, hash);
    assert!(config(&engine.built()).resources.is_empty());
}

#[test]
fn equal_pods_have_equal_configs_whoever_leads() {
    let (one, other) = (whole(), whole());
    let without_ca = |mut config: PodConfig| {
        config
            .resources
            .remove(&Key::new(Kind::Provider, "shop/openai"));
        config.resources
    };
    // The CA is made anew in each; all else is equal to the byte.
    assert_eq!(
        without_ca(config(&one.built())),
        without_ca(config(&other.built()))
    );
}
