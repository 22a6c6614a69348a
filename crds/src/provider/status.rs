//! What the operator says about an `LLMProvider`. Never secret data.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the operator says about the provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LLMProviderStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What holds of it: `Accepted`, `ResolvedRefs`, `CredentialsReady`, `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The credential in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialStatus>,
    /// Texts for the columns of `kubectl get`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<ProviderSummary>,
}

/// The credential in use, recognisable and not usable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CredentialStatus {
    /// The first 8 hex digits of its SHA-256.
    #[schemars(length(max = 8), regex(pattern = schema::HASH8))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash8: String,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time_of")]
    pub rotated_at: Option<Time>,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProviderSummary {
    /// How many routes name it.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub routes: String,
}
