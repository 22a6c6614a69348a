//! What kinds.md asks of every schema: a bound on everything that could grow,
//! and a field and a cure in every CEL message.

use std::collections::BTreeSet;

use serde_json::Value;

fn schemas() -> Vec<(String, Value)> {
    let crds = [llmroute_crds::provider_crd(), llmroute_crds::route_crd()];
    let schema = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        let kind = crd["spec"]["names"]["kind"].to_string();
        (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
    };
    crds.into_iter().map(schema).collect()
}

/// Every place of a schema with its path.
fn walk(schema: &Value, place: &str, see: &mut impl FnMut(&Value, &str)) {
    see(schema, place);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        walk(member, &format!("{place}.{name}"), see);
    }
    for (name, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(name).filter(|inner| inner.is_object()) {
            walk(inner, &format!("{place}{mark}"), see);
        }
    }
}

fn is_bounded(schema: &Value, place: &str) -> bool {
    let has = |keyword: &str| schema.get(keyword).is_some();
    match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum"),
        Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
        // A generation only grows; the API server counts it.
        Some("integer") => {
            has("minimum") && (has("maximum") || place.ends_with("observedGeneration"))
        }
        Some("object") => has("properties") || has("maxProperties"),
        Some("boolean") => true,
        None if schema["x-kubernetes-int-or-string"] == true => has("maxLength") && has("maximum"),
        Some(_) | None => false,
    }
}

#[test]
fn everything_that_could_grow_is_bounded() {
    let mut open = Vec::new();
    for (kind, schema) in schemas() {
        walk(&schema, &kind, &mut |schema, place| {
            if !is_bounded(schema, place) {
                open.push(place.to_owned());
            }
        });
    }
    assert!(open.is_empty(), "without a bound: {open:?}");
}

#[test]
fn every_cel_message_names_a_field_and_a_cure() {
    for (kind, schema) in schemas() {
        let (mut fields, mut messages) = (BTreeSet::new(), Vec::new());
        walk(&schema, &kind, &mut |schema, place| {
            fields.extend(place.rsplit(['.', '[', '{']).map(str::to_owned));
            let rules = schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten();
            messages.extend(rules.map(|rule| {
                (
                    place.to_owned(),
                    rule["message"].as_str().map(str::to_owned),
                )
            }));
        });
        assert!(messages.len() > 5, "the walk found {messages:?}");
        for (place, message) in messages {
            let message = message.unwrap_or_else(|| panic!("{place}: a rule without a message"));
            let (what, cure) = message.split_once(": ").unwrap_or((&message, ""));
            let field = what
                .split(' ')
                .next()
                .and_then(|path| path.rsplit('.').next())
                .unwrap_or_default();
            assert!(
                fields.contains(field),
                "{place}: {message:?} names no field"
            );
            assert!(!cure.is_empty(), "{place}: {message:?} names no cure");
        }
    }
}
