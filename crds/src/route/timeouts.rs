//! How long each part of a call may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, schema::some_time};

/// How long each part of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    #[schemars(extend("x-kubernetes-validations" = some_time("timeouts.connect")))]
    pub connect: Duration,
    /// Of one try, until the answer's first byte.
    #[schemars(extend("x-kubernetes-validations" = some_time("timeouts.firstByte")))]
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    #[schemars(extend("x-kubernetes-validations" = some_time("timeouts.streamIdle")))]
    pub stream_idle: Duration,
    /// The whole call, all tries together.
    #[schemars(extend("x-kubernetes-validations" = some_time("timeouts.request")))]
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(60),
            stream_idle: Duration::from_secs(60),
            request: Duration::from_secs(600),
        }
    }
}
