//! Whether each target's references lead somewhere, and what to say if not.

use std::collections::BTreeSet;

use llmroute_crds::reason;

use super::fetch::Providers;
use super::validate::{ValidRoute, ValidRule, ValidTarget};
use crate::catalog::nearest;
use crate::controllers::provider::{ProviderState, Use, ValidProvider};
use crate::controllers::refusal::Unresolved;
use crate::world::ObjectRef;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Of each rule's targets, in order: why it can't be called; empty where it can.
    pub(super) unavailable: Vec<Vec<&'static str>>,
    pub(super) unresolved: Vec<Unresolved>,
    /// `model at namespace/provider`.
    pub(super) unpriced: Vec<String>,
    /// The providers of targets that can be called.
    pub(super) callable: BTreeSet<ObjectRef>,
}

/// Looks up all targets of a route.
pub(super) fn resolve(id: &ObjectRef, route: &ValidRoute, providers: &Providers<'_>) -> Resolved {
    let mut resolved = Resolved::default();
    for (r, rule) in route.rules.iter().enumerate() {
        let mut unavailable = Vec::with_capacity(rule.targets.len());
        for (t, target) in rule.targets.iter().enumerate() {
            let path = format!("spec.rules[{r}].targets[{t}]");
            let looked = look(id, &path, target, providers);
            let why = looked.and_then(|state| {
                resolved.callable.insert(target.provider.clone());
                match (&target.model, state.valid()) {
                    (Some(model), Some(valid)) => known(
                        &path,
                        &target.provider,
                        model,
                        valid,
                        &mut resolved.unpriced,
                    ),
                    (None, Some(valid)) => {
                        let asked = as_requested(r, rule, &path, target, valid);
                        resolved.unresolved.extend(asked);
                        Ok(())
                    }
                    (_, None) => Ok(()),
                }
            });
            unavailable.push(why.as_ref().err().map_or("", |why| why.reason));
            resolved.unresolved.extend(why.err());
        }
        resolved.unavailable.push(unavailable);
    }
    // A provider is callable if one target that names it is.
    resolved.callable = callable(route, &resolved.unavailable);
    resolved.unresolved.extend(unaccepted(route, providers));
    resolved.unpriced.sort_unstable();
    resolved.unpriced.dedup();
    resolved
}

/// The provider of a target, if it is there, lets the route in and can be called.
fn look<'a>(
    id: &ObjectRef,
    path: &str,
    target: &ValidTarget,
    providers: &Providers<'a>,
) -> Result<&'a ProviderState, Unresolved> {
    let provider = &target.provider;
    let Some(state) = providers.all.get(provider) else {
        return Err(Unresolved {
            reason: reason::PROVIDER_NOT_FOUND,
            message: format!(
                "{path}.providerRef: no LLMProvider {provider}{}",
                meant(provider, providers)
            ),
        });
    };
    if !state.admits(&provider.namespace, &id.namespace, providers.labels) {
        return Err(Unresolved {
            reason: reason::NOT_ALLOWED,
            message: format!(
                "{path}.providerRef: LLMProvider {provider} lets in no route of namespace {}: its spec.allowedNamespaces.from is {}; set it to All, or to Selector with a selector that matches the labels of that namespace",
                id.namespace,
                state.allowed_text()
            ),
        });
    }
    match state.usable() {
        Use::Ready | Use::Unaccepted(_) => Ok(state),
        Use::Unresolved(Unresolved { reason, message }) => Err(Unresolved {
            reason,
            message: format!("{path}.providerRef: LLMProvider {provider}: {message}"),
        }),
    }
}

/// Providers that this process never accepted. A sidecar that holds an older
/// version goes on with it, so that the target isn't marked.
fn unaccepted(route: &ValidRoute, providers: &Providers<'_>) -> Vec<Unresolved> {
    let names = route.provider_names();
    let found = names
        .iter()
        .filter_map(|name| Some((name, providers.all.get(name)?)));
    let found = found.filter_map(|(name, state)| match state.usable() {
        Use::Unaccepted(why) => Some(Unresolved {
            reason: reason::PROVIDER_NOT_FOUND,
            message: format!("LLMProvider {name} isn't accepted: {why}"),
        }),
        Use::Ready | Use::Unresolved(_) => None,
    });
    found.collect()
}

/// A model that the target names: known, and priced or noted.
fn known(
    path: &str,
    provider: &ObjectRef,
    model: &str,
    valid: &ValidProvider,
    unpriced: &mut Vec<String>,
) -> Result<(), Unresolved> {
    match valid.models.get(model) {
        Some(found) if found.price.is_some() => Ok(()),
        Some(_) => {
            unpriced.push(format!("{model} at {provider}"));
            Ok(())
        }
        None if valid.open_models => {
            unpriced.push(format!("{model} at {provider}"));
            Ok(())
        }
        None => Err(unknown(&format!("{path}.model"), provider, model, valid)),
    }
}

/// A target that takes the model as requested: each one that the rule names
/// should be known. The target stays: it may serve the rule's other models.
fn as_requested(
    r: usize,
    rule: &ValidRule,
    path: &str,
    target: &ValidTarget,
    valid: &ValidProvider,
) -> Option<Unresolved> {
    if valid.open_models {
        return None;
    }
    let mut models = rule
        .wire
        .matches
        .iter()
        .enumerate()
        .flat_map(|(m, match_)| {
            let models = match_.models.iter().enumerate();
            models.map(move |(i, model)| (m, i, model))
        });
    let (m, i, model) =
        models.find(|(_, _, model)| !model.contains('*') && !valid.models.contains_key(*model))?;
    let place = format!("spec.rules[{r}].matches[{m}].models[{i}]");
    let mut unknown = unknown(&place, &target.provider, model, valid);
    unknown.message = format!("{}, or set {path}.model", unknown.message);
    Some(unknown)
}

fn unknown(path: &str, provider: &ObjectRef, model: &str, valid: &ValidProvider) -> Unresolved {
    let hint = match nearest(model, valid.models.keys().map(String::as_str)) {
        Some(meant) => format!("; is {meant} meant? If not"),
        None => ";".to_owned(),
    };
    Unresolved {
        reason: reason::MODEL_UNKNOWN,
        message: format!(
            "{path}: LLMProvider {provider} knows no model {model}{hint} add it to its spec.models"
        ),
    }
}

/// A provider whose name is like the one that isn't there.
fn meant(provider: &ObjectRef, providers: &Providers<'_>) -> String {
    let beside = providers.all.keys();
    let beside = beside.filter(|id| id.namespace == provider.namespace);
    match nearest(&provider.name, beside.map(|id| id.name.as_str())) {
        Some(name) => format!("; is {name} meant?"),
        None => String::new(),
    }
}

fn callable(route: &ValidRoute, unavailable: &[Vec<&'static str>]) -> BTreeSet<ObjectRef> {
    let rules = route.rules.iter().zip(unavailable);
    let targets = rules.flat_map(|(rule, why)| rule.targets.iter().zip(why));
    let callable = targets.filter(|(_, why)| why.is_empty());
    callable
        .map(|(target, _)| target.provider.clone())
        .collect()
}
