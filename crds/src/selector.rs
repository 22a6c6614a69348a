//! Which labels are meant: Kubernetes' label selector, with the bounds that its
//! own schema lacks.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::schema::{LABEL_KEY, LABEL_VALUE, rules};

/// Matches labels; all requirements together. Empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// What one label must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
    "values goes with operator: list at least one value for In and NotIn, and remove values for Exists and DoesNotExist",
)])))]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(max = 317), regex(pattern = LABEL_KEY))]
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// With `In` and `NotIn`: the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63), regex(pattern = LABEL_VALUE)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
    })
}

// ------------------------------------------------------- impl LabelSelector

impl LabelSelector {
    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

// --------------------------------------------------------- impl Requirement

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => !value.is_some_and(|v| self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector: LabelSelector = serde_yaml::from_str(selector).expect("a selector");
        let labels = labels
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        selector.matches(&labels)
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(selects("{}", &[]));
        assert!(selects("{}", &[("app", "web")]));
    }

    #[test]
    fn all_requirements_must_hold() {
        let selector =
            "{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: Exists}]}";
        assert!(selects(selector, &[("app", "web"), ("tier", "x")]));
        assert!(!selects(selector, &[("app", "web")]));
        assert!(!selects(selector, &[("app", "api"), ("tier", "x")]));
    }

    #[test]
    fn an_absent_label_satisfies_not_in_and_does_not_exist_only() {
        for (operator, expected) in [
            ("In", false),
            ("NotIn", true),
            ("Exists", false),
            ("DoesNotExist", true),
        ] {
            let values = if operator.ends_with("In") {
                "[a]"
            } else {
                "[]"
            };
            let selector =
                format!("matchExpressions: [{{key: k, operator: {operator}, values: {values}}}]");
            assert_eq!(selects(&selector, &[]), expected, "{operator}");
        }
    }
}
