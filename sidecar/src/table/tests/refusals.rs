//! What is refused, where it says it was, and what then answers.

use http::HeaderMap;
use llmroute_protocol as proto;
use llmroute_protocol::{Kind, Outcome, Resource};
use prost::Message;

use crate::table::Config;
use crate::table::fixture::{
    config, credential, delta, model, name_of, of_provider, of_route, open_provider, provider,
    route, rule, rule_for, snapshot, target,
};

fn found(config: &Config, model: &str) -> String {
    name_of(&config.table().find(model, &HeaderMap::new()))
}

/// Outcome and path of the last of `resources`, applied together.
fn judged(resources: impl IntoIterator<Item = Resource>) -> (Outcome, String) {
    let results = config().apply(snapshot(resources));
    let last = results.last().expect("one a resource");
    (last.outcome(), last.path.clone())
}

fn route_with(change: impl FnOnce(&mut proto::Rule)) -> Resource {
    let mut rule = rule("any", ["gpt"], [target("a"), target("b")]);
    change(&mut rule);
    of_route(route("chat", [rule]))
}

#[test]
fn a_refused_route_names_the_field_of_the_object() {
    type Break = fn(&mut proto::Rule);
    let cases: [(&str, Break); 9] = [
        ("spec.rules[0].name", |r| r.name.clear()),
        ("spec.rules[0].targets", |r| r.targets.clear()),
        ("spec.rules[0].targets[1].name", |r| {
            r.targets[1].name = "a".into();
        }),
        ("spec.rules[0].targets[1].model", |r| {
            r.targets[1].model = "a\nb".into();
        }),
        ("spec.rules[0].matches[0].models[1]", |r| {
            r.matches[0].models.push("g*t".into());
        }),
        ("spec.rules[0].matches[0].models[1]", |r| {
            r.matches[0].models.push(String::new());
        }),
        ("spec.rules[0].matches[0].headers[0].name", |r| {
            r.matches[0].headers.push(proto::HeaderMatch {
                name: "not a name".into(),
                ..Default::default()
            });
        }),
        ("spec.rules[0].matches[0].headers[0].type", |r| {
            r.matches[0].headers.push(proto::HeaderMatch {
                name: "x-team".into(),
                value: "a".into(),
                r#type: 77,
            });
        }),
        ("spec.rules[0].targets", |r| {
            r.targets = (0..17).map(|i| target(&format!("t{i}"))).collect();
        }),
    ];
    for (path, spoil) in cases {
        assert_eq!(judged([route_with(spoil)]), (Outcome::Error, path.into()));
    }
    let twice = || rule("any", ["gpt"], [target("a")]);
    let double = of_route(route("chat", [twice(), twice()]));
    assert_eq!(
        judged([double]),
        (Outcome::Error, "spec.rules[1].name".into())
    );
    let empty = of_route(route("chat", []));
    assert_eq!(judged([empty]), (Outcome::Error, "spec.rules".into()));
}

#[test]
fn a_refused_provider_names_the_field_of_the_object() {
    type Break = fn(&mut proto::Provider);
    let cases: [(&str, Break); 9] = [
        ("spec.dialect", |p| p.dialect = 77),
        ("spec.endpoint.baseURL", |p| p.base_url = "not a url".into()),
        ("spec.endpoint.baseURL", |p| {
            p.base_url = "https://user:word@host/v1".into();
        }),
        ("spec.endpoint.caBundleRef", |p| {
            p.base_url = "https://host/v1".into();
            p.ca_pem = "nonsense".into();
        }),
        ("spec.auth.type", |p| {
            p.auth.get_or_insert_default().r#type = 77;
        }),
        ("spec.auth", |p| {
            p.auth.get_or_insert_default().header = "a b".into();
        }),
        ("spec.models[1].name", |p| p.models.push(model("gpt"))),
        ("spec.models[0].upstreamName", |p| {
            p.models[0].upstream_name = "a\r\nb".into();
        }),
        ("spec.models[0].price", |p| {
            p.models[0].price = Some(proto::Price::default());
        }),
    ];
    for (path, spoil) in cases {
        let mut provider = provider("openai");
        spoil(&mut provider);
        assert_eq!(
            judged([of_provider(provider)]),
            (Outcome::Error, path.into())
        );
    }
}

