//! A rule: what a call must be like, and where it then goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limits, Match, Retry, Target, Timeouts};
use crate::schema::{DNS_LABEL, rules};

/// What a call must be like, and where it then goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "self.targets.all(t, self.targets.exists_one(u, (has(u.name) ? u.name : u.providerRef.name) == (has(t.name) ? t.name : t.providerRef.name)))",
        "targets share a name (their own, else that of the provider): give each of them a name of its own",
    ),
    (
        "self.targets.exists(t, t.weight > 0)",
        "targets all have weight 0, so that nothing can be called: give one of them a weight of 1 or more",
    ),
])))]
pub struct Rule {
    /// The rule's name, unique in the route.
    #[schemars(length(max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// Any of these; none: the catch-all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<Match>,
    /// Where the call goes: the lowest priority number first.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub targets: Vec<Target>,
    /// How one of several targets of the same priority is picked.
    #[serde(default)]
    pub strategy: Strategy,
    /// When a call is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How long each part of a call may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What a call may be, and how many at once.
    #[serde(default)]
    pub limits: Limits,
}

/// How one of several targets of the same priority is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// By their weights.
    #[default]
    Weighted,
}
