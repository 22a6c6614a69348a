//! How a call proves itself to the provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{DATA_KEY, DNS_SUBDOMAIN, rules};

/// A union: `type` says which member is set.
///
/// An absent `type` is judged by the operator: `SecretRef` where `secretRef` is
/// set, `None` for a provider of type `mock`, else refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "!has(self.type) || (self.type == 'SecretRef') == has(self.secretRef)",
    "auth.secretRef goes with type: SecretRef, and only with it: set both or remove secretRef",
)])))]
pub struct Auth {
    /// Where the credential comes from.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<AuthType>,
    /// With type `SecretRef`: the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Where the credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthType {
    /// A Secret of the provider's namespace, labelled llmroute.dev/credential=true.
    SecretRef,
    /// The caller's own key goes through.
    Passthrough,
    /// No credential.
    None,
}

/// A key of a Secret in the provider's namespace. The Secret must be labelled
/// llmroute.dev/credential=true: the operator sees no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// The key in its data.
    #[serde(default = "default_key")]
    #[schemars(length(max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

fn default_key() -> String {
    "api-key".to_owned()
}
