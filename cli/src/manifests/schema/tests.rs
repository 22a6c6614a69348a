//! The table that a real API server is tried with, over the checks of `llmroute run`.

use std::path::Path;

use super::*;
use crate::manifests::Kind;

#[allow(unreachable_pub, reason = "a module of another crate")]
#[path = "../../../../tests/src/crd_cases.rs"]
mod crd_cases;

fn kind(name: &str) -> Kind {
    if name == "LLMProvider" {
        Kind::Provider
    } else {
        Kind::Route
    }
}

#[test]
fn a_laptop_accepts_and_refuses_what_a_cluster_does() {
    let schemas = Schemas::new().expect("the CRDs compile");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/crd-cases");
    let mut failures = Vec::new();
    let cases = crd_cases::load(&dir).expect("the cases read");
    for case in cases
        .iter()
        .filter(|case| !case.place.starts_with("status"))
    {
        let crd_cases::Case {
            file, field, rule, ..
        } = case;
        let kind = kind(&case.kind);
        let from = case
            .from
            .clone()
            .map(|old| schemas.admit(kind, old, None).expect("a valid object"));
        for object in &case.accepted {
            if let Err(refusals) = schemas.admit(kind, object.clone(), from.as_ref()) {
                failures.push(format!(
                    "{file}: {field} {rule}: refused {object}: {refusals:?}"
                ));
            }
        }
        for object in &case.refused {
            match schemas.admit(kind, object.clone(), from.as_ref()) {
                Ok(_) => failures.push(format!("{file}: {field} {rule}: accepted {object}")),
                Err(refusals) => {
                    let says = case.says.as_deref().unwrap_or_default();
                    if !refusals
                        .iter()
                        .any(|text| text.contains(field.as_str()) && text.contains(says))
                    {
                        failures.push(format!("{file}: {field} {rule}: says {refusals:?}"));
                    }
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn route(rule: &Value) -> Value {
    serde_json::json!({
        "apiVersion": "llmroute.dev/v1alpha1",
        "kind": "LLMRoute",
        "metadata": { "name": "chat", "labels": { "a": "b" } },
        "spec": { "rules": [rule] },
    })
}

fn refusal(rule: &Value) -> String {
    let schemas = Schemas::new().expect("the CRDs compile");
    let refusals = schemas
        .admit(Kind::Route, route(rule), None)
        .err()
        .unwrap_or_default();
    refusals.join("\n")
}

#[test]
fn a_misspelt_field_is_refused_with_the_one_that_was_meant() {
    let said =
        refusal(&serde_json::json!({"name": "a", "target": [{"providerRef": {"name": "p"}}]}));
    assert!(
        said.contains("spec.rules[0].target: unknown field: did you mean targets?"),
        "{said}"
    );
    assert!(
        said.contains("spec.rules[0].targets: Required value"),
        "{said}"
    );
}

#[test]
fn a_refusal_by_a_pattern_says_what_to_write() {
    let timeouts = serde_json::json!({"connect": "3 seconds"});
    let said = refusal(
        &serde_json::json!({"name": "a", "targets": [{"providerRef": {"name": "p"}}], "timeouts": timeouts}),
    );
    assert!(said.contains("spec.rules[0].timeouts.connect"), "{said}");
    assert!(said.contains("such as 10s or 1m30s"), "{said}");
}

#[test]
fn defaults_are_filled_in_and_a_foreign_status_is_dropped() {
    let schemas = Schemas::new().expect("the CRDs compile");
    let mut object = route(
        &serde_json::json!({"name": "a", "targets": [{"providerRef": {"name": "p"}}], "retry": null}),
    );
    object["status"] = serde_json::json!({"summary": {"models": "forged"}});
    let stored = schemas.admit(Kind::Route, object, None).expect("valid");
    assert_eq!(stored["spec"]["rules"][0]["timeouts"]["connect"], "3s");
    assert_eq!(stored["spec"]["rules"][0]["targets"][0]["weight"], 1);
    assert_eq!(stored["spec"]["rules"][0]["retry"]["attempts"], 2);
    assert_ne!(stored["status"]["summary"]["models"], "forged");
}

#[test]
fn a_secret_is_checked_without_showing_what_it_holds() {
    let schemas = Schemas::new().expect("the CRDs compile");
    let secret = serde_json::json!({"stringData": {"api-key": 4711}});
    let refusals = schemas
        .admit(Kind::Secret, secret, None)
        .expect_err("refused");
    assert!(
        refusals[0].contains("stringData.api-key") && !refusals[0].contains("4711"),
        "{refusals:?}"
    );
}
