//! What the calls of this pod may do, compiled from what the operator pushed.
//!
//! A [`Table`] is immutable: a request takes one snapshot and works with it to
//! its end, whatever is pushed meanwhile. [`Config`] holds the table of the
//! moment and is the only one that makes a new one. Each resource is checked on
//! its own; a bad one keeps its last good version, and a route that never had
//! one answers its matches with an error instead of letting them fall to a
//! broader rule, which would silently change cost and destination.
//!
//! Everything that a request needs is made here, once: header values, targets
//! of calls, durations, patterns. The table opens no connection, judges no
//! health and knows nothing of the session that fed it.

mod config;
mod credential;
mod dump;
mod entries;
#[cfg(test)]
pub(crate) mod fixture;
mod gate;
mod label;
mod matching;
mod provider;
mod refusal;
mod route;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;

pub use config::{Applied, Change, Config, GlobalSettings};
pub use credential::Credential;
pub use gate::{Gate, Permit};
pub use label::Label;
/// What became of a resource, in the results of [`Config::apply`].
pub use llmroute_protocol::Outcome;
pub use provider::{Auth, Host, Model, Provider, Upstream};
pub use refusal::Refusal;
pub(crate) use route::compile::MAX_TARGETS;
pub use route::{RetryOn, RetryPolicy, RouteInfo, Rule, Target, TargetModel, Timeouts};

use matching::{Destination, Index, Pattern};

/// One state of the config.
#[derive(Default)]
pub struct Table {
    applied: bool,
    routes: usize,
    index: Index,
    /// For [`Self::models`]: patterns (none: every model) and where they lead.
    offers: Vec<(Vec<Pattern>, Arc<Rule>)>,
    providers: Vec<Arc<Provider>>,
    /// A route whose very matches can't be read.
    unread: Option<Arc<RouteInfo>>,
}

/// What the table says to a call.
pub enum Found {
    /// Serve it.
    Rule(Arc<Rule>),
    /// Its route never had a good version: 500 `route_invalid`.
    Poisoned(Arc<RouteInfo>),
    /// No rule takes this model: 404 with the list of [`Table::models`].
    UnknownModel,
    /// No route selects this pod.
    NoRoute,
    /// Nothing was pushed yet and nothing cached: 503 with Retry-After.
    NoConfig,
}

// ---------------------------------------------------------------- impl Table

impl Table {
    /// Where a call belongs that asks for `model` with `headers`.
    pub fn find(&self, model: &str, headers: &HeaderMap) -> Found {
        match self.index.find(model, headers) {
            Some(Destination::Rule(rule)) => Found::Rule(rule.clone()),
            Some(Destination::Poisoned(route)) => Found::Poisoned(route.clone()),
            None => self.nothing_found(),
        }
    }

    fn nothing_found(&self) -> Found {
        if let Some(route) = &self.unread {
            return Found::Poisoned(route.clone());
        }
        match (self.applied, self.routes) {
            (false, _) => Found::NoConfig,
            (true, 0) => Found::NoRoute,
            (true, _) => Found::UnknownModel,
        }
    }

    /// The names that this pod may call, sorted: those that rules name, and in
    /// the place of a wildcard what its targets list. Not for the hot path.
    pub fn models(&self) -> Vec<Box<str>> {
        let mut names = BTreeSet::new();
        for (patterns, rule) in &self.offers {
            for pattern in patterns {
                if let Pattern::Exact(name) = pattern {
                    names.insert(name.clone());
                }
            }
            let takes = |name: &str| patterns.is_empty() || patterns.iter().any(|p| p.takes(name));
            for target in &rule.targets {
                let offered = target.offers().into_iter().filter(|name| takes(name));
                names.extend(offered.map(Box::from));
            }
        }
        names.into_iter().collect()
    }

    /// The providers, by name.
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The rules, in the order that decides between equals.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.offers.iter().map(|(_, rule)| rule)
    }
}

impl Target {
    /// The model that it would ask for when a caller names `requested`.
    pub fn resolve(&self, requested: &str) -> Option<Arc<Model>> {
        match &self.model {
            TargetModel::Fixed(model) => Some(model.clone()),
            TargetModel::AsRequested => self.provider.as_ref()?.model(requested),
            TargetModel::Missing(_) => None,
        }
    }

    /// Names under which a caller can mean this target behind a wildcard.
    fn offers(&self) -> Vec<&str> {
        match (&self.model, &self.provider) {
            (TargetModel::Fixed(model), _) => vec![model.name.as_str()],
            (TargetModel::AsRequested, Some(provider)) => provider.listed().collect(),
            (TargetModel::AsRequested, None) | (TargetModel::Missing(_), _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
