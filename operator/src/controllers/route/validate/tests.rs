//! Paths and defaults: the words of the CRD.

use serde_json::{Value, json};

use super::*;
use crate::controllers::refusal::read_spec;

fn judged(rule: &Value) -> Result<ValidRoute, Vec<String>> {
    let mut whole = json!({"name": "a", "targets": [{"providerRef": {"name": "p"}}]});
    let members = rule.as_object().expect("members of a rule").clone();
    whole.as_object_mut().expect("a rule").extend(members);
    let spec = read_spec(&json!({"rules": [whole]})).expect("of the CRD's shape");
    validate(&ObjectRef::new("shop", "chat"), &spec)
        .map_err(|refusals| refusals.into_iter().map(|refusal| refusal.path).collect())
}

#[test]
fn what_the_crd_would_refuse_is_refused_by_path() {
    for (rule, path) in [
        (json!({"targets": []}), "spec.rules[0].targets"),
        (
            json!({"matches": [{"models": ["a*b"]}]}),
            "spec.rules[0].matches[0].models[0]",
        ),
        (
            json!({"matches": [{"models": ["a", "a"]}]}),
            "spec.rules[0].matches[0][1].models",
        ),
        (
            json!({"matches": [{"headers": [{"name": "a b", "value": "x"}]}]}),
            "spec.rules[0].matches[0].headers[0].name",
        ),
        (
            json!({"matches": [{"headers": [{"name": "X-Team", "value": "x"}, {"name": "x-team", "value": "y"}]}]}),
            "spec.rules[0].matches[0].headers[1].name",
        ),
        (
            json!({"targets": [{"providerRef": {"name": "p"}, "weight": 0}]}),
            "spec.rules[0].targets",
        ),
        (
            json!({"targets": [{"providerRef": {"name": "p"}}, {"providerRef": {"name": "p"}}]}),
            "spec.rules[0].targets[1].name",
        ),
        (
            json!({"targets": [{"providerRef": {"name": "p"}, "priority": 16}]}),
            "spec.rules[0].targets[0].priority",
        ),
        (
            json!({"retry": {"attempts": 6}}),
            "spec.rules[0].retry.attempts",
        ),
        (
            json!({"retry": {"backoff": {"base": "6s"}}}),
            "spec.rules[0].retry.backoff.base",
        ),
        (
            json!({"timeouts": {"request": "0s"}}),
            "spec.rules[0].timeouts.request",
        ),
        (
            json!({"limits": {"maxBodyBytes": 0}}),
            "spec.rules[0].limits.maxBodyBytes",
        ),
        (
            json!({"limits": {"maxConcurrent": 0}}),
            "spec.rules[0].limits.maxConcurrent",
        ),
    ] {
        assert_eq!(judged(&rule), Err(vec![path.to_owned()]), "{rule}");
    }
}

#[test]
fn the_defaults_are_those_of_the_reference() {
    let valid = judged(&json!({})).expect("valid");
    let rule = &valid.rules[0].wire;
    let timeouts = rule.timeouts.expect("set");
    assert_eq!(
        (timeouts.connect_ms, timeouts.first_byte_ms),
        (3_000, 60_000)
    );
    assert_eq!(
        (timeouts.stream_idle_ms, timeouts.request_ms),
        (60_000, 600_000)
    );
    let retry = rule.retry.clone().expect("set");
    assert_eq!((retry.attempts, retry.on.len()), (2, 5));
    assert_eq!((retry.backoff_base_ms, retry.backoff_max_ms), (100, 5_000));
    assert_eq!(rule.limits.expect("set").max_body_bytes, 16_777_216);
    let target = &valid.rules[0].targets[0];
    assert_eq!((target.weight, target.priority), (1, 0));
    assert_eq!(target.provider, ObjectRef::new("shop", "p"));
}

#[test]
fn a_pattern_has_one_star_at_an_end() {
    for (pattern, valid) in [
        ("gpt-4o", true),
        ("gpt-*", true),
        ("*-mini", true),
        ("*", true),
        ("", false),
        ("*a*", false),
        ("a*b", false),
        ("a b", false),
        ("**", false),
    ] {
        assert_eq!(is_pattern(pattern), valid, "{pattern:?}");
    }
}
