//! What is kept of an object that no longer makes sense.

use super::*;

#[test]
fn a_refused_provider_serves_its_last_good_version_on_with_new_secrets() {
    let mut engine = whole();
    let mut spec = openai("Same");
    spec["endpoint"]["baseURL"] = json!("https://169.254.169.254/v1");
    let refused = engine.apply(Change::Provider(object("shop/openai", 2, spec)));
    assert!(refused.resources.is_empty(), "{refused:?}");
    assert_eq!(provider(&engine, "shop/openai").generation, 1);
    let (accepted, message) = provider_condition(&engine, "Accepted");
    assert_eq!(accepted, "False/Invalid");
    assert!(
        message.ends_with("generation 1 is still in force"),
        "{message}"
    );
    let rotated = engine.apply(secret("sk-2"));
    assert_eq!(keys(&rotated), set(["Credential shop/openai"]));
    assert_eq!(unavailable(&engine, ROUTE), "");
}

#[test]
fn a_provider_that_was_never_good_is_pushed_to_be_refused() {
    let mut engine = whole();
    engine.apply(Change::Provider(object(
        "shop/odd",
        1,
        json!({"type": "odd"}),
    )));
    engine.apply(Change::Route(object(ROUTE, 2, to("shop", "odd"))));
    // A sidecar refuses it, and goes on with an older version where it has one.
    assert_eq!(provider(&engine, "shop/odd").dialect, 0);
    assert_eq!(unavailable(&engine, ROUTE), "");
    let needs = engine.built().needs(&id(ROUTE));
    let needs: Vec<_> = needs.iter().map(|(key, _)| key.kind).collect();
    assert_eq!(
        needs,
        [Kind::Route],
        "nobody waits for what is to be refused"
    );
}

#[test]
fn a_refused_route_serves_its_last_good_version_on() {
    let mut engine = whole();
    let refused = engine.apply(Change::Route(object(ROUTE, 2, json!({"rules": []}))));
    assert!(refused.resources.is_empty(), "{refused:?}");
    assert_eq!(route(&engine, ROUTE).generation, 1);
    let (programmed, message) = route_condition(&engine, "Programmed");
    assert_eq!(programmed, "False/Rejected");
    assert!(message.contains("generation 1"), "{message}");
}

#[test]
fn a_route_that_was_never_good_is_pushed_to_be_refused() {
    let mut engine = whole();
    let mut spec = to("shop", "openai");
    spec["rules"][0]["matches"] = json!([{"models": ["chat"]}]);
    spec["rules"][0]["retry"] = json!({"attempts": 99});
    engine.apply(Change::Route(object("shop/bad", 1, spec)));
    let rule = route(&engine, "shop/bad").rules[0].clone();
    assert_eq!(
        rule.matches[0].models,
        ["chat"],
        "these matches fall through to nothing"
    );
    assert!(
        rule.targets.is_empty(),
        "a sidecar takes no rule without targets"
    );
    assert!(engine.built().needs(&id("shop/bad")).is_empty());
}

#[test]
fn a_route_that_cannot_be_read_is_pushed_to_be_refused() {
    let mut engine = whole();
    let mut spec = to("shop", "openai");
    spec["workloadSelector"] = json!("app=web");
    spec["rules"][0]["matches"] = json!([{"models": ["chat"]}]);
    spec["rules"][0]["timeouts"] = json!({"request": "banana"});
    engine.apply(Change::Route(object("shop/bad", 1, spec.clone())));
    let rule = route(&engine, "shop/bad").rules[0].clone();
    assert_eq!(rule.matches[0].models, ["chat"]);
    assert!(rule.targets.is_empty());
    assert!(engine.built().needs(&id("shop/bad")).is_empty());
    spec["workloadSelector"] = json!(null);
    spec["rules"][0]["timeouts"] = json!({"request": "1m"});
    engine.apply(Change::Route(object("shop/bad", 2, spec)));
    assert_eq!(unavailable(&engine, "shop/bad"), "", "it is mended");
}

#[test]
fn a_new_life_of_a_name_inherits_nothing() {
    let mut engine = whole();
    let mut reborn = object(ROUTE, 1, json!({"rules": []}));
    reborn.uid = "2".into();
    engine.apply(Change::Route(reborn));
    assert!(
        route(&engine, ROUTE).rules.is_empty(),
        "no last good version of another object"
    );
}

#[test]
fn a_malformed_object_is_counted_and_stalls_nothing() {
    let mut engine = whole();
    engine.apply(Change::Provider(object("shop/a", 1, json!({"type": 5}))));
    engine.apply(Change::Route(object("shop/a", 1, json!("x"))));
    engine.apply(Change::Route(object("shop/b", 1, Value::Null)));
    assert_eq!(engine.malformed(), (1, 2));
    let path = engine.provider_malformed_at(&id("shop/a"));
    assert_eq!(path, Some("spec.type"));
    assert_eq!(engine.route_malformed_at(&id("shop/a")), Some("spec"));
    engine.apply(Change::RouteGone(id("shop/b")));
    assert_eq!(engine.malformed(), (1, 1));
    assert_eq!(engine.route_malformed_at(&id("shop/b")), None);
    engine.apply(Change::Route(object("shop/c", 1, to("shop", "openai"))));
    assert_eq!(unavailable(&engine, "shop/c"), "");
}
