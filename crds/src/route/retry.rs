//! When a call is tried again, on another target first.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Duration,
    schema::{rules, some_time},
};

/// When a call is tried again: never after the first byte to the client, and
/// all tries within `timeouts.request`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(
    transform = catch_unquoted_on,
    extend("x-kubernetes-validations" = rules([(
        "!has(self.__true__)",
        "retry.on came as true, which is what YAML 1.1 makes of it without quotes: write \"on\": [...]",
    )]))
)]
pub struct Retry {
    /// Retries after the first try.
    #[schemars(range(max = 5))]
    pub attempts: u32,
    /// What is worth another try.
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub on: Vec<RetryOn>,
    /// How long to wait before the same target is tried again.
    pub backoff: Backoff,
}

/// What is worth another try.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RetryOn {
    /// No connection came about.
    ConnectFailure,
    /// The first byte didn't come in time, or the provider says 408.
    Timeout,
    /// The provider says 429.
    RateLimited,
    /// The provider says 5xx.
    ServerError,
    /// The provider says that it is overloaded.
    Overloaded,
}

/// How long to wait before another try: doubled each time, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "duration(self.base) <= duration(self.max)",
    "retry.backoff.base is longer than retry.backoff.max: lower the one or raise the other",
)])))]
pub struct Backoff {
    /// Before the first retry.
    #[schemars(extend("x-kubernetes-validations" = some_time("retry.backoff.base")))]
    pub base: Duration,
    /// At most.
    #[schemars(extend("x-kubernetes-validations" = some_time("retry.backoff.max")))]
    pub max: Duration,
}

/// `kubectl` reads YAML 1.1, where an unquoted `on` is the boolean true. The
/// member that it then sends is known to the schema, so that it is refused with
/// the cure: a client that asks for no strict validation would have it dropped,
/// and the defaults would serve without a word.
fn catch_unquoted_on(schema: &mut Schema) {
    let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) else {
        return;
    };
    properties.insert(
        "true".to_owned(),
        json!({
            "description": "Always refused: what YAML 1.1 makes of an unquoted `on`.",
            "type": "array",
            "maxItems": 5,
            "items": { "type": "string", "maxLength": 63 },
            "x-kubernetes-list-type": "atomic",
        }),
    );
}

impl Default for Retry {
    fn default() -> Self {
        use RetryOn::{ConnectFailure, Overloaded, RateLimited, ServerError, Timeout};
        Self {
            attempts: 2,
            on: vec![
                ConnectFailure,
                Timeout,
                RateLimited,
                ServerError,
                Overloaded,
            ],
            backoff: Backoff::default(),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(100),
            max: Duration::from_secs(5),
        }
    }
}
