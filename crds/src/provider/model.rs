//! A model of a provider and what it costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money,
    schema::{MODEL, UPSTREAM_MODEL},
};

/// A model, over the catalog's row of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// What routes call it.
    #[schemars(length(max = 128), regex(pattern = MODEL))]
    pub name: String,
    /// What the provider calls it; absent: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = UPSTREAM_MODEL))]
    pub upstream_name: Option<String>,
    /// How much it can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub context_tokens: Option<u32>,
    /// How much it can write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_output_tokens: Option<u32>,
    /// What it costs; absent: as in the catalog, else unknown, which isn't zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// USD per million tokens: an integer, or a decimal string with at most six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Tokens read.
    pub input: Money,
    /// Tokens written. Where a model writes none: 0.
    pub output: Money,
    /// Tokens read from the provider's cache; absent: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// Tokens written to the provider's cache; absent: as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Money>,
    /// Tokens written to the provider's cache for an hour; absent: as `cacheWrite`.
    #[serde(
        rename = "cacheWrite1h",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub cache_write_1h: Option<Money>,
}
