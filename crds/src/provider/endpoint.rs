//! Where a provider is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{BASE_URL, DATA_KEY, DNS_SUBDOMAIN, rules};

/// Plain http that stays in the cluster or on the machine: a name without a
/// dot, `<service>.<namespace>.svc` with or without `cluster.local` (a cluster
/// with another domain resolves the short form too), and loopback (which the
/// operator refuses unless it was told otherwise).
const PLAIN_HTTP: &str = "!self.baseURL.startsWith('http:') || (has(self.insecure) && self.insecure) \
     || self.baseURL.matches('^http://([-a-z0-9]+|[-a-z0-9]+([.][-a-z0-9]+)+[.]svc([.]cluster[.]local)?|127[.][0-9]+[.][0-9]+[.][0-9]+|\\\\[::1\\\\])(:[0-9]+)?(/.*)?$')";

/// Link-local addresses are where clouds answer with the machine's own
/// credentials. The plain forms are refused here, all others by the operator.
const LINK_LOCAL: &str = "!self.baseURL.matches('^https?://(169[.]254[.]|\\\\[[fF][eE][89abAB][0-9a-fA-F]:|metadata[.]google[.]internal(:|/|$))')";

/// Where the provider is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        &format!("!has(self.baseURL) || {PLAIN_HTTP}"),
        "endpoint.baseURL is plain http to a host outside the cluster: use https, or set endpoint.insecure: true to send prompts and credentials unencrypted",
    ),
    (
        &format!("!has(self.baseURL) || {LINK_LOCAL}"),
        "endpoint.baseURL is a link-local (metadata) address, which is always refused: use the provider's own host name",
    ),
])))]
pub struct Endpoint {
    /// An https URL, with the version: `https://api.openai.com/v1`. Plain http
    /// only to in-cluster names, or with `insecure`.
    #[serde(rename = "baseURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        regex(
            pattern = BASE_URL
        )
    )]
    pub base_url: Option<String>,
    /// Lets baseURL be plain http to any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// Certificates (PEM) of a private CA that signs the provider's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<ConfigMapRef>,
}

/// A key of a `ConfigMap` in the provider's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ConfigMapRef {
    /// The `ConfigMap`'s name.
    #[schemars(length(max = 253), regex(pattern = DNS_SUBDOMAIN))]
    pub name: String,
    /// The key in its data.
    #[serde(default = "default_key")]
    #[schemars(length(max = 253), regex(pattern = DATA_KEY))]
    pub key: String,
}

fn default_key() -> String {
    "ca.crt".to_owned()
}
