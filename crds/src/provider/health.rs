//! Passive health: what a sidecar concludes from its own calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration,
    schema::{rules, some_time},
};

/// When a sidecar stops trying a model of the provider for a while. The last
/// target that is left is never ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "duration(self.ejectFor) <= duration(self.maxEjectFor)",
    "health.ejectFor is longer than health.maxEjectFor: lower the one or raise the other",
)])))]
pub struct Health {
    /// So many failures in a row eject it.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive_failures: u32,
    /// For how long at first; doubled each time.
    #[schemars(extend("x-kubernetes-validations" = some_time("health.ejectFor")))]
    pub eject_for: Duration,
    /// For how long at most.
    #[schemars(extend("x-kubernetes-validations" = some_time("health.maxEjectFor")))]
    pub max_eject_for: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            eject_for: Duration::from_secs(10),
            max_eject_for: Duration::from_secs(300),
        }
    }
}
