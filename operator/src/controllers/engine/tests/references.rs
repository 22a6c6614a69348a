//! A change reaches those that name what changed: one test a kind of reference.

use super::*;

#[test]
fn a_route_follows_the_provider_that_it_names() {
    let mut engine = whole();
    let gone = engine.apply(Change::ProviderGone(id("shop/openai")));
    assert_eq!(unavailable(&engine, ROUTE), "ProviderNotFound");
    let expected = set([
        "Route shop/chat",
        "Provider shop/openai",
        "Credential shop/openai",
    ]);
    assert_eq!(keys(&gone), expected);
    assert_eq!(gone.routes, BTreeSet::from([id(ROUTE)]));
    let back = engine.apply(Change::Provider(object("shop/openai", 1, openai("Same"))));
    assert_eq!(unavailable(&engine, ROUTE), "");
    assert_eq!(keys(&back), expected);
}

#[test]
fn a_provider_follows_its_secret_and_its_routes_follow_it() {
    let mut engine = whole();
    let gone = engine.apply(Change::SecretGone(id("shop/key")));
    assert_eq!(unavailable(&engine, ROUTE), "SecretNotFound");
    assert_eq!(
        keys(&gone),
        set(["Route shop/chat", "Credential shop/openai"])
    );
    assert_eq!(
        provider_condition(&engine, "ResolvedRefs").0,
        "False/SecretNotFound"
    );
    engine.apply(secret("sk-2"));
    assert_eq!(unavailable(&engine, ROUTE), "");
}

#[test]
fn a_rotation_is_one_small_resource() {
    let mut engine = whole();
    let before = config(&engine.built());
    let rotated = engine.apply(secret("sk-2"));
    assert_eq!(keys(&rotated), set(["Credential shop/openai"]));
    let after = config(&engine.built());
    let key = Key::new(Kind::Credential, "shop/openai");
    assert_ne!(
        before.resources[&key].version,
        after.resources[&key].version
    );
    assert!(after.resources[&key].body.len() < 64);
    assert_ne!(before.hash, after.hash);
}

#[test]
fn a_provider_follows_its_config_map() {
    let mut engine = whole();
    assert_eq!(engine.config_maps(), BTreeSet::from([id("shop/ca")]));
    let before = provider(&engine, "shop/openai").ca_pem;
    engine.apply(ca());
    assert_ne!(
        provider(&engine, "shop/openai").ca_pem,
        before,
        "another CA"
    );
    engine.apply(Change::ConfigMapGone(id("shop/ca")));
    assert_eq!(unavailable(&engine, ROUTE), "ConfigMapNotFound");
    assert_eq!(
        provider_condition(&engine, "ResolvedRefs").0,
        "False/ConfigMapNotFound"
    );
}

#[test]
fn a_route_follows_the_labels_of_its_namespace() {
    let mut engine = whole();
    engine.apply(Change::Provider(object(
        "shop/openai",
        2,
        openai("Selector"),
    )));
    engine.apply(Change::Route(object("blog/chat", 1, to("shop", "openai"))));
    assert_eq!(unavailable(&engine, "blog/chat"), "NotAllowed");
    let labels = Labels::from([("team".into(), "shop".into())]);
    let labelled = engine.apply(Change::Namespace("blog".into(), labels));
    assert_eq!(labelled.routes, BTreeSet::from([id("blog/chat")]));
    assert_eq!(unavailable(&engine, "blog/chat"), "");
    engine.apply(Change::Namespace("blog".into(), Labels::new()));
    assert_eq!(unavailable(&engine, "blog/chat"), "NotAllowed");
}

#[test]
fn a_route_follows_whom_its_provider_lets_in() {
    let mut engine = whole();
    engine.apply(Change::Route(object("blog/chat", 1, to("shop", "openai"))));
    assert_eq!(unavailable(&engine, "blog/chat"), "NotAllowed");
    engine.apply(Change::Provider(object("shop/openai", 2, openai("All"))));
    assert_eq!(unavailable(&engine, "blog/chat"), "");
}

#[test]
fn a_conflict_follows_the_pods() {
    let mut engine = whole();
    let selected = |app: &str, tier: &str| {
        let mut spec = to("shop", "openai");
        spec["workloadSelector"] = json!({"matchLabels": {app: tier}});
        spec
    };
    engine.apply(Change::Route(object("shop/a", 1, selected("app", "web"))));
    engine.apply(Change::Route(object(ROUTE, 2, selected("tier", "front"))));
    assert_eq!(route_condition(&engine, "Accepted").0, "True/Accepted");
    let both = pod("shop/web-1", &[("app", "web"), ("tier", "front")]);
    let came = engine.apply(Change::Pod(both));
    assert_eq!(came.routes, BTreeSet::from([id(ROUTE)]));
    let (accepted, message) = route_condition(&engine, "Accepted");
    assert_eq!(accepted, "False/Conflicted");
    assert!(message.contains("shop/a"), "{message}");
    engine.apply(Change::PodGone(id("shop/web-1")));
    assert_eq!(route_condition(&engine, "Accepted").0, "True/Accepted");
}

#[test]
fn a_conflict_ends_with_the_older_route() {
    let mut engine = whole();
    engine.apply(Change::Route(object("shop/a", 1, to("shop", "openai"))));
    assert_eq!(route_condition(&engine, "Accepted").0, "False/Conflicted");
    let gone = engine.apply(Change::RouteGone(id("shop/a")));
    assert_eq!(gone.routes, BTreeSet::from([id("shop/a"), id(ROUTE)]));
    assert_eq!(route_condition(&engine, "Accepted").0, "True/Accepted");
}

#[test]
fn a_provider_counts_the_routes_that_name_it() {
    let mut engine = whole();
    let routes = |engine: &Engine| {
        let facts = CredentialFacts::default();
        let status = engine.provider_status(&id("shop/openai"), None, &facts, now());
        status.expect("it is there")["summary"]["routes"].clone()
    };
    assert_eq!(routes(&engine), "1");
    let came = engine.apply(Change::Route(object("shop/code", 1, to("shop", "openai"))));
    assert_eq!(came.providers, BTreeSet::from([id("shop/openai")]));
    assert_eq!(routes(&engine), "2");
}

#[test]
fn what_concerns_every_sidecar_is_in_every_pod() {
    let mut engine = whole();
    let global = Global {
        log_level: "debug".into(),
        ..Global::default()
    };
    let set_ = engine.apply(Change::Global(global.clone()));
    assert_eq!(keys(&set_), set(["Global global"]));
    assert!(engine.apply(Change::Global(global)).is_empty());
    let bare = engine.built().for_pod(&pod("nobody/x", &[]));
    assert_eq!(bare.resources.len(), 1);
}
