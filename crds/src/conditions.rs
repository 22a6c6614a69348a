//! The conditions of each kind, their reasons, and what a condition says before
//! any operator has looked.

use serde_json::{Value, json};

/// What an object waits for while no operator has looked at it.
const PENDING_MESSAGE: &str = "waiting for the llmroute operator";

/// Types of conditions.
pub mod condition {
    /// The object is understood and means something by itself.
    pub const ACCEPTED: &str = "Accepted";
    /// Everything that it names exists and may be used.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// The provider takes the credential, as far as is known.
    pub const CREDENTIALS_READY: &str = "CredentialsReady";
    /// Every connected sidecar that needs it uses this very generation.
    pub const PROGRAMMED: &str = "Programmed";
    /// All of the above: what `helm --wait` and Flux look at.
    pub const READY: &str = "Ready";

    /// The conditions of an `LLMProvider`, in the order in which they are shown.
    pub const OF_PROVIDER: [&str; 4] = [ACCEPTED, RESOLVED_REFS, CREDENTIALS_READY, READY];
    /// The conditions of an `LLMRoute`, in the order in which they are shown.
    pub const OF_ROUTE: [&str; 4] = [ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY];
}

/// Reasons of conditions; the condition that each belongs to says which `status` it goes with.
pub mod reason {
    /// Any condition: no operator has looked yet. Programmed: a push isn't acknowledged yet.
    pub const PENDING: &str = "Pending";
    /// Accepted, True.
    pub const ACCEPTED: &str = "Accepted";
    /// Accepted, False: the object contradicts itself.
    pub const INVALID: &str = "Invalid";
    /// Accepted, False: no such provider type; the message names the nearest.
    pub const UNKNOWN_TYPE: &str = "UnknownType";
    /// Accepted, False: an older route has the same match.
    pub const CONFLICTED: &str = "Conflicted";
    /// `ResolvedRefs`, True.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// `ResolvedRefs`, False: no such Secret with our label.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// `ResolvedRefs`, False: the Secret or `ConfigMap` lacks the key.
    pub const KEY_NOT_FOUND: &str = "KeyNotFound";
    /// `ResolvedRefs`, False: no such `ConfigMap`.
    pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
    /// `ResolvedRefs`, False: no such `LLMProvider`.
    pub const PROVIDER_NOT_FOUND: &str = "ProviderNotFound";
    /// `ResolvedRefs`, False: the provider's `allowedNamespaces` leaves this namespace out.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// `ResolvedRefs`, False: the provider has no such model.
    pub const MODEL_UNKNOWN: &str = "ModelUnknown";
    /// `ResolvedRefs`, False: a price is needed and unknown.
    pub const PRICE_MISSING: &str = "PriceMissing";
    /// `CredentialsReady`, True; Ready, True.
    pub const READY: &str = "Ready";
    /// Ready, False: another condition isn't met; the message names it.
    pub const NOT_READY: &str = "NotReady";
    /// `CredentialsReady`, False: the provider answered 401.
    pub const REJECTED_401: &str = "Rejected401";
    /// `CredentialsReady`, False: there is no credential to use.
    pub const NO_ACCESS: &str = "NoAccess";
    /// Programmed, True.
    pub const PROGRAMMED: &str = "Programmed";
    /// Programmed, False: some sidecars refused it or didn't answer in time.
    pub const PARTIALLY_PROGRAMMED: &str = "PartiallyProgrammed";
    /// Programmed, False: every sidecar refused it.
    pub const REJECTED: &str = "Rejected";
    /// Programmed, Unknown: no sidecar is connected that needs it.
    pub const NO_SIDECARS: &str = "NoSidecars";
}

/// The default of `.status`: every condition of the kind, Unknown.
///
/// It sits on `.status` because a default on `.status.conditions` alone yields
/// an empty status. The time is 1970, so that one that no operator wrote is
/// told at a glance.
pub fn pending(conditions: &[&str]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition,
                "status": "Unknown",
                "reason": reason::PENDING,
                "message": PENDING_MESSAGE,
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    json!({ "conditions": conditions })
}
