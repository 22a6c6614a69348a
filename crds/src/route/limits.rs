//! What a rule lets a call be, and how many at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a rule lets a call be, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// The largest request body.
    #[schemars(range(min = 1, max = 268_435_456))]
    pub max_body_bytes: u64,
    /// Calls at once in each sidecar; absent: no limit of the rule's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 16_777_216,
            max_concurrent: None,
        }
    }
}
