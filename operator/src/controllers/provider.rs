//! `LLMProvider`: a row of the catalog with the user's `spec` laid over it,
//! its secret and its private CA; for the sidecar a `Provider` and a `Credential`.

mod build;
mod endpoint;
mod fetch;
mod models;
mod status;
mod validate;

use std::sync::Arc;

use llmroute_crds::LLMProviderSpec;
use llmroute_protocol::Resource;

use super::Options;
use super::refusal::{Refusal, Unresolved, read_spec};
use crate::world::{Labels, Object, ObjectRef, World};

pub(super) use fetch::References;
pub(super) use status::status;
pub(super) use validate::{Refused, ValidProvider};

/// What became of one `LLMProvider`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProviderState {
    /// Of the object.
    generation: i64,
    uid: String,
    /// Whether the `spec` as it is now means something.
    accepted: Result<(), Refused>,
    /// The last `spec` that did. It is in force.
    good: Option<Good>,
    /// What was built of it; without a good one, a body that every sidecar
    /// refuses, so that each keeps the last version that it took.
    pub(super) resource: Arc<Resource>,
    pub(super) credential: Option<Arc<Resource>>,
    hash8: Option<String>,
    unresolved: Option<Unresolved>,
    pub(super) references: References,
}

#[derive(Clone, Debug, PartialEq)]
struct Good {
    generation: i64,
    spec: LLMProviderSpec,
    valid: ValidProvider,
}

/// Whether a target that names this provider can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It can.
    Ready,
    /// It was never accepted by this process; a sidecar may hold an older version.
    Unaccepted(String),
    /// A reference of its own leads nowhere.
    Unresolved(Unresolved),
}

// ------------------------------------------------------ impl ProviderState

impl ProviderState {
    /// `fetch`, `validate`, `build`. `before` is what became of the object last time.
    pub(super) fn reconcile(
        world: &World,
        object: &Object,
        before: Option<&Self>,
        options: &Options,
    ) -> Self {
        let spec = read_spec::<LLMProviderSpec>(&object.spec);
        let (accepted, good) = match judge(spec, options) {
            Ok((spec, valid)) => {
                let generation = object.generation;
                let good = Good {
                    generation,
                    spec,
                    valid,
                };
                (Ok(()), Some(good))
            }
            Err(refused) => {
                let before = before.filter(|before| before.uid == object.uid);
                (Err(refused), before.and_then(|before| before.good.clone()))
            }
        };
        let Some(good) = good else {
            return Self::without_good(object, accepted);
        };
        let fetched = fetch::fetch(world, &object.id, &good.spec);
        let built = build::build(&object.id, good.generation, &good.valid, &fetched);
        Self {
            generation: object.generation,
            uid: object.uid.clone(),
            accepted,
            references: fetched.references,
            good: Some(good),
            resource: built.resource,
            credential: built.credential,
            hash8: built.hash8,
            unresolved: built.unresolved,
        }
    }

    fn without_good(object: &Object, accepted: Result<(), Refused>) -> Self {
        Self {
            generation: object.generation,
            uid: object.uid.clone(),
            accepted,
            good: None,
            resource: build::poison(&object.id, object.generation),
            credential: None,
            hash8: None,
            unresolved: None,
            references: References::default(),
        }
    }

    /// Whether a route of `namespace` may name it.
    pub(super) fn admits(&self, own: &str, namespace: &str, labels: Option<&Labels>) -> bool {
        let allowed = self.good.as_ref().map(|good| &good.valid.allowed);
        own == namespace || allowed.is_some_and(|allowed| allowed.admits(labels))
    }

    /// Whose labels decide who may name it.
    pub(super) fn selects_namespaces(&self) -> bool {
        let good = self.good.as_ref();
        good.is_some_and(|good| good.valid.allowed.selects())
    }

    /// Why `admits` said no.
    pub(super) fn allowed_text(&self) -> &'static str {
        let good = self.good.as_ref();
        good.map_or("unknown", |good| good.valid.allowed.text())
    }

    /// Whether it can be called.
    pub(super) fn usable(&self) -> Use {
        match (&self.good, &self.unresolved, &self.accepted) {
            (None, _, Err(refused)) => Use::Unaccepted(refused.message()),
            (_, Some(unresolved), _) => Use::Unresolved(unresolved.clone()),
            _ => Use::Ready,
        }
    }

    /// Whether a sidecar is expected to take what is pushed.
    pub(super) fn is_whole(&self) -> bool {
        self.good.is_some()
    }

    /// Its models, where one was accepted.
    pub(super) fn valid(&self) -> Option<&ValidProvider> {
        self.good.as_ref().map(|good| &good.valid)
    }

    /// Where the `spec` couldn't even be read.
    pub(super) fn malformed_at(&self) -> Option<&str> {
        match &self.accepted {
            Err(Refused::Malformed(refusal)) => Some(&refusal.path),
            _ => None,
        }
    }
}

fn judge(
    spec: Result<LLMProviderSpec, Refusal>,
    options: &Options,
) -> Result<(LLMProviderSpec, ValidProvider), Refused> {
    let spec = spec.map_err(Refused::Malformed)?;
    let valid = validate::validate(&spec, options)?;
    Ok((spec, valid))
}

/// The Secret or `ConfigMap` of `name`, beside the provider: never in another namespace.
fn beside(provider: &ObjectRef, name: &str) -> ObjectRef {
    ObjectRef::new(&provider.namespace, name)
}
