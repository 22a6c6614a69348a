//! Whom a refused route concerns, read from the object as it came: one member of
//! the wrong shape must not hide the others. It judges nothing.
//!
//! Where a part of a match can't be read the rest holds, which makes it wider.
//! Where nothing of a match can be read it is left out: a bad object never takes
//! every call for its own.

use llmroute_protocol::header_match::Type;
use llmroute_protocol::{HeaderMatch, Match, Rule};
use serde_json::Value;

use crate::world::Selector;

/// The pods; those of the whole namespace where the selector can't be read.
pub(super) fn selector(spec: &Value) -> Selector {
    Selector::salvage(&spec["workloadSelector"])
}

/// The rules with their matches and nothing else.
pub(super) fn rules(spec: &Value) -> Vec<Rule> {
    items(&spec["rules"]).filter_map(rule).collect()
}

fn rule(rule: &Value) -> Option<Rule> {
    let matches = match rule.as_object()?.get("matches") {
        None | Some(Value::Null) => Vec::new(),
        Some(written) => {
            let read: Vec<_> = items(written).filter_map(match_).collect();
            let every_call = written.as_array().is_some_and(Vec::is_empty);
            if read.is_empty() && !every_call {
                return None;
            }
            read
        }
    };
    Some(Rule {
        name: rule["name"].as_str().unwrap_or_default().to_owned(),
        matches,
        ..Rule::default()
    })
}

fn match_(match_: &Value) -> Option<Match> {
    let members = match_.as_object()?;
    let models: Vec<_> = items(&match_["models"]).filter_map(Value::as_str).collect();
    let headers: Vec<_> = items(&match_["headers"]).filter_map(header).collect();
    let says = |member: &str| members.get(member).is_some_and(|m| *m != empty(m));
    let lost = says("models") && models.is_empty()
        || models.is_empty() && headers.is_empty() && says("headers");
    (!lost).then(|| Match {
        models: models.into_iter().map(str::to_owned).collect(),
        headers,
    })
}

fn header(header: &Value) -> Option<HeaderMatch> {
    let type_ = match &header["type"] {
        Value::Null => Type::Exact,
        Value::String(name) if name == "Exact" => Type::Exact,
        Value::String(name) if name == "Prefix" => Type::Prefix,
        _ => return None,
    };
    Some(HeaderMatch {
        name: header["name"].as_str()?.to_ascii_lowercase(),
        value: header["value"].as_str()?.to_owned(),
        r#type: type_.into(),
    })
}

/// None where it is no list.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// What says as little as an absent member.
fn empty(member: &Value) -> Value {
    match member {
        Value::Array(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(rule: &Value) -> Option<Vec<Match>> {
        let read = rules(&json!({"rules": [rule]}));
        read.into_iter().next().map(|rule| rule.matches)
    }

    #[test]
    fn what_is_spoilt_elsewhere_still_says_what_it_matches() {
        let header = json!({"name": "X-Team", "value": "a", "type": "Prefix"});
        let read = matches(&json!({
            "name": 7,
            "matches": [{"models": ["chat", 5], "headers": [header, {"name": "x"}, "y"]}],
            "timeouts": {"request": "banana"},
            "targets": "none",
        }));
        let read = read.expect("a rule");
        assert_eq!(read[0].models, ["chat"]);
        assert_eq!(read[0].headers.len(), 1);
        assert_eq!(read[0].headers[0].name, "x-team");
        assert_eq!(read[0].headers[0].r#type(), Type::Prefix);
    }

    #[test]
    fn a_rule_that_is_for_every_call_stays_so() {
        for rule in [json!({}), json!({"matches": null}), json!({"matches": []})] {
            assert_eq!(matches(&rule), Some(Vec::new()), "{rule}");
        }
        for match_ in [json!({}), json!({"models": []}), json!({"headers": null})] {
            let read = matches(&json!({"matches": [match_]}));
            assert_eq!(read, Some(vec![Match::default()]), "{match_}");
        }
    }

    #[test]
    fn what_cannot_be_read_never_becomes_every_call() {
        for rule in [
            json!("x"),
            json!({"matches": "x"}),
            json!({"matches": ["x"]}),
            json!({"matches": [{"models": "chat"}]}),
            json!({"matches": [{"models": [5]}]}),
            json!({"matches": [{"headers": ["x"]}]}),
            json!({"matches": [{"headers": [{"name": "x", "value": "y", "type": "Regex"}]}]}),
        ] {
            assert_eq!(matches(&rule), None, "{rule}");
        }
        for spec in [json!(null), json!("x"), json!({"rules": {"a": 1}})] {
            assert!(rules(&spec).is_empty(), "{spec}");
        }
    }
}
