//! What a change does, and what outlives it.

use std::sync::Arc;

use http::HeaderMap;
use llmroute_protocol::{Held, Key, Kind, Outcome, Resource, ResourceRef, set_hash};

use crate::balance::{Outcome as Ended, Tried, pick};
use crate::table::fixture::{
    config, credential, delta, model, name_of, of_provider, of_route, open_provider, provider,
    route, rule, rule_for, snapshot, target,
};
use crate::table::{Change, Config, Rule};
use llmroute_protocol as proto;
use tokio::time::Instant;

fn found(config: &Config, model: &str) -> String {
    name_of(&config.table().find(model, &HeaderMap::new()))
}

fn chat() -> [Resource; 3] {
    [
        of_route(route("chat", [rule("any", [], [target("openai")])])),
        of_provider(provider("openai")),
        credential("openai", "sk-1"),
    ]
}

fn sent_key(rule: &Rule) -> Option<Vec<u8>> {
    let provider = rule.targets[0].provider.as_ref().expect("is there");
    let credential = provider.credential()?;
    Some(credential.header().as_bytes().to_vec())
}

#[test]
fn before_the_first_config_a_call_learns_that_there_is_none() {
    let config = config();
    assert_eq!(found(&config, "gpt"), "no config");
    assert!(config.applied().borrow().is_none());
    config.apply(snapshot([]));
    assert_eq!(found(&config, "gpt"), "no route");
    assert!(config.applied().borrow().is_some());
}

#[test]
fn a_snapshot_is_the_whole_and_each_resource_is_acknowledged_in_order() {
    let config = config();
    let results = config.apply(snapshot(chat()));
    let kinds: Vec<_> = results.iter().map(proto::Result::kind).collect();
    assert_eq!(kinds, [Kind::Route, Kind::Provider, Kind::Credential]);
    assert!(
        results.iter().all(|r| r.outcome() == Outcome::Ok),
        "{results:?}"
    );
    assert_eq!(found(&config, "gpt"), "shop/chat/any");

    config.apply(snapshot([of_provider(provider("openai"))]));
    assert_eq!(found(&config, "gpt"), "no route");
    assert_eq!(config.held().len(), 1);
}

#[test]
fn what_is_named_unchanged_stays_and_what_is_not_held_is_reported() {
    let config = config();
    config.apply(snapshot(chat()));
    let mut unchanged = config.held();
    unchanged.push(Held {
        kind: Kind::Route.into(),
        name: "shop/other".into(),
        version: "1".into(),
    });
    let results = config.apply(Change::Snapshot {
        resources: Vec::new(),
        unchanged,
    });
    assert_eq!(results.len(), 1, "{results:?}");
    assert_eq!(results[0].outcome(), Outcome::Error);
    assert_eq!(results[0].name, "shop/other");
    assert_eq!(found(&config, "gpt"), "shop/chat/any");
}

#[test]
fn requests_under_way_finish_on_the_old_table() {
    let config = config();
    config.apply(snapshot(chat()));
    let old = config.table();
    config.apply(Change::Delta {
        upserts: Vec::new(),
        removed: vec![ResourceRef {
            kind: Kind::Route.into(),
            name: "shop/chat".into(),
        }],
    });
    assert_eq!(found(&config, "gpt"), "no route");
    assert_eq!(
        name_of(&old.find("gpt", &HeaderMap::new())),
        "shop/chat/any"
    );
}

#[test]
fn a_rotated_key_replaces_no_table_and_calls_keep_the_one_they_began_with() {
    let config = config();
    config.apply(snapshot(chat()));
    let table = config.table();
    let rule = rule_for(&config, "gpt");
    let begun = rule.targets[0]
        .provider
        .as_ref()
        .and_then(|p| p.credential());
    config.apply(delta([credential("openai", "sk-2")]));
    assert!(
        Arc::ptr_eq(&table, &config.table()),
        "the table was rebuilt"
    );
    assert_eq!(sent_key(&rule), Some(b"Bearer sk-2".to_vec()));
    let begun = begun.expect("had a key");
    assert_eq!(begun.header().as_bytes(), b"Bearer sk-1");
}

#[test]
fn a_new_key_is_not_sent_to_the_old_address() {
    let config = config();
    config.apply(snapshot(chat()));
    let old = rule_for(&config, "gpt");
    let mut moved = provider("openai");
    moved.base_url = "http://127.0.0.1:10/v1".into();
    config.apply(delta([of_provider(moved), credential("openai", "sk-2")]));
    assert_eq!(sent_key(&old), Some(b"Bearer sk-1".to_vec()));
    let new = rule_for(&config, "gpt");
    assert_eq!(sent_key(&new), Some(b"Bearer sk-2".to_vec()));
}

#[test]
fn a_removed_key_is_used_no_more() {
    let config = config();
    config.apply(snapshot(chat()));
    config.apply(Change::Delta {
        upserts: Vec::new(),
        removed: vec![ResourceRef {
            kind: Kind::Credential.into(),
            name: "shop/openai".into(),
        }],
    });
    assert_eq!(sent_key(&rule_for(&config, "gpt")), None);
}

#[test]
fn a_bad_version_leaves_the_last_good_one_in_place() {
    let config = config();
    config.apply(snapshot(chat()));
    let good = config.held();
    let bad = of_route(route("chat", [rule("any", [], [])]));
    let results = config.apply(delta([bad.clone()]));
    assert_eq!(results[0].outcome(), Outcome::Error);
    assert_eq!(results[0].path, "spec.rules[0].targets");
    assert_eq!(found(&config, "gpt"), "shop/chat/any");
    assert_eq!(config.held(), good, "what serves is what is held");
    // Sent again, it is judged the same.
    assert_eq!(config.apply(delta([bad])), results);
}

