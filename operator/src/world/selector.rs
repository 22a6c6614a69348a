//! A label selector, parsed once: matching it can't fail any more.

use std::collections::BTreeSet;

use llmroute_crds::{LabelSelector, Operator};
use serde::Deserialize;
use serde_json::Value;

use super::Labels;

/// Kubernetes' bounds of a label's key.
const MAX_PREFIX: usize = 253;
const MAX_NAME: usize = 63;
/// A key that is none is shown so far.
const MAX_SHOWN: usize = 64;

/// A conjunction of requirements; none selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(BTreeSet<Requirement>);

/// Why a `LabelSelector` selects nothing sensible. The CRD's own rules refuse
/// most of it; the keys of `matchLabels` are beyond them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `In` and `NotIn` need values.
    #[error("In and NotIn need at least one value")]
    NoValues,
    /// `Exists` and `DoesNotExist` take none.
    #[error("Exists and DoesNotExist take no values")]
    Values,
    /// No label can have this key.
    #[error(
        "no label can have the key {0:?}: use a label's key, such as app or app.kubernetes.io/name"
    )]
    Key(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
}

// ----------------------------------------------------------- impl Selector

impl Selector {
    /// Parses; the error comes with the member at fault, such as `matchExpressions[0]`.
    pub fn new(selector: &LabelSelector) -> Result<Self, (String, SelectorError)> {
        let mut all = BTreeSet::new();
        for (key, value) in &selector.match_labels {
            let values = BTreeSet::from([value.clone()]);
            let requirement = Requirement::new(key, Operator::In, values);
            all.insert(requirement.map_err(|error| ("matchLabels".to_owned(), error))?);
        }
        for (index, expression) in selector.match_expressions.iter().enumerate() {
            let values = expression.values.iter().cloned().collect();
            let requirement = Requirement::new(&expression.key, expression.operator, values);
            let member = || format!("matchExpressions[{index}]");
            all.insert(requirement.map_err(|error| (member(), error))?);
        }
        Ok(Self(all))
    }

    /// The requirements that can be read; the others are left out, which selects more.
    pub fn salvage(selector: &Value) -> Self {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| {
            let values = BTreeSet::from([value.as_str()?.to_owned()]);
            Requirement::new(key, Operator::In, values).ok()
        });
        let expressions = selector["matchExpressions"].as_array();
        let expressions = expressions.into_iter().flatten().filter_map(|expression| {
            let read = llmroute_crds::Requirement::deserialize(expression).ok()?;
            let values = read.values.into_iter().collect();
            Requirement::new(&read.key, read.operator, values).ok()
        });
        Self(labels.chain(expressions).collect())
    }

    /// Whether all requirements hold for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether whatever one of the two selects is selected by the other too,
    /// whichever pods there are: one asks for all that the other asks for.
    pub fn nested(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0) || other.0.is_subset(&self.0)
    }
}

// -------------------------------------------------------- impl Requirement

impl Requirement {
    fn new(key: &str, operator: Operator, values: BTreeSet<String>) -> Result<Self, SelectorError> {
        if !is_label_key(key) {
            return Err(SelectorError::Key(key.chars().take(MAX_SHOWN).collect()));
        }
        let key = key.to_owned();
        match (operator, values.is_empty()) {
            (Operator::In, false) => Ok(Self::In(key, values)),
            (Operator::NotIn, false) => Ok(Self::NotIn(key, values)),
            (Operator::Exists, true) => Ok(Self::Exists(key)),
            (Operator::DoesNotExist, true) => Ok(Self::DoesNotExist(key)),
            (Operator::In | Operator::NotIn, true) => Err(SelectorError::NoValues),
            (Operator::Exists | Operator::DoesNotExist, false) => Err(SelectorError::Values),
        }
    }

