//! Which rule wins.

use http::{HeaderMap, HeaderName, HeaderValue};
use llmroute_protocol as proto;
use llmroute_protocol::Resource;
use proptest::prelude::*;

use crate::table::fixture::{
    config, model, name_of, of_provider, of_route, open_provider, provider, route, rule, snapshot,
    target,
};

const HEADERS: [&str; 2] = ["x-team", "x-tier"];

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).expect("a value");
        (HeaderName::from_static(name), value)
    };
    pairs.iter().map(pair).collect()
}

fn header(name: &str, value: &str, prefix: bool) -> proto::HeaderMatch {
    let r#type = if prefix {
        proto::header_match::Type::Prefix
    } else {
        proto::header_match::Type::Exact
    };
    proto::HeaderMatch {
        name: name.into(),
        value: value.into(),
        r#type: r#type.into(),
    }
}

fn matching(name: &str, matches: Vec<proto::Match>) -> proto::Rule {
    proto::Rule {
        matches,
        ..rule(name, [], [target("a")])
    }
}

fn one(models: &[&str], headers: Vec<proto::HeaderMatch>) -> proto::Match {
    proto::Match {
        models: models.iter().map(|m| (*m).to_owned()).collect(),
        headers,
    }
}

fn find(resources: Vec<Resource>, model: &str, headers: &HeaderMap) -> String {
    let config = config();
    config.apply(snapshot(resources));
    name_of(&config.table().find(model, headers))
}

#[test]
fn the_most_specific_match_wins_whatever_the_order() {
    let mut rules = vec![
        matching("catch-all", vec![]),
        matching("star", vec![one(&["*"], vec![])]),
        matching("short", vec![one(&["gpt-*"], vec![])]),
        matching("long", vec![one(&["gpt-4*"], vec![])]),
        matching("suffix", vec![one(&["*-4-mini"], vec![])]),
        matching("exact", vec![one(&["gpt-4"], vec![])]),
        matching(
            "team",
            vec![one(&["gpt-4"], vec![header("x-team", "a", false)])],
        ),
        matching(
            "both",
            vec![one(
                &["gpt-4"],
                vec![header("x-team", "a", false), header("x-tier", "g", true)],
            )],
        ),
    ];
    for _ in 0..2 {
        let find = |model, pairs: &[(&'static str, &str)]| {
            find(
                vec![of_route(route("r", rules.clone()))],
                model,
                &headers(pairs),
            )
        };
        assert_eq!(find("gpt-4", &[]), "shop/r/exact");
        assert_eq!(find("gpt-4", &[("x-team", "a")]), "shop/r/team");
        assert_eq!(find("gpt-4", &[("x-team", "ab")]), "shop/r/exact");
        assert_eq!(
            find("gpt-4", &[("x-tier", "gold"), ("x-team", "a")]),
            "shop/r/both"
        );
        assert_eq!(find("gpt-4o", &[]), "shop/r/long");
        assert_eq!(find("gpt-5", &[]), "shop/r/short");
        assert_eq!(find("gpt-4-mini", &[]), "shop/r/suffix");
        assert_eq!(find("claude", &[]), "shop/r/star");
        rules.reverse();
    }
}

#[test]
fn without_a_catch_all_an_unmatched_model_is_unknown() {
    let only = of_route(route("r", [rule("one", ["gpt"], [target("a")])]));
    assert_eq!(find(vec![only], "gpt4", &HeaderMap::new()), "unknown model");
}

#[test]
fn an_identical_match_belongs_to_the_older_object_then_to_the_lesser_name() {
    let aged = |name: &str, created| {
        let route = route(name, [rule("one", ["gpt"], [target("a")])]);
        of_route(proto::Route {
            created_unix_ms: created,
            ..route
        })
    };
    let none = HeaderMap::new();
    let young_first = vec![aged("a", 2), aged("b", 1)];
    assert_eq!(find(young_first, "gpt", &none), "shop/b/one");
    let same_age = vec![aged("b", 1), aged("a", 1)];
    assert_eq!(find(same_age, "gpt", &none), "shop/a/one");
}

#[test]
fn any_of_several_header_lines_may_match() {
    let team = matching("team", vec![one(&[], vec![header("X-Team", "b", false)])]);
    let mut lines = headers(&[("x-team", "a")]);
    lines.append("x-team", HeaderValue::from_static("b"));
    let found = find(vec![of_route(route("r", [team]))], "gpt", &lines);
    assert_eq!(found, "shop/r/team");
}

#[test]
fn the_list_of_models_expands_wildcards_by_what_their_targets_list() {
    let config = config();
    let mut two = provider("two");
    two.models = vec![model("gpt-4"), model("gpt-5"), model("o3")];
    let mut fixed = target("two");
    fixed.model = "o3".into();
    config.apply(snapshot([
        of_provider(two),
        of_provider(open_provider("open")),
        of_route(route(
            "r",
            [
                rule("exact", ["mine"], [fixed.clone()]),
                rule("wild", ["gpt-*"], [target("two"), target("open")]),
            ],
        )),
    ]));
    let models = config.table().models();
    assert_eq!(models, ["gpt-4", "gpt-5", "mine"].map(Box::from));
    config.apply(crate::table::fixture::delta([of_route(route(
        "all",
        [rule("any", [], [fixed])],
    ))]));
    let models = config.table().models();
    assert_eq!(models, ["gpt-4", "gpt-5", "mine", "o3"].map(Box::from));
}

// ---------------------------------------------------------------- properties

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]{1,2}",
        "[ab]{0,2}".prop_map(|p| format!("{p}*")),
        "[ab]{0,2}".prop_map(|p| format!("*{p}")),
    ]
}

