//! Where a call can go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{DNS_LABEL, DNS_SUBDOMAIN, MODEL};

/// Where a call can go: a provider, and a model there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The target's name; absent: the provider's. Unique in the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = DNS_LABEL))]
    pub name: Option<String>,
    /// The `LLMProvider`.
    pub provider_ref: ProviderRef,
    /// The provider's model; absent: as requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = MODEL))]
    pub model: Option<String>,
    /// Its share among the targets of its priority; 0: none.
    #[serde(default = "default_weight")]
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
    /// Targets of a lower number go first.
    #[serde(default)]
    #[schemars(range(max = 15))]
    pub priority: u32,
}

/// Names an `LLMProvider`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ProviderRef {
    /// The provider's name.
    #[schemars(length(max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// Its namespace; absent: the route's. Another one must be let in by the
    /// provider's allowedNamespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = DNS_LABEL))]
    pub namespace: Option<String>,
}

fn default_weight() -> u32 {
    1
}

// -------------------------------------------------------------- impl Target

impl Target {
    /// Its own name, else the provider's.
    pub fn effective_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.provider_ref.name)
    }
}
