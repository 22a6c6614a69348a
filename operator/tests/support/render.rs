//! Resources in a form that reads well. A secret is shown by its hash.

use llmroute_protocol::{
    Body, Credential, Key, Match, Model, Price, PriceTier, Provider, Rates, Resource, Route, Rule,
    auth, header_match,
};
use serde_json::{Map, Value, json};

/// A catalog's list is too long to read, and grows: beyond this many it is only named.
const SHOWN_MODELS: usize = 8;

pub(crate) fn key(key: &Key) -> String {
    format!("{:?} {}", key.kind, key.name)
}

pub(crate) fn resource(resource: &Resource) -> (String, Value) {
    let body = Body::decode(resource).expect("a body of ours");
    let name = key(&body.key());
    let body = match body {
        Body::Route(route) => self::route(route),
        Body::Provider(provider) => self::provider(provider),
        Body::Credential(credential) => self::credential(&credential),
        Body::Global(global) => json!({"logLevel": global.log_level}),
    };
    (name, body)
}

/// A status with its conditions one line each. What is the same in all of them
/// is checked here: the generation, and the time of this first reconciliation.
pub(crate) fn status(mut status: Value) -> Value {
    let generation = status["observedGeneration"].clone();
    let mut conditions = Map::new();
    for condition in status["conditions"].as_array().expect("conditions") {
        assert_eq!(condition["observedGeneration"], generation, "{condition}");
        assert_eq!(
            condition["lastTransitionTime"], "2026-01-02T03:04:05Z",
            "{condition}"
        );
        let text = |field: &str| condition[field].as_str().expect("a text").to_owned();
        let line = format!("{} {}: {}", text("status"), text("reason"), text("message"));
        let line = line.trim_end_matches([' ', ':']);
        conditions.insert(text("type"), json!(line));
    }
    status["conditions"] = Value::Object(conditions);
    status
}

fn route(route: Route) -> Value {
    json!({
        "generation": route.generation,
        "createdUnixMs": route.created_unix_ms,
        "rules": route.rules.into_iter().map(rule).collect::<Vec<_>>(),
    })
}

fn rule(rule: Rule) -> Value {
    let strategy = rule.strategy().as_str_name();
    let (Some(retry), Some(timeouts), Some(limits)) = (&rule.retry, rule.timeouts, rule.limits)
    else {
        assert!(rule.targets.is_empty(), "only what is to be refused");
        let matches: Vec<_> = rule.matches.iter().map(match_).collect();
        return json!({"name": rule.name, "matches": matches, "refused": true});
    };
    let on: Vec<_> = retry
        .on()
        .map(|on| on.as_str_name().replace("RETRY_ON_", ""))
        .collect();
    let targets: Vec<_> = rule.targets.into_iter().map(target).collect();
    json!({
        "name": rule.name,
        "matches": rule.matches.iter().map(match_).collect::<Vec<_>>(),
        "targets": targets,
        "strategy": strategy,
        "retry": format!(
            "{} on {} after {}-{} ms",
            retry.attempts, on.join(","), retry.backoff_base_ms, retry.backoff_max_ms
        ),
        "timeouts": format!(
            "connect {} firstByte {} streamIdle {} request {} ms",
            timeouts.connect_ms, timeouts.first_byte_ms, timeouts.stream_idle_ms, timeouts.request_ms
        ),
        "limits": format!("body {} concurrent {}", limits.max_body_bytes, limits.max_concurrent),
    })
}

fn match_(match_: &Match) -> Value {
    let headers = match_.headers.iter().map(|header| {
        let star = match header.r#type() {
            header_match::Type::Prefix => "*",
            _ => "",
        };
        format!("{}: {}{star}", header.name, header.value)
    });
    json!({"models": match_.models, "headers": headers.collect::<Vec<_>>()})
}

fn target(target: llmroute_protocol::Target) -> Value {
    let mut shown = Map::new();
    shown.insert("name".into(), json!(target.name));
    shown.insert("provider".into(), json!(target.provider));
    for (name, text) in [("model", target.model), ("unavailable", target.unavailable)] {
        if !text.is_empty() {
            shown.insert(name.into(), json!(text));
        }
    }
    shown.insert("weight".into(), json!(target.weight));
    shown.insert("priority".into(), json!(target.priority));
    Value::Object(shown)
}

fn provider(provider: Provider) -> Value {
    let dialect = provider.dialect().as_str_name();
    let quirks: Vec<_> = provider.quirks().map(|q| q.as_str_name()).collect();
    let models = match provider.models.len() {
        few if few <= SHOWN_MODELS => json!(provider.models.iter().map(model).collect::<Vec<_>>()),
        _ => json!("those of the catalog"),
    };
    let auth = provider.auth.map(|auth| match auth.r#type() {
        auth::Type::None | auth::Type::Unspecified => auth.r#type().as_str_name().to_owned(),
        other => format!("{} {}: {}…", other.as_str_name(), auth.header, auth.prefix),
    });
    let health = provider.health.map(|health| {
        format!(
            "{} failures, {}-{} ms",
            health.consecutive_failures, health.eject_for_ms, health.max_eject_for_ms
        )
    });
    json!({
        "generation": provider.generation,
        "type": provider.r#type,
        "dialect": dialect,
        "baseURL": provider.base_url,
        "caBytes": provider.ca_pem.len(),
        "auth": auth,
        "models": models,
        "openModels": provider.open_models,
        "health": health,
        "quirks": quirks,
    })
}

fn model(model: &Model) -> Value {
    let upstream = match model.upstream_name.as_str() {
        "" => String::new(),
        name => format!(" as {name}"),
    };
    let tokens = format!(
        "{}/{} tokens",
        model.context_tokens, model.max_output_tokens
    );
    let price = model.price.as_ref().map_or("no price".to_owned(), price);
    json!(format!("{}{upstream}, {tokens}, {price}", model.name))
}

fn price(price: &Price) -> String {
    let rates = rates(price.rates.as_ref());
    let tiers = price.tiers.iter().map(tier).collect::<String>();
    let service = price.service_tiers.len();
    match service {
        0 => format!("{rates}{tiers}"),
        _ => format!("{rates}{tiers}, {service} service tiers"),
    }
}

fn tier(tier: &PriceTier) -> String {
    format!(
        ", above {}: {}",
        tier.above_input_tokens,
        rates(tier.rates.as_ref())
    )
}

fn rates(rates: Option<&Rates>) -> String {
    let Rates {
        input,
        output,
        cached_input,
        cache_write,
        cache_write_1h,
    } = rates.copied().expect("a price has rates");
    let more = [
        ("cached", cached_input),
        ("write", cache_write),
        ("write 1h", cache_write_1h),
    ];
    let more = more
        .into_iter()
        .filter_map(|(name, rate)| Some(format!(" {name} {}", rate?)));
    format!("in {input} out {output}{} pUSD", more.collect::<String>())
}

fn credential(credential: &Credential) -> Value {
    json!({"provider": credential.provider, "hash8": credential.hash8, "bytes": credential.value.len()})
}
