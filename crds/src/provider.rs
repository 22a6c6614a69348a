//! `LLMProvider`: an account at a provider. Where it is, how to prove oneself to
//! it, what its models are called and cost, and who may send calls there.

mod access;
mod auth;
mod endpoint;
mod health;
mod model;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{PROVIDER_TYPE, rules};

pub use access::{AllowedNamespaces, From};
pub use auth::{Auth, AuthType, SecretRef};
pub use endpoint::{ConfigMapRef, Endpoint};
pub use health::Health;
pub use model::{Model, Price};
pub use status::{CredentialStatus, LLMProviderStatus, ProviderSummary};

/// The `type` of a provider that is in no catalog.
pub const TYPE_CUSTOM: &str = "custom";
/// The `type` of a provider that is answered inside the sidecar.
pub const TYPE_MOCK: &str = "mock";

/// An account at a provider: where, with which credential, at which prices, for whom.
#[allow(
    clippy::duplicated_attributes,
    reason = "each column is a list of its own to kube, and one list to the lint"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "llmroute.dev",
    version = "v1alpha1",
    kind = "LLMProvider",
    plural = "llmproviders",
    singular = "llmprovider",
    shortname = "llmp",
    category = "llm",
    namespaced,
    doc = "An account at a provider of models.",
    status = "LLMProviderStatus",
    derive = "PartialEq",
    label("app.kubernetes.io/part-of", "llmroute"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Routes",
        type_ = "string",
        json_path = ".status.summary.routes"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "self.type == oldSelf.type",
        "spec.type is immutable: create another LLMProvider of the new type and point the routes at it",
    ),
    (
        "self.type != 'custom' || has(self.dialect)",
        "spec.dialect is required for type custom: set it to OpenAI",
    ),
    (
        "self.type != 'custom' || (has(self.endpoint) && has(self.endpoint.baseURL))",
        "spec.endpoint.baseURL is required for type custom: set it to the https URL of the provider",
    ),
    (
        "self.type != 'mock' || !has(self.endpoint)",
        "spec.endpoint has no meaning for type mock, which is answered inside the sidecar: remove it",
    ),
    (
        "self.type != 'mock' || !has(self.dialect)",
        "spec.dialect has no meaning for type mock, which is answered inside the sidecar: remove it",
    ),
    (
        "self.type != 'mock' || !has(self.auth) || (!has(self.auth.secretRef) && (!has(self.auth.type) || self.auth.type == 'None'))",
        "spec.auth of type mock can only be None: remove it",
    ),
])))]
pub struct LLMProviderSpec {
    /// A provider of the operator's catalog, such as `openai`; or `custom`, or
    /// `mock`, which is answered inside the sidecar and needs no key. Immutable.
    #[serde(rename = "type")]
    #[schemars(length(max = 63), regex(pattern = PROVIDER_TYPE))]
    pub type_: String,
    /// How the provider is spoken to. Required for `custom`, else from the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// Where the provider is. Required for `custom`, else from the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// How a call proves itself to the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Models over those of the catalog; the others stay usable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub models: Vec<Model>,
    /// When a sidecar stops trying it for a while.
    #[serde(default)]
    pub health: Health,
    /// Routes of which namespaces may name it.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
}

/// The shape of what a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dialect {
    /// OpenAI's: chat completions, completions, embeddings, responses.
    OpenAI,
}
