//! All that a provider reads of the world.

use std::collections::BTreeMap;

use llmroute_crds::LLMProviderSpec;

use super::beside;
use crate::world::{ObjectRef, SecretFacts, World};

/// What a `spec` names. Both may be missing: then the name waits for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    pub(crate) secret: Option<ObjectRef>,
    pub(crate) config_map: Option<ObjectRef>,
}

/// What was found under those names.
pub(super) struct Fetched<'a> {
    pub(super) references: References,
    pub(super) secret: Option<&'a SecretFacts>,
    pub(super) config_map: Option<&'a BTreeMap<String, String>>,
}

/// Reads what `spec` names.
pub(super) fn fetch<'a>(
    world: &'a World,
    provider: &ObjectRef,
    spec: &LLMProviderSpec,
) -> Fetched<'a> {
    let secret = spec.auth.as_ref().and_then(|auth| auth.secret_ref.as_ref());
    let secret = secret.map(|secret| beside(provider, &secret.name));
    let bundle = spec.endpoint.as_ref();
    let bundle = bundle.and_then(|endpoint| endpoint.ca_bundle_ref.as_ref());
    let config_map = bundle.map(|bundle| beside(provider, &bundle.name));
    Fetched {
        secret: secret.as_ref().and_then(|id| world.secrets.get(id)),
        config_map: config_map.as_ref().and_then(|id| world.config_maps.get(id)),
        references: References { secret, config_map },
    }
}
