//! The config as JSON for whoever looks into a pod: what was sent, what serves,
//! what became of each part. It is written field by field from what may be
//! shown, so that no secret can get in by being added elsewhere.

use llmroute_protocol as proto;
use llmroute_protocol::{Body, Key, Kind};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::entries::{Content, Entries, Entry};
use super::provider::{Auth, Model, Provider};
use super::{Applied, Table};

pub(super) fn dump(
    entries: &Entries,
    table: &Table,
    applied: Option<&Applied>,
    now: Instant,
) -> Value {
    let resources: Vec<_> = entries.iter().map(|(key, e)| resource(key, e)).collect();
    let contents = || entries.good().map(|(_, good)| good);
    let routes: Vec<_> = contents()
        .filter_map(|good| match Body::decode(&good.resource) {
            Ok(Body::Route(message)) => Some(route(&message)),
            _ => None,
        })
        .collect();
    let providers: Vec<_> = contents()
        .filter_map(|good| match (&good.content, Body::decode(&good.resource)) {
            (Content::Provider(compiled), Ok(Body::Provider(message))) => {
                Some(provider(compiled, &message, now))
            }
            _ => None,
        })
        .collect();
    json!({
        "applied": applied.map(|applied| json!({
            "changes": applied.count,
            "secondsAgo": now.saturating_duration_since(applied.at).as_secs(),
            "hash": hex(&applied.hash),
        })),
        "models": table.models(),
        "resources": resources,
        "routes": routes,
        "providers": providers,
    })
}

fn resource(key: &Key, entry: &Entry) -> Value {
    let (outcome, path, message) = entry.verdict.clone().said();
    let mut shown = Map::new();
    shown.insert("kind".into(), kind(key.kind).into());
    shown.insert("name".into(), key.name.clone().into());
    shown.insert("sent".into(), entry.sent.clone().into());
    let serving = entry.good.as_ref().map(|g| g.resource.version.clone());
    shown.insert("serving".into(), serving.into());
    shown.insert("outcome".into(), word(outcome).into());
    if !message.is_empty() {
        shown.insert("path".into(), path.into());
        shown.insert("message".into(), message.into());
    }
    Value::Object(shown)
}

fn route(message: &proto::Route) -> Value {
    let rules: Vec<_> = message.rules.iter().map(rule).collect();
    json!({
        "name": format!("{}/{}", message.namespace, message.name),
        "generation": message.generation,
        "rules": rules,
    })
}

fn rule(message: &proto::Rule) -> Value {
    let header = |h: &proto::HeaderMatch| json!({ "name": h.name, "value": h.value });
    let matches = message.matches.iter().map(|m| {
        let headers: Vec<_> = m.headers.iter().map(header).collect();
        json!({ "models": m.models, "headers": headers })
    });
    let targets = message.targets.iter().map(|t| {
        json!({
            "name": t.name,
            "provider": t.provider,
            "model": t.model,
            "weight": t.weight,
            "priority": t.priority,
            "unavailable": t.unavailable,
        })
    });
    json!({
        "name": message.name,
        "matches": matches.collect::<Vec<_>>(),
        "targets": targets.collect::<Vec<_>>(),
    })
}

fn provider(compiled: &Provider, message: &proto::Provider, now: Instant) -> Value {
    let (auth, header) = match &compiled.auth {
        Auth::None => ("None", None),
        Auth::Passthrough => ("Passthrough", None),
        Auth::Credential { header, prefix: _ } => ("Credential", Some(header.as_str())),
    };
    let credential = compiled.credential();
    let serial = credential.as_ref().map_or(0, |c| c.serial());
    let model = |model: &Model| {
        let ejected = model.health().ejected_until(serial, now);
        json!({
            "name": model.name.as_str(),
            "upstreamName": model.upstream_name,
            "listed": model.listed,
            "priced": model.price.is_some(),
            "ejectedForSeconds": ejected.map(|until| (until - now).as_secs_f32()),
        })
    };
    let mut models: Vec<_> = compiled.known().iter().map(|m| model(m)).collect();
    models.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    json!({
        "name": compiled.key.as_str(),
        "generation": compiled.generation,
        "type": &*compiled.kind,
        "baseURL": message.base_url,
        "privateCA": !message.ca_pem.is_empty(),
        "auth": { "type": auth, "header": header },
        "credential": credential.map(|credential| json!({
            "hash8": credential.hash8(),
            "rejected": credential.is_rejected(),
        })),
        "openModels": compiled.open_models,
        "models": models,
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "Unspecified",
        Kind::Route => "Route",
        Kind::Provider => "Provider",
        Kind::Credential => "Credential",
        Kind::Global => "Global",
    }
}

fn word(outcome: proto::Outcome) -> &'static str {
    match outcome {
        proto::Outcome::Unspecified => "unspecified",
        proto::Outcome::Ok => "ok",
        proto::Outcome::Warn => "warn",
        proto::Outcome::Error => "error",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use crate::table::fixture::{
        config, credential, of_provider, of_route, provider, route, rule, snapshot, target,
    };

    #[test]
    fn it_shows_what_serves_and_what_was_refused_and_no_secret() {
        let config = config();
        config.apply(snapshot([
            of_route(route("chat", [rule("any", ["gpt-*"], [target("openai")])])),
            of_route(route("bad", [])),
            of_provider(provider("openai")),
            credential("openai", "sk-planted"),
        ]));
        let shown = config.dump();
        let text = shown.to_string();
        assert!(!text.contains("planted"), "{text}");
        assert!(
            !text.contains(&format!("{:?}", b"sk-planted")[1..20]),
            "{text}"
        );
        assert_eq!(shown["providers"][0]["credential"]["hash8"], "00000000");
        assert_eq!(
            shown["routes"][0]["rules"][0]["matches"][0]["models"][0],
            "gpt-*"
        );
        let bad = &shown["resources"][0];
        assert_eq!(
            (&bad["name"], &bad["outcome"]),
            (&"shop/bad".into(), &"error".into())
        );
        assert_eq!(bad["path"], "spec.rules");
        assert!(bad["serving"].is_null(), "{bad}");
        assert_eq!(shown["models"], serde_json::json!([]));
    }
}
