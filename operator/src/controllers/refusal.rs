//! What is wrong with an object, in the words of its CRD.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Such as `spec.rules[0].targets[1].model`.
    pub(super) path: String,
    /// What, and how to cure it.
    pub(super) message: String,
}

/// A reference that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// Of the condition `ResolvedRefs`.
    pub(super) reason: &'static str,
    /// Which, and how to cure it.
    pub(super) message: String,
}

// ------------------------------------------------------------ impl Refusal

impl Refusal {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Reads a `spec`; the refusal names the member that doesn't fit.
pub(super) fn read_spec<T: DeserializeOwned>(spec: &Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        Refusal::new(path, error.into_inner().to_string())
    })
}

/// Several refusals as one text: the first three, and how many more.
pub(super) fn told(refusals: &[Refusal]) -> String {
    joined(refusals.iter().map(Refusal::to_string), refusals.len())
}

/// The first three of `count` texts, and how many more there are.
pub(super) fn joined(texts: impl Iterator<Item = String>, count: usize) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = texts.take(SHOWN).collect();
    match count.saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use llmroute_crds::LLMRouteSpec;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_that_does_not_fit_is_refused_by_path() {
        let spec = json!({"rules": [{"name": "a", "targets": [{"providerRef": {"name": "p"}, "weight": "x"}]}]});
        let refusal = read_spec::<LLMRouteSpec>(&spec).expect_err("refused");
        assert_eq!(refusal.path, "spec.rules[0].targets[0].weight");
        let refusal = read_spec::<LLMRouteSpec>(&json!(null)).expect_err("refused");
        assert_eq!(refusal.path, "spec");
    }

    #[test]
    fn three_are_told_and_the_rest_counted() {
        let refusal = |n: usize| Refusal::new(format!("spec.a[{n}]"), "is wrong");
        let some: Vec<_> = (0..5).map(refusal).collect();
        assert!(
            told(&some).ends_with("spec.a[2]: is wrong; and 2 more"),
            "{}",
            told(&some)
        );
        assert_eq!(told(&some[..1]), "spec.a[0]: is wrong");
    }
}
