//! Small resources for the tests of this crate.

use std::sync::Arc;

use http::HeaderMap;
use llmroute_protocol as proto;
use llmroute_protocol::{Body, Resource};

use super::{Change, Config, Found, Rule};
use crate::upstream::Upstreams;

/// A config that may call loopback.
pub(crate) fn config() -> Config {
    Config::new(Arc::new(Upstreams::new(true)))
}

/// A snapshot of `resources`.
pub(crate) fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Change {
    Change::Snapshot {
        resources: resources.into_iter().collect(),
        unchanged: Vec::new(),
    }
}

/// A delta that brings `resources`.
pub(crate) fn delta(resources: impl IntoIterator<Item = Resource>) -> Change {
    Change::Delta {
        upserts: resources.into_iter().collect(),
        removed: Vec::new(),
    }
}

/// A route of namespace `shop`.
pub(crate) fn route(name: &str, rules: impl IntoIterator<Item = proto::Rule>) -> proto::Route {
    proto::Route {
        namespace: "shop".into(),
        name: name.into(),
        generation: 1,
        created_unix_ms: 1000,
        rules: rules.into_iter().collect(),
    }
}

/// A rule for `models` (none: the catch-all) that leads to `targets`.
pub(crate) fn rule<'m>(
    name: &str,
    models: impl IntoIterator<Item = &'m str>,
    targets: impl IntoIterator<Item = proto::Target>,
) -> proto::Rule {
    let models: Vec<_> = models.into_iter().map(String::from).collect();
    let one = proto::Match {
        models,
        headers: Vec::new(),
    };
    proto::Rule {
        name: name.into(),
        matches: Vec::from_iter((!one.models.is_empty()).then_some(one)),
        targets: targets.into_iter().collect(),
        strategy: proto::Strategy::Weighted.into(),
        ..proto::Rule::default()
    }
}

/// A target at `shop/<provider>`, of weight 1 and priority 0.
pub(crate) fn target(provider: &str) -> proto::Target {
    proto::Target {
        name: provider.into(),
        provider: format!("shop/{provider}"),
        weight: 1,
        ..proto::Target::default()
    }
}

/// A provider in `shop` with a key and the model `gpt`.
pub(crate) fn provider(name: &str) -> proto::Provider {
    proto::Provider {
        namespace: "shop".into(),
        name: name.into(),
        generation: 1,
        r#type: "openai".into(),
        dialect: proto::Dialect::Openai.into(),
        base_url: "http://127.0.0.1:9/v1".into(),
        auth: Some(proto::Auth {
            r#type: proto::auth::Type::Credential.into(),
            header: "authorization".into(),
            prefix: "Bearer ".into(),
        }),
        models: vec![model("gpt")],
        health: Some(proto::Health {
            consecutive_failures: 2,
            eject_for_ms: 10_000,
            max_eject_for_ms: 60_000,
        }),
        ..proto::Provider::default()
    }
}

/// A provider in `shop` that needs no key and takes every model.
pub(crate) fn open_provider(name: &str) -> proto::Provider {
    proto::Provider {
        auth: None,
        models: Vec::new(),
        open_models: true,
        ..provider(name)
    }
}

/// A model without a price.
pub(crate) fn model(name: &str) -> proto::Model {
    proto::Model {
        name: name.into(),
        ..proto::Model::default()
    }
}

/// The key of `shop/<provider>`.
pub(crate) fn credential(provider: &str, value: &str) -> Resource {
    Body::Credential(proto::Credential {
        provider: format!("shop/{provider}"),
        value: value.as_bytes().to_vec().into(),
        hash8: "00000000".into(),
    })
    .into_resource()
}

/// In its envelope.
pub(crate) fn of_route(route: proto::Route) -> Resource {
    Body::Route(route).into_resource()
}

/// In its envelope.
pub(crate) fn of_provider(provider: proto::Provider) -> Resource {
    Body::Provider(provider).into_resource()
}

/// The rule that serves `model`.
pub(crate) fn rule_for(config: &Config, model: &str) -> Arc<Rule> {
    match config.table().find(model, &HeaderMap::new()) {
        Found::Rule(rule) => rule,
        other => panic!("{model} is not served: {}", name_of(&other)),
    }
}

/// What was found, for messages: the rule's `route/rule`, or why there is none.
pub(crate) fn name_of(found: &Found) -> String {
    match found {
        Found::Rule(rule) => format!("{}/{}", rule.route.key, rule.name),
        Found::Poisoned(route) => format!("poisoned {}", route.key),
        Found::UnknownModel => "unknown model".into(),
        Found::NoRoute => "no route".into(),
        Found::NoConfig => "no config".into(),
    }
}
