//! Pieces of schema that more than one type needs.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A provider type of the catalog.
pub(crate) const PROVIDER_TYPE: &str = "^[a-z0-9][-a-z0-9]*$";
/// A label's key: a name, which may have a DNS subdomain before it.
pub(crate) const LABEL_KEY: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A label's value; it may be empty.
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Gateway API's durations: at most four number-unit pairs of five digits.
pub(crate) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// Decimals of at most seven digits before the point and six after it.
pub(crate) const MONEY: &str = "^[0-9]{1,7}([.][0-9]{1,6})?$";
/// One model.
pub(crate) const MODEL: &str = r"^[^\s*]+$";
/// One model, or many by one `*` at an end.
pub(crate) const MODEL_MATCH: &str = r"^(\*|\*?[^*\s]+|[^*\s]+\*)$";
/// A model in the provider's words.
pub(crate) const UPSTREAM_MODEL: &str = r"^\S+$";
/// RFC 9110's token.
pub(crate) const HEADER_NAME: &str = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";
/// What a header can hold without an encoding.
pub(crate) const HEADER_VALUE: &str = r"^[\t -~]*$";
/// Scheme, host, port and path; nothing that could hide a key or a second host.
pub(crate) const BASE_URL: &str = r"^https?://([-a-zA-Z0-9._]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[-a-zA-Z0-9._~%!$&'()*+,;=:@/]*)?$";
/// A condition's reason.
pub(crate) const REASON: &str = "^[A-Za-z][A-Za-z0-9]*$";
/// The head of a SHA-256.
pub(crate) const HASH8: &str = "^[0-9a-f]{8}$";
/// The grammar of a DNS label: names of rules, targets and namespaces.
pub(crate) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The grammar of a DNS subdomain: names of objects.
pub(crate) const DNS_SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key of a Secret or `ConfigMap`.
pub(crate) const DATA_KEY: &str = "^[-._a-zA-Z0-9]+$";
/// The longest that status lets a message be; longer ones are cut by their writer.
pub(crate) const MESSAGE: u32 = 1024;

/// What a value that a pattern refuses should look like, for a human; `None` for
/// a pattern that isn't ours.
pub fn cure(pattern: &str) -> Option<&'static str> {
    GRAMMARS
        .iter()
        .find(|(known, _)| *known == pattern)
        .map(|&(_, cure)| cure)
}

const GRAMMARS: [(&str, &str); 16] = [
    (
        DNS_LABEL,
        "use at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends",
    ),
    (
        DNS_SUBDOMAIN,
        "use the object's name: a-z, 0-9, '-' and '.', with a letter or digit at both ends",
    ),
    (
        DATA_KEY,
        "use the name of an entry: letters, digits, '-', '_' and '.'",
    ),
    (
        LABEL_KEY,
        "use a label's key, such as app or app.kubernetes.io/name",
    ),
    (
        LABEL_VALUE,
        "use a label's value: letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
    (
        DURATION,
        "write a duration with the units h, m, s or ms, such as 10s or 1m30s",
    ),
    (
        MONEY,
        "write an integer or a decimal with a point and at most 6 decimals, in quotes, such as \"0.15\"",
    ),
    (MODEL, "write one model's name, without '*' or spaces"),
    (
        MODEL_MATCH,
        "write a model's name, with at most one '*', at its beginning or end, such as gpt-*",
    ),
    (
        UPSTREAM_MODEL,
        "write the provider's name of the model, without spaces",
    ),
    (HEADER_NAME, "write a header's name, such as x-team"),
    (HEADER_VALUE, "use printable ASCII"),
    (
        BASE_URL,
        "write https://host[:port][/path], without user, query or fragment",
    ),
    (REASON, "write one CamelCase word"),
    (HASH8, "write 8 hex digits"),
    (
        PROVIDER_TYPE,
        "use a provider type in lower case, such as openai, custom or mock",
    ),
];

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
                "reason": { "type": "string", "maxLength": 63, "pattern": REASON },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                found.extend(
                    members
                        .get("pattern")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
                members.values().for_each(|member| patterns(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_pattern_has_a_cure() {
        let mut found = Vec::new();
        for crd in [crate::provider_crd(), crate::route_crd()] {
            patterns(
                &serde_json::to_value(crd).expect("a CRD is JSON"),
                &mut found,
            );
        }
        assert!(found.len() > 20, "the walk found {}", found.len());
        found.retain(|pattern| cure(pattern).is_none());
        assert!(found.is_empty(), "no cure for {found:?}");
    }
}
