//! What a status carries over from the one before.

use super::*;

#[test]
fn a_status_that_we_wrote_ourselves_concerns_nothing() {
    let mut engine = whole();
    let mut seen = object(ROUTE, 1, to("shop", "openai"));
    seen.status = Some(json!({"observedGeneration": 1}));
    assert!(engine.apply(Change::Route(seen)).is_empty());
}

#[test]
fn a_status_of_1970_is_replaced_and_a_flip_alone_moves_the_time() {
    let engine = whole();
    let pending = llmroute_crds::pending(&llmroute_crds::condition::OF_ROUTE);
    let (first, later) = (now(), now() + jiff::SignedDuration::from_secs(60));
    let of = |previous: &Value, connected: u32, at| {
        let dataplane = Dataplane {
            connected,
            acked: connected,
            ..Dataplane::default()
        };
        engine
            .route_status(&id(ROUTE), Some(previous), &dataplane, at)
            .expect("it is there")
    };
    let times = |status: &Value| -> Vec<String> {
        let conditions = status["conditions"].as_array().expect("conditions");
        let time = |c: &Value| c["lastTransitionTime"].as_str().expect("a time").to_owned();
        conditions.iter().map(time).collect()
    };
    let one = of(&pending, 0, first);
    assert!(
        times(&one).iter().all(|t| t == "2026-01-02T03:04:05Z"),
        "{one}"
    );
    assert_eq!(of(&one, 0, later), one, "nothing happened");
    let two = of(&one, 1, later);
    let moved: Vec<_> = times(&two)
        .iter()
        .map(|t| t == "2026-01-02T03:05:05Z")
        .collect();
    assert_eq!(
        moved,
        [false, false, true, false],
        "Programmed alone: {two}"
    );
}

#[test]
fn a_rotation_moves_rotated_at_and_nothing_else_does() {
    let mut engine = whole();
    let facts = CredentialFacts::default();
    let of = |engine: &Engine, previous: Option<&Value>, at| {
        let status = engine.provider_status(&id("shop/openai"), previous, &facts, at);
        status.expect("it is there")
    };
    let later = now() + jiff::SignedDuration::from_secs(60);
    let one = of(&engine, None, now());
    assert_eq!(of(&engine, Some(&one), later), one);
    engine.apply(secret("sk-2"));
    let two = of(&engine, Some(&one), later);
    assert_ne!(two["credential"]["hash8"], one["credential"]["hash8"]);
    assert_eq!(two["credential"]["rotatedAt"], "2026-01-02T03:05:05Z");
    assert_eq!(two["conditions"], one["conditions"]);
}

#[test]
fn no_sidecar_counts_as_using_a_generation_that_is_refused() {
    let mut engine = whole();
    let sidecars = |engine: &Engine| {
        let dataplane = Dataplane {
            connected: 2,
            acked: 2,
            ..Dataplane::default()
        };
        let status = engine.route_status(&id(ROUTE), None, &dataplane, now());
        status.expect("it is there")["summary"]["sidecars"].clone()
    };
    assert_eq!(sidecars(&engine), "2/2");
    engine.apply(Change::Route(object(ROUTE, 2, json!({"rules": []}))));
    assert_eq!(sidecars(&engine), "0/2");
}

#[test]
fn a_match_that_an_earlier_rule_takes_too_is_told() {
    let mut engine = whole();
    let mut spec = to("shop", "openai");
    let rule = |name: &str, models: &[&str]| {
        let mut rule = spec["rules"][0].clone();
        rule["name"] = json!(name);
        rule["matches"] = json!([{"models": models}]);
        rule
    };
    spec["rules"] = json!([
        rule("a", &["chat", "gpt-*"]),
        rule("b", &["chat", "gpt-4o"])
    ]);
    engine.apply(Change::Route(object(ROUTE, 2, spec)));
    assert_eq!(
        route_condition(&engine, "Accepted"),
        (
            "True/Accepted".to_owned(),
            "spec.rules[1]: rule b is never reached by model chat: rule a comes first and takes it too".to_owned()
        )
    );
}
