//! What the operator says about an `LLMRoute`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Rejections that a status keeps as samples.
pub const MAX_REJECTIONS: usize = 5;

/// What the operator says about the route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LLMRouteStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What holds of it: `Accepted`, `ResolvedRefs`, `Programmed`, `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How many sidecars use which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane: Option<Dataplane>,
    /// Texts for the columns of `kubectl get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<RouteSummary>,
    /// Samples of what sidecars refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub rejections: Vec<Rejection>,
}

/// Counts over the connected sidecars of pods that the route selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dataplane {
    /// Connected.
    #[schemars(range(max = 1_000_000))]
    pub connected: u32,
    /// Of them: use this version.
    #[schemars(range(max = 1_000_000))]
    pub acked: u32,
    /// Of them: refused it.
    #[schemars(range(max = 1_000_000))]
    pub rejected: u32,
    /// Of them: haven't acknowledged it 30 s after the push.
    #[schemars(range(max = 1_000_000))]
    pub stale: u32,
    /// The version that was pushed.
    #[schemars(length(max = 128))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RouteSummary {
    /// The models that it matches, shortened.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub models: String,
    /// How many sidecars use this version, of how many: `3/3`.
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sidecars: String,
}

/// A sample of what a sidecar refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// The pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// The rule, where one is meant.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Where in the object: `spec.rules[0].targets[1].model`.
    #[schemars(length(max = 256))]
    pub path: String,
    /// What is wrong there.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When.
    #[schemars(schema_with = "schema::time_of")]
    pub time: Time,
}