    fn matches(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// A name, which may have a DNS subdomain before it.
fn is_label_key(key: &str) -> bool {
    let ends = |text: &str, end: fn(&u8) -> bool| {
        let bytes = text.as_bytes();
        bytes.first().is_some_and(end) && bytes.last().is_some_and(end)
    };
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let lower = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_part = |part: &str| ends(part, lower) && part.bytes().all(|b| lower(&b) || b == b'-');
    let subdomain = |p: &str| p.len() <= MAX_PREFIX && p.split('.').all(is_part);
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    name.len() <= MAX_NAME
        && ends(name, u8::is_ascii_alphanumeric)
        && name.bytes().all(inner)
        && prefix.is_none_or(subdomain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selector(selector: Value) -> Result<Selector, (String, SelectorError)> {
        Selector::new(&serde_json::from_value(selector).expect("a LabelSelector"))
    }

    fn selects(text: Value, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        selector(text).expect("parses").matches(&labels.collect())
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(selects(json!({}), &[]));
        assert!(selects(json!({}), &[("app", "chat")]));
    }

    #[test]
    fn each_operator_means_what_kubernetes_means() {
        let one = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        for (text, chat, shop, none) in [
            (json!({"matchLabels": {"app": "chat"}}), true, false, false),
            (one("In", &["chat", "x"]), true, false, false),
            (one("NotIn", &["chat"]), false, true, true),
            (one("Exists", &[]), true, true, false),
            (one("DoesNotExist", &[]), false, false, true),
        ] {
            assert_eq!(
                selects(text.clone(), &[("app", "chat")]),
                chat,
                "{text} for chat"
            );
            assert_eq!(
                selects(text.clone(), &[("app", "shop")]),
                shop,
                "{text} for shop"
            );
            assert_eq!(
                selects(text.clone(), &[("tier", "chat")]),
                none,
                "{text} without"
            );
        }
    }

    #[test]
    fn a_selector_that_means_nothing_is_refused_with_its_place() {
        for (operator, values) in [("In", json!([])), ("Exists", json!(["a"]))] {
            let error = selector(json!({"matchExpressions": [
                {"key": "a", "operator": "Exists"},
                {"key": "app", "operator": operator, "values": values},
            ]}));
            let member = error.map_err(|(member, _)| member);
            assert_eq!(member, Err("matchExpressions[1]".to_owned()), "{operator}");
        }
    }

    #[test]
    fn a_key_that_no_label_can_have_is_refused_by_name() {
        let long = format!("{}/a", "a".repeat(MAX_PREFIX + 1));
        for key in [
            "", "a b", "-a", "a.", "/a", "a/", "a/b/c", "A.b/c", "a..b/c", &long,
        ] {
            let (member, error) = selector(json!({"matchLabels": {key: "x"}})).expect_err(key);
            assert_eq!(member, "matchLabels");
            let shown: String = key.chars().take(MAX_SHOWN).collect();
            assert_eq!(error, SelectorError::Key(shown));
        }
        for key in ["app", "App_v1.x-y", "app.kubernetes.io/name", "a-b.c/D"] {
            assert!(
                selector(json!({"matchLabels": {key: "x"}})).is_ok(),
                "{key}"
            );
        }
    }

    #[test]
    fn of_a_spoilt_selector_the_rest_holds() {
        let labels = |app: &str| Labels::from([("app".to_owned(), app.to_owned())]);
        let rest = Selector::salvage(&json!({
            "matchLabels": {"app": "chat", "tier": 5},
            "matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Like"}, 7],
        }));
        assert!(rest.matches(&labels("chat")) && !rest.matches(&labels("shop")));
        for spoilt in [
            json!(null),
            json!("app=chat"),
            json!({"matchLabels": ["app"]}),
        ] {
            assert_eq!(Selector::salvage(&spoilt), Selector::default(), "{spoilt}");
        }
    }

    #[test]
    fn nested_is_told_without_any_pod() {
        let parsed = |text| selector(text).expect("parses");
        let (all, chat) = (
            parsed(json!({})),
            parsed(json!({"matchLabels": {"app": "chat"}})),
        );
        let both = parsed(json!({"matchLabels": {"app": "chat", "tier": "a"}}));
        let tier = parsed(json!({"matchLabels": {"tier": "a"}}));
        assert!(all.nested(&chat) && chat.nested(&all) && both.nested(&chat));
        assert!(!tier.nested(&chat), "only some pod may carry both");
    }
}