#[test]
fn what_a_newer_operator_adds_is_passed_over_where_that_is_safe() {
    let unknown_kind = Resource {
        kind: 77,
        name: "shop/x".into(),
        ..Resource::default()
    };
    let results = config().apply(snapshot([unknown_kind]));
    assert_eq!(results[0].outcome(), Outcome::Warn);
    assert_eq!((results[0].kind, &*results[0].name), (77, "shop/x"));

    let both = || [of_provider(provider("a")), of_provider(provider("b"))];
    let strategy = route_with(|r| r.strategy = 2);
    let path = "spec.rules[0].strategy";
    assert_eq!(
        judged(both().into_iter().chain([strategy])),
        (Outcome::Warn, path.into())
    );
    let cause = route_with(|r| {
        r.retry = Some(proto::Retry {
            on: vec![proto::RetryOn::Timeout.into(), 6],
            ..Default::default()
        });
    });
    let path = "spec.rules[0].retry.on[1]";
    assert_eq!(
        judged(both().into_iter().chain([cause])),
        (Outcome::Warn, path.into())
    );
    let many = route_with(|r| {
        r.retry = Some(proto::Retry {
            attempts: 1_000_000,
            ..Default::default()
        });
    });
    let path = "spec.rules[0].retry.attempts";
    assert_eq!(
        judged(both().into_iter().chain([many])),
        (Outcome::Warn, path.into())
    );
    let mut quirky = provider("openai");
    quirky.quirks = vec![99];
    assert_eq!(
        judged([of_provider(quirky)]),
        (Outcome::Warn, "spec.type".into())
    );
}

#[test]
fn a_target_that_leads_nowhere_is_skipped_with_a_warning() {
    let with_model = |name: &str| {
        let mut target = target("a");
        target.model = name.into();
        of_route(route("chat", [rule("any", [], [target])]))
    };
    assert_eq!(
        judged([with_model("")]),
        (Outcome::Warn, "spec.rules[0].targets[0].providerRef".into())
    );
    assert_eq!(
        judged([of_provider(provider("a")), with_model("gtp")]),
        (Outcome::Warn, "spec.rules[0].targets[0].model".into())
    );
    // The operator knows already, and says why.
    let mut told = target("a");
    told.unavailable = "ProviderNotFound".into();
    let known = of_route(route("chat", [rule("any", [], [told])]));
    assert_eq!(judged([known]), (Outcome::Ok, String::new()));
}

#[test]
fn a_target_is_linked_whichever_of_the_two_came_first() {
    let config = config();
    config.apply(snapshot([of_route(route(
        "chat",
        [rule("any", [], [target("a")])],
    ))]));
    assert!(rule_for(&config, "gpt").targets[0].provider.is_none());
    config.apply(delta([of_provider(provider("a"))]));
    assert!(rule_for(&config, "gpt").targets[0].provider.is_some());
}

#[test]
fn the_matches_of_a_route_that_was_never_good_answer_with_an_error() {
    let config = config();
    let broad = of_route(route("broad", [rule("any", [], [target("a")])]));
    let bad = of_route(route("exact", [rule("one", ["gpt", "o*"], [])]));
    config.apply(snapshot([broad, bad, of_provider(open_provider("a"))]));
    assert_eq!(found(&config, "gpt"), "poisoned shop/exact");
    assert_eq!(found(&config, "o3"), "poisoned shop/exact");
    assert_eq!(found(&config, "claude"), "shop/broad/any");
    // Cured, and then broken again: the cure serves on.
    let good = of_route(route("exact", [rule("one", ["gpt"], [target("a")])]));
    config.apply(delta([good]));
    assert_eq!(found(&config, "gpt"), "shop/exact/one");
    assert_eq!(found(&config, "o3"), "shop/broad/any");
    config.apply(delta([of_route(route("exact", []))]));
    assert_eq!(found(&config, "gpt"), "shop/exact/one");
}

