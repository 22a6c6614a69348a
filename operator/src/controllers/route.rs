//! `LLMRoute`: which pods may call what, and where it goes; for the sidecar a
//! `Route`, whose targets say of themselves whether they can be called.

mod build;
mod claims;
mod fetch;
mod salvage;
mod status;
mod targets;
mod validate;

use std::collections::BTreeSet;
use std::sync::Arc;

use llmroute_crds::LLMRouteSpec;
use llmroute_protocol::Resource;

use super::refusal::{Refusal, Unresolved, read_spec};
use crate::world::{Object, ObjectRef, Selector};

pub(super) use claims::Claim;
pub(super) use fetch::Providers;
pub(super) use status::{Pushed, status};
use validate::ValidRoute;

/// What became of one `LLMRoute`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RouteState {
    /// Of the object.
    generation: i64,
    uid: String,
    created: i64,
    /// Whether the `spec` as it is now means something.
    accepted: Result<(), Vec<Refusal>>,
    malformed: Option<String>,
    /// The last one that did. It is in force.
    good: Option<Good>,
    pub(super) push: Push,
    unresolved: Vec<Unresolved>,
    /// Models at providers of which no price is known.
    unpriced: Vec<String>,
    /// Every provider that it names, whether it is there or not.
    pub(super) names: BTreeSet<ObjectRef>,
}

#[derive(Clone, Debug, PartialEq)]
struct Good {
    generation: i64,
    valid: ValidRoute,
}

/// What is pushed, to whom, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Push {
    pub(super) selector: Selector,
    pub(super) resource: Arc<Resource>,
    /// Those of targets that can be called.
    pub(super) providers: BTreeSet<ObjectRef>,
}

// --------------------------------------------------------- impl RouteState

impl RouteState {
    /// `fetch`, `validate`, `build`. `before` is what became of the object last time.
    pub(super) fn reconcile(
        object: &Object,
        providers: &Providers<'_>,
        before: Option<&Self>,
    ) -> Self {
        let spec = read_spec::<LLMRouteSpec>(&object.spec);
        let malformed = spec.as_ref().err().map(|refusal| refusal.path.clone());
        let judged = match &spec {
            Ok(spec) => validate::validate(&object.id, spec),
            Err(refusal) => Err(vec![refusal.clone()]),
        };
        let (accepted, good) = match judged {
            Ok(valid) => {
                let generation = object.generation;
                (Ok(()), Some(Good { generation, valid }))
            }
            Err(refusals) => {
                let before = before.filter(|before| before.uid == object.uid);
                (Err(refusals), before.and_then(|before| before.good.clone()))
            }
        };
        let state = |push| Self {
            generation: object.generation,
            uid: object.uid.clone(),
            created: object.created.as_millisecond(),
            accepted,
            malformed,
            good: None,
            push,
            unresolved: Vec::new(),
            unpriced: Vec::new(),
            names: BTreeSet::new(),
        };
        let Some(good) = good else {
            return state(build::poison(object));
        };
        let resolved = targets::resolve(&object.id, &good.valid, providers);
        let push = Push {
            selector: good.valid.selector.clone(),
            resource: build::build(object, good.generation, &good.valid, &resolved),
            providers: resolved.callable,
        };
        Self {
            names: good.valid.provider_names(),
            unresolved: resolved.unresolved,
            unpriced: resolved.unpriced,
            good: Some(good),
            ..state(push)
        }
    }

    /// The matches that it lays claim to; of routes with the same one the oldest wins.
    pub(super) fn claims(&self) -> BTreeSet<Claim> {
        let good = self.good.as_ref();
        good.map(|good| claims::of(&good.valid)).unwrap_or_default()
    }

    /// When it was made, in Unix milliseconds.
    pub(super) fn created(&self) -> i64 {
        self.created
    }

    /// Whether a sidecar is expected to take what is pushed.
    pub(super) fn is_whole(&self) -> bool {
        self.good.is_some()
    }

    /// Where the `spec` couldn't even be read.
    pub(super) fn malformed_at(&self) -> Option<&str> {
        self.malformed.as_deref()
    }
}
