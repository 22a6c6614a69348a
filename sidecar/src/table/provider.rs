//! An LLMProvider, compiled: where it is, how to prove oneself to it, which
//! models it has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use http::{HeaderName, Uri};
use llmroute_protocol::Quirk;

use super::credential::{Credential, Secret};
use super::label::Label;
use crate::balance::{Health, HealthPolicy};
use crate::dialect::openai::Operation;
use crate::meter::Price;
use crate::upstream::Endpoint;

mod compile;

/// Models of a provider with open models that are kept by name. Beyond them a
/// name is served too, but shares its health with the other surplus names.
const MAX_OPEN_MODELS: usize = 128;

/// One account at a provider.
pub struct Provider {
    /// `namespace/name`.
    pub key: Label,
    /// Of the object.
    pub generation: i64,
    /// The catalog row: `openai`, `groq`, `custom`, `mock`.
    pub kind: Box<str>,
    /// Who answers.
    pub upstream: Upstream,
    /// How a call proves itself.
    pub auth: Auth,
    /// Where the host differs from OpenAI; those that this build knows.
    pub quirks: Box<[Quirk]>,
    /// When one of its models is left out.
    pub health: HealthPolicy,
    /// Models that aren't listed may be called too; their price is unknown.
    pub open_models: bool,
    models: HashMap<Box<str>, Arc<Model>>,
    /// Names as listed, in the catalog's order.
    listed: Box<[Box<str>]>,
    open: Mutex<HashMap<Box<str>, Arc<Model>>>,
    surplus: Arc<Health>,
    credential: ArcSwapOption<Credential>,
}

/// Who answers a call.
pub enum Upstream {
    /// A host that speaks OpenAI's dialect.
    OpenAi(Box<Host>),
    /// This sidecar itself.
    Mock,
}

/// A host with its pool and the targets of its calls.
pub struct Host {
    /// The pool.
    pub endpoint: Endpoint,
    uris: [Uri; Operation::ALL.len()],
}

/// How a call proves itself to the provider.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all; the caller's own key is not forwarded either.
    None,
    /// The caller's own key goes through.
    Passthrough,
    /// The pushed credential.
    Credential {
        /// `authorization`, `api-key`.
        header: HeaderName,
        /// What stands before the value: `Bearer `.
        prefix: Box<str>,
    },
}

/// One model at one provider.
pub struct Model {
    /// As routes and callers name it.
    pub name: Label,
    /// As the provider names it.
    pub upstream_name: Box<str>,
    /// False for a model that only `open_models` lets through: its name is the
    /// caller's, so it is no label of a metric.
    pub listed: bool,
    /// 0: unknown.
    pub context_tokens: u64,
    /// 0: unknown.
    pub max_output_tokens: u64,
    /// `None`: unknown, which isn't zero.
    pub price: Option<Price>,
    health: Arc<Health>,
}

// ---------------------------------------------------------------- impl Provider

impl Provider {
    /// The model that routes or callers call `name`.
    pub fn model(&self, name: &str) -> Option<Arc<Model>> {
        if let Some(model) = self.models.get(name) {
            return Some(model.clone());
        }
        self.open_models.then(|| self.open_model(name)).flatten()
    }

    fn open_model(&self, name: &str) -> Option<Arc<Model>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = open.get(name) {
            return Some(model.clone());
        }
        if open.len() >= MAX_OPEN_MODELS {
            return Model::open(name, self.surplus.clone()).map(Arc::new);
        }
        let model = Arc::new(Model::open(name, Arc::default())?);
        open.insert(name.into(), model.clone());
        Some(model)
    }

    /// The models that it lists, in the order of the catalog.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(|name| &**name)
    }

    /// Every model that was named so far, listed or called.
    pub(super) fn known(&self) -> Vec<Arc<Model>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.models.values().chain(open.values()).cloned().collect()
    }

    /// The credential of this moment. A call keeps the one it began with.
    pub fn credential(&self) -> Option<Arc<Credential>> {
        self.credential.load_full()
    }

    /// Puts `secret` where calls find it. Nothing is rebuilt: pools and health
    /// know the credential only by its serial number.
    pub(super) fn link(&self, secret: Option<&Secret>) {
        let Auth::Credential { header: _, prefix } = &self.auth else {
            return;
        };
        let held = self.credential.load().as_ref().map(|c| c.serial());
        if held != secret.map(Secret::serial) {
            let credential = secret.and_then(|s| s.behind(prefix)).map(Arc::new);
            self.credential.store(credential);
        }
    }

    fn health_of(&self, upstream_name: &str) -> Option<Arc<Health>> {
        let known = self.known();
        let same = known.iter().find(|m| *m.upstream_name == *upstream_name);
        same.map(|m| m.health.clone())
    }
}

// ---------------------------------------------------------------- impl Host

impl Host {
    /// The target of a call, made when config was compiled.
    pub fn uri(&self, operation: Operation) -> &Uri {
        &self.uris[operation as usize]
    }
}

// ---------------------------------------------------------------- impl Model

impl Model {
    /// A model that isn't listed. `None` where the name can't be sent.
    fn open(name: &str, health: Arc<Health>) -> Option<Self> {
        Some(Self {
            name: Label::new(name, "").ok()?,
            upstream_name: name.into(),
            listed: false,
            context_tokens: 0,
            max_output_tokens: 0,
            price: None,
            health,
        })
    }

    /// Its health at this provider.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }
}