#[test]
fn a_bad_match_is_poisoned_as_far_as_it_can_be_read() {
    let config = config();
    let broad = of_route(route("broad", [rule("any", [], [target("a")])]));
    let bad = of_route(route("bad", [rule("one", ["gpt-*-mini"], [target("a")])]));
    config.apply(snapshot([broad, bad, of_provider(open_provider("a"))]));
    assert_eq!(found(&config, "gpt-4-mini"), "poisoned shop/bad");
    assert_eq!(found(&config, "o3"), "shop/broad/any");
}

#[test]
fn a_body_that_is_spoilt_elsewhere_still_poisons_its_matches() {
    let config = config();
    let broad = of_route(route("broad", [rule("any", [], [target("a")])]));
    let mut bad = of_route(route("bad", [rule("one", ["gpt"], [target("a")])]));
    // The provider's name is no longer UTF-8.
    let at = bad
        .body
        .windows(6)
        .position(|w| w == b"shop/a")
        .expect("is named");
    let mut body = bad.body.to_vec();
    body[at] = 0xff;
    assert!(proto::Route::decode(&*body).is_err());
    bad.body = body.into();
    let results = config.apply(snapshot([broad, bad, of_provider(open_provider("a"))]));
    assert_eq!(results[1].outcome(), Outcome::Error);
    assert_eq!(found(&config, "gpt"), "poisoned shop/bad");
    assert_eq!(found(&config, "o3"), "shop/broad/any");
}

#[test]
fn a_body_that_can_not_be_read_at_all_takes_no_other_route_down() {
    let config = config();
    let exact = of_route(route("exact", [rule("one", ["gpt"], [target("a")])]));
    let garbage = Resource {
        kind: Kind::Route.into(),
        name: "shop/garbage".into(),
        version: "1".into(),
        body: b"\xff\xff\xff".as_slice().into(),
    };
    let results = config.apply(snapshot([exact, garbage, of_provider(open_provider("a"))]));
    assert_eq!(results[1].outcome(), Outcome::Error);
    assert_eq!(found(&config, "gpt"), "shop/exact/one");
    // A call that nobody else takes may have been its own.
    assert_eq!(found(&config, "o3"), "poisoned shop/garbage");
}

#[test]
fn a_body_under_another_name_is_refused() {
    let mut moved = credential("openai", "sk-1");
    moved.name = "shop/other".into();
    assert_eq!(judged([moved]), (Outcome::Error, "metadata.name".into()));
}

#[test]
fn a_bad_credential_leaves_the_last_good_one_in_place() {
    let config = config();
    config.apply(snapshot([
        of_route(route("chat", [rule("any", [], [target("openai")])])),
        of_provider(provider("openai")),
        credential("openai", "sk-1"),
    ]));
    let results = config.apply(delta([credential("openai", "sk-2\n")]));
    assert_eq!(results[0].outcome(), Outcome::Error);
    assert_eq!(results[0].path, "spec.auth.secretRef");
    let rule = rule_for(&config, "gpt");
    let provider = rule.targets[0].provider.as_ref().expect("is there");
    let key = provider.credential().expect("has a key");
    assert_eq!(key.header().as_bytes(), b"Bearer sk-1");
}

#[test]
fn an_endless_wait_is_cut_to_a_long_one() {
    let config = config();
    let timeouts = proto::Timeouts {
        request_ms: u64::MAX,
        ..proto::Timeouts::default()
    };
    let mut rule = rule("any", [], [target("a")]);
    rule.timeouts = Some(timeouts);
    config.apply(snapshot([
        of_route(route("chat", [rule])),
        of_provider(open_provider("a")),
    ]));
    let timeouts = rule_for(&config, "gpt").timeouts;
    assert_eq!(timeouts.request.as_secs(), 7 * 24 * 3600);
    assert_eq!(timeouts.connect.as_secs(), 3, "0 says nothing");
    let _ = tokio::time::Instant::now() + timeouts.request;
}

#[test]
fn several_warnings_are_told_as_one_and_counted() {
    let two = of_route(route("chat", [rule("any", [], [target("a"), target("b")])]));
    let results = config().apply(snapshot([two]));
    assert_eq!(results[0].outcome(), Outcome::Warn);
    assert!(results[0].message.ends_with("(and 1 more)"), "{results:?}");
    assert_eq!(results[0].path, "spec.rules[0].targets[0].providerRef");
}
