//! What a call must be like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{HEADER_NAME, HEADER_VALUE, MODEL_MATCH};

/// What a call must be like: one of the models, and all of the headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// Requested models: exact, or with one `*` at an end. None: every model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 128), regex(pattern = MODEL_MATCH)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub models: Vec<String>,
    /// Request headers; all must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub headers: Vec<HeaderMatch>,
}

/// What one request header must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderMatch {
    /// The header's name; case doesn't matter.
    #[schemars(length(max = 256), regex(pattern = HEADER_NAME))]
    pub name: String,
    /// The value to compare with.
    #[schemars(length(max = 1024), regex(pattern = HEADER_VALUE))]
    pub value: String,
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub type_: HeaderMatchType,
}

/// How a header's value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeaderMatchType {
    /// It is the value.
    #[default]
    Exact,
    /// It begins with the value.
    Prefix,
}
