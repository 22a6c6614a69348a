//! From newtypes to the resource. Nothing here can fail on what a user wrote.

use std::collections::BTreeSet;
use std::sync::Arc;

use llmroute_protocol::{self as wire, Body, Resource};

use super::targets::Resolved;
use super::validate::{ValidRoute, ValidTarget};
use super::{Push, salvage};
use crate::world::Object;

/// The whole route.
pub(super) fn build(
    object: &Object,
    generation: i64,
    valid: &ValidRoute,
    resolved: &Resolved,
) -> Arc<Resource> {
    let rules = valid.rules.iter().zip(&resolved.unavailable);
    let rules = rules.map(|(rule, unavailable)| wire::Rule {
        targets: rule
            .targets
            .iter()
            .zip(unavailable)
            .map(|(target, why)| wire_target(target, why))
            .collect(),
        ..rule.wire.clone()
    });
    resource(object, generation, rules.collect())
}

/// A body that every sidecar refuses: rules that lead nowhere. One that took an
/// older version keeps it, any other answers these matches with an error
/// instead of falling through to a broader rule.
pub(super) fn poison(object: &Object) -> Push {
    Push {
        selector: salvage::selector(&object.spec),
        resource: resource(object, object.generation, salvage::rules(&object.spec)),
        providers: BTreeSet::new(),
    }
}

fn resource(object: &Object, generation: i64, rules: Vec<wire::Rule>) -> Arc<Resource> {
    let route = wire::Route {
        namespace: object.id.namespace.clone(),
        name: object.id.name.clone(),
        generation,
        created_unix_ms: object.created.as_millisecond(),
        rules,
    };
    Arc::new(Body::Route(route).into_resource())
}

fn wire_target(target: &ValidTarget, why: &str) -> wire::Target {
    let ValidTarget {
        name,
        provider,
        model,
        weight,
        priority,
    } = target;
    wire::Target {
        name: name.clone(),
        provider: provider.to_string(),
        model: model.clone().unwrap_or_default(),
        weight: *weight,
        priority: *priority,
        unavailable: why.to_owned(),
    }
}