#[test]
fn the_wanted_hash_is_over_what_was_sent_good_or_bad() {
    let config = config();
    config.apply(snapshot(chat()));
    let bad = of_route(route("chat", [rule("any", [], [])]));
    config.apply(delta([bad.clone()]));
    let [_, provider, key] = chat();
    let sent = [bad, provider, key];
    let keys: Vec<_> = sent
        .iter()
        .map(|r| (Key::new(r.kind(), r.name.clone()), r.version.clone()))
        .collect();
    let whole = set_hash(keys.iter().map(|(k, v)| (k, v.as_str())));
    assert_eq!(config.wanted_hash(), whole);
    let applied = config.applied().borrow().clone().expect("applied");
    assert_ne!(applied.hash, whole, "what serves is another set");
}

#[test]
fn a_refused_version_is_taken_back_by_naming_the_held_one() {
    let config = config();
    config.apply(snapshot(chat()));
    let held = config.held();
    let before = config.wanted_hash();
    config.apply(delta([of_route(route("chat", []))]));
    assert_ne!(config.wanted_hash(), before);
    let results = config.apply(Change::Snapshot {
        resources: Vec::new(),
        unchanged: held,
    });
    assert!(results.is_empty(), "{results:?}");
    assert_eq!(config.wanted_hash(), before);
}

#[test]
fn the_cached_resources_make_the_same_config_again() {
    let first = config();
    first.apply(snapshot(chat()));
    let second = config();
    second.apply(snapshot(first.resources()));
    assert_eq!(second.wanted_hash(), first.wanted_hash());
    assert_eq!(
        sent_key(&rule_for(&second, "gpt")),
        Some(b"Bearer sk-1".to_vec())
    );
}

#[test]
fn calls_under_way_are_counted_across_a_change_of_the_rule() {
    let config = config();
    let limited = |n, name: &str| {
        let mut rule = rule(name, [], [target("openai")]);
        rule.limits = Some(proto::Limits {
            max_body_bytes: 0,
            max_concurrent: n,
        });
        of_route(route("chat", [rule]))
    };
    config.apply(snapshot([
        limited(2, "any"),
        of_provider(provider("openai")),
    ]));
    let gate = rule_for(&config, "gpt").concurrency.clone();
    let _call = gate.expect("a limit").try_enter().expect("a place");
    config.apply(delta([limited(1, "any")]));
    let gate = rule_for(&config, "gpt").concurrency.clone();
    assert!(gate.expect("a limit").try_enter().is_none());
    // A refused version changes no limit either.
    config.apply(delta([of_route(route("chat", [rule("any", [], [])]))]));
    let gate = rule_for(&config, "gpt").concurrency.clone();
    assert_eq!(gate.expect("a limit").limit(), 1);
}

#[tokio::test(start_paused = true)]
async fn health_outlives_a_change_of_the_provider() {
    let config = config();
    let rule_of = |config: &Config| rule_for(config, "gpt");
    config.apply(snapshot([
        of_route(route("chat", [rule("any", [], [target("a")])])),
        of_provider(open_provider("a")),
    ]));
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..2 {
        let pick = pick(
            &rule_of(&config),
            "gpt",
            &mut Tried::default(),
            now,
            &mut rng,
        );
        pick.expect("a target").record(Ended::ServerError, now);
    }
    let mut changed = open_provider("a");
    changed.models = vec![model("gpt")];
    config.apply(delta([of_provider(changed)]));
    let pick = pick(
        &rule_of(&config),
        "gpt",
        &mut Tried::default(),
        now,
        &mut rng,
    );
    let model = pick.expect("the only one").model;
    assert!(model.listed);
    assert!(model.health().ejected_until(0, now).is_some());
}

#[test]
fn what_concerns_every_sidecar_is_told_when_it_changes() {
    let config = config();
    let mut global = config.global();
    let with = |level: &str| proto::Global {
        log_level: level.into(),
        ca_bundle_pem: String::new(),
    };
    let resource = |level| llmroute_protocol::Body::Global(with(level)).into_resource();
    config.apply(delta([resource("debug")]));
    assert!(global.has_changed().expect("the config lives"));
    assert_eq!(
        global.borrow_and_update().log_level.as_deref(),
        Some("debug")
    );
    config.apply(delta([resource("debug")]));
    assert!(!global.has_changed().expect("the config lives"));
    let results = config.apply(delta([resource("llmroute=loud")]));
    assert_eq!(results[0].outcome(), Outcome::Error, "{results:?}");
    assert_eq!(global.borrow().log_level.as_deref(), Some("debug"));
}

#[test]
fn credentials_tell_what_they_met_with() {
    let config = config();
    config.apply(snapshot(chat()));
    let news = config.credential_news();
    assert!(config.credential_states().is_empty());
    let now = Instant::now();
    let rule = rule_for(&config, "gpt");
    let mut rng = fastrand::Rng::with_seed(1);
    let pick = pick(&rule, "gpt", &mut Tried::default(), now, &mut rng).expect("a target");
    pick.record(Ended::Unauthorized, now);
    assert!(news.has_changed().expect("the config lives"));
    let states = config.credential_states();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].provider, "shop/openai");
    assert_eq!((states[0].rejected401, states[0].accepted), (1, false));
}

#[test]
fn no_secret_is_in_what_can_be_printed() {
    let config = config();
    let change = snapshot([
        of_route(route("chat", [rule("any", [], [target("openai")])])),
        of_provider(provider("openai")),
        credential("openai", "sk-planted"),
        credential("openai", "sk-planted\n"),
    ]);
    assert!(!format!("{change:?}").contains("planted"));
    let results = config.apply(change);
    assert!(!format!("{results:?}").contains("planted"), "{results:?}");
}
