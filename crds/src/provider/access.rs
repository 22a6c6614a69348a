//! Who may name a provider: the handshake, instead of a kind for grants.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LabelSelector, schema::rules};

/// Routes of which namespaces may name the provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "(self.from == 'Selector') == has(self.selector)",
    "allowedNamespaces.selector goes with from: Selector, and only with it: set both or remove selector",
)])))]
pub struct AllowedNamespaces {
    /// Which namespaces.
    #[serde(default)]
    pub from: From,
    /// With from: Selector: the labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How the namespaces are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum From {
    /// The provider's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those whose labels the selector matches, and the provider's own.
    Selector,
}