fn any_match() -> impl Strategy<Value = proto::Match> {
    let header = (0..HEADERS.len(), "[xy]{0,2}", any::<bool>())
        .prop_map(|(i, value, prefix)| header(HEADERS[i], &value, prefix));
    (
        prop::collection::vec(pattern(), 0..3),
        prop::collection::vec(header, 0..3),
    )
        .prop_map(|(models, headers)| proto::Match { models, headers })
}

fn any_route() -> impl Strategy<Value = proto::Route> {
    let matches = prop::collection::vec(any_match(), 0..3);
    (prop::collection::vec(matches, 1..4), 0_i64..3).prop_map(|(rules, created)| proto::Route {
        created_unix_ms: created,
        ..route(
            "unnamed",
            rules
                .into_iter()
                .enumerate()
                .map(|(i, matches)| matching(&i.to_string(), matches)),
        )
    })
}

fn any_call() -> impl Strategy<Value = (String, HeaderMap)> {
    let pairs = prop::collection::vec((0..HEADERS.len(), "[xy]{0,3}"), 0..3);
    ("[ab]{0,3}", pairs).prop_map(|(model, pairs)| {
        let mut headers = HeaderMap::new();
        for (i, value) in pairs {
            let value = HeaderValue::from_str(&value).expect("a value");
            headers.append(HEADERS[i], value);
        }
        (model, headers)
    })
}

/// The rules of kinds.md once more, by looking at everything.
fn by_hand(routes: &[proto::Route], model: &str, headers: &HeaderMap) -> String {
    let takes = |m: &proto::HeaderMatch| {
        let prefix = m.r#type() == proto::header_match::Type::Prefix;
        headers.get_all(&m.name).iter().any(|v| {
            let (v, wanted) = (v.as_bytes(), m.value.as_bytes());
            v == wanted || (prefix && v.starts_with(wanted))
        })
    };
    let rank = |pattern: &str| match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(p), _) => model.starts_with(p).then_some((1, p.len())),
        (None, Some(s)) => model.ends_with(s).then_some((1, s.len())),
        (None, None) => (pattern == model).then_some((2, 0)),
    };
    let mut routes: Vec<_> = routes.iter().collect();
    routes.sort_by_key(|r| (r.created_unix_ms, r.name.clone()));
    let mut best: Option<((usize, usize, usize), String)> = None;
    for route in routes {
        for rule in &route.rules {
            let name = format!("shop/{}/{}", route.name, rule.name);
            let mut ranks = Vec::new();
            if rule.matches.is_empty() {
                ranks.push((0, 0, 0));
            }
            for m in rule.matches.iter().filter(|m| m.headers.iter().all(takes)) {
                let n = m.headers.len();
                if m.models.is_empty() {
                    ranks.push((n.min(1), 0, n));
                }
                let models = m.models.iter().filter_map(|p| rank(p));
                ranks.extend(models.map(|(class, len)| (class, len, n)));
            }
            for rank in ranks {
                if best.as_ref().is_none_or(|(b, _)| rank > *b) {
                    best = Some((rank, name.clone()));
                }
            }
        }
    }
    best.map_or_else(|| "unknown model".to_owned(), |(_, name)| name)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matching_is_the_rules_applied_to_what_is_held_and_no_order_of_arrival_changes_it(
        routes in prop::collection::vec(any_route(), 1..4),
        calls in prop::collection::vec(any_call(), 1..8),
        turn in 0_usize..4,
    ) {
        let routes: Vec<_> = routes
            .into_iter()
            .enumerate()
            .map(|(i, route)| proto::Route { name: format!("r{i}"), ..route })
            .collect();
        let mut resources: Vec<_> = routes.iter().cloned().map(of_route).collect();
        let whole = config();
        whole.apply(snapshot(resources.clone()));
        let turn = turn % resources.len();
        resources.rotate_left(turn);
        let piecemeal = config();
        for resource in resources {
            piecemeal.apply(crate::table::fixture::delta([resource]));
        }
        for (model, headers) in calls {
            let expected = by_hand(&routes, &model, &headers);
            prop_assert_eq!(&name_of(&whole.table().find(&model, &headers)), &expected);
            prop_assert_eq!(&name_of(&piecemeal.table().find(&model, &headers)), &expected);
        }
    }
}
