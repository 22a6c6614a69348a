//! `LLMRoute`: which pods may call which models, and where each call goes.

mod limits;
mod matches;
mod retry;
mod rule;
mod status;
mod target;
mod timeouts;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LabelSelector;

pub use limits::Limits;
pub use matches::{HeaderMatch, HeaderMatchType, Match};
pub use retry::{Backoff, Retry, RetryOn};
pub use rule::{Rule, Strategy};
pub use status::{Dataplane, LLMRouteStatus, MAX_REJECTIONS, Rejection, RouteSummary};
pub use target::{ProviderRef, Target};
pub use timeouts::Timeouts;

/// Which pods may call which models, and where each call goes.
#[allow(
    clippy::duplicated_attributes,
    reason = "each column is a list of its own to kube, and one list to the lint"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "llmroute.dev",
    version = "v1alpha1",
    kind = "LLMRoute",
    plural = "llmroutes",
    singular = "llmroute",
    shortname = "llmr",
    category = "llm",
    namespaced,
    doc = "Which pods may call which models, and where each call goes.",
    status = "LLMRouteStatus",
    derive = "PartialEq",
    label("app.kubernetes.io/part-of", "llmroute"),
    printcolumn(
        name = "Models",
        type_ = "string",
        json_path = ".status.summary.models"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(
        name = "Sidecars",
        type_ = "string",
        json_path = ".status.summary.sidecars"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct LLMRouteSpec {
    /// The pods of this namespace that may call; empty: every injected one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_selector: Option<LabelSelector>,
    /// What a call must be like, and where it then goes. The most specific rule wins.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub rules: Vec<Rule>,
}
