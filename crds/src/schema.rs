//! Pieces of schema that more than one type needs.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The grammar of a DNS label: names of rules, targets and namespaces.
pub(crate) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The grammar of a DNS subdomain: names of objects.
pub(crate) const DNS_SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key of a Secret or `ConfigMap`.
pub(crate) const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";
/// The longest that status lets a message be; longer ones are cut by their writer.
pub(crate) const MESSAGE: u32 = 1024;

/// CEL rules, each with the message that names the field and the cure.
pub(crate) fn rules<const N: usize>(rules: [(&str, &str); N]) -> Value {
    rules
        .map(|(rule, message)| json!({ "rule": rule, "message": message }))
        .into_iter()
        .collect()
}

/// A duration that must take some time, and at most a day.
pub(crate) fn some_time(field: &str) -> Value {
    let message = format!(
        "{field} must be longer than 0s and at most 24h: write a duration such as 10s or 1m30s"
    );
    rules([(
        "duration(self) > duration('0s') && duration(self) <= duration('24h')",
        &message,
    )])
}

/// The conditions of a status.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 63 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "maxLength": 63, "pattern": "^[A-Za-z][A-Za-z0-9]*$" },
                "message": { "type": "string", "maxLength": MESSAGE },
                "lastTransitionTime": time(),
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            },
        },
    })
}

/// A point in time.
pub(crate) fn time_of(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "maxLength": 40 })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time", "maxLength": 40 })
}
