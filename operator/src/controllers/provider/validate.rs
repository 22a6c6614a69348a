//! From a `spec` to newtypes, or refusals with a path. Most of it the CRD has
//! judged already; an object may be older than a rule.

use std::collections::BTreeMap;

use llmroute_crds::provider::{AuthType, From, Health};
use llmroute_crds::{LLMProviderSpec, provider};
use llmroute_protocol as wire;

use super::endpoint::BaseUrl;
use super::models;
use crate::catalog::{AuthStyle, Catalog, Row, nearest};
use crate::controllers::Options;
use crate::controllers::refusal::{Refusal, told};
use crate::world::{Labels, Selector};

/// A `spec` that means something by itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ValidProvider {
    pub(super) type_: String,
    pub(super) dialect: wire::Dialect,
    /// `None` where the sidecar itself answers.
    pub(super) base_url: Option<BaseUrl>,
    pub(super) auth: ValidAuth,
    /// Key of the `ConfigMap` with the private CA.
    pub(super) ca_key: Option<String>,
    pub(super) quirks: Vec<wire::Quirk>,
    pub(crate) models: BTreeMap<String, wire::Model>,
    pub(crate) open_models: bool,
    pub(super) health: wire::Health,
    pub(super) allowed: Allowed,
}

/// How a call proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValidAuth {
    None,
    Passthrough(AuthStyle),
    /// The value under this key of the Secret.
    Secret(AuthStyle, String),
}

/// Routes of which namespaces may name the provider; its own always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Same,
    All,
    Selector(Selector),
}

/// Why a `spec` is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The catalog has no such type.
    UnknownType(String),
    /// It isn't of the CRD's shape.
    Malformed(Refusal),
    /// It contradicts itself.
    Invalid(Vec<Refusal>),
}

/// Judges a `spec` by itself.
pub(super) fn validate(
    spec: &LLMProviderSpec,
    options: &Options,
) -> Result<ValidProvider, Refused> {
    let row = Catalog::built_in()
        .get(&spec.type_)
        .ok_or_else(|| unknown_type(&spec.type_))?;
    let mut refusals = Vec::new();
    let dialect = take(dialect(spec, row), &mut refusals);
    let base_url = take(base_url(spec, row, options), &mut refusals);
    let auth = take(auth(spec, row), &mut refusals);
    let health = take(health(&spec.health), &mut refusals);
    let allowed = take(allowed(spec), &mut refusals);
    let models = take(models::models(spec, row), &mut refusals);
    let parts = (dialect, base_url, auth, health, allowed, models);
    let (Some(dialect), Some(base_url), Some(auth), Some(health), Some(allowed), Some(models)) =
        parts
    else {
        return Err(Refused::Invalid(refusals));
    };
    let endpoint = spec.endpoint.as_ref();
    let ca = endpoint.and_then(|endpoint| endpoint.ca_bundle_ref.as_ref());
    // A host of the user's own has models of its own; a list of them is the whole list.
    let own_host = endpoint.is_some_and(|endpoint| endpoint.base_url.is_some());
    let open = own_host && spec.models.is_empty();
    Ok(ValidProvider {
        type_: row.name.clone(),
        dialect,
        base_url,
        auth,
        ca_key: ca.map(|ca| ca.key.clone()),
        quirks: row.quirks.clone(),
        models,
        open_models: open || row.open_models,
        health,
        allowed,
    })
}

fn take<T>(judged: Result<T, Refusal>, refusals: &mut Vec<Refusal>) -> Option<T> {
    judged.map_err(|refusal| refusals.push(refusal)).ok()
}

fn unknown_type(name: &str) -> Refused {
    let catalog = Catalog::built_in();
    let hint = match nearest(name, catalog.types()) {
        Some(meant) => format!("is {meant} meant?"),
        None => format!(
            "there are {}",
            catalog.types().collect::<Vec<_>>().join(", ")
        ),
    };
    Refused::UnknownType(format!(
        "spec.type: no type {name} in the catalog; {hint} For a host that isn't in it use custom"
    ))
}

fn dialect(spec: &LLMProviderSpec, row: &Row) -> Result<wire::Dialect, Refusal> {
    let own = spec.dialect.map(|dialect| match dialect {
        provider::Dialect::OpenAI => wire::Dialect::Openai,
    });
    let refuse = |message: String| Err(Refusal::new("spec.dialect", message));
    match (own, row.dialect) {
        (Some(own), Some(row_has)) if own != row_has => refuse(format!(
            "type {} has a dialect of its own: remove it",
            row.name
        )),
        (Some(dialect), _) | (None, Some(dialect)) => Ok(dialect),
        (None, None) => refuse(format!(
            "is required for type {}: set it to OpenAI",
            row.name
        )),
    }
}

fn base_url(
    spec: &LLMProviderSpec,
    row: &Row,
    options: &Options,
) -> Result<Option<BaseUrl>, Refusal> {
    const PATH: &str = "spec.endpoint.baseURL";
    let endpoint = spec.endpoint.as_ref();
    if row.dialect == Some(wire::Dialect::Mock) {
        return match endpoint {
            None => Ok(None),
            Some(_) => Err(Refusal::new(
                "spec.endpoint",
                "has no meaning for type mock, which is answered inside the sidecar: remove it",
            )),
        };
    }
    let own = endpoint.and_then(|endpoint| endpoint.base_url.as_ref());
    let Some(url) = own.or(row.base_url.as_ref()) else {
        let message = format!(
            "is required for type {}: set it to the URL of the host",
            row.name
        );
        return Err(Refusal::new(PATH, message));
    };
    let insecure = endpoint.and_then(|endpoint| endpoint.insecure) == Some(true);
    BaseUrl::parse(url, insecure, options)
        .map(Some)
        .map_err(|error| Refusal::new(PATH, error.to_string()))
}

fn auth(spec: &LLMProviderSpec, row: &Row) -> Result<ValidAuth, Refusal> {
    const CHOICES: &str = "set auth.type to SecretRef with a secretRef, to Passthrough (the caller's own key goes through) or to None";
    let auth = spec.auth.as_ref();
    let secret = auth.and_then(|auth| auth.secret_ref.as_ref());
    let given = auth.and_then(|auth| auth.type_);
    let Some(style) = &row.auth else {
        return match (given, secret) {
            (None | Some(AuthType::None), None) => Ok(ValidAuth::None),
            _ => Err(Refusal::new(
                "spec.auth",
                format!("of type {} can only be None: remove it", row.name),
            )),
        };
    };
    match (given, secret) {
        (None | Some(AuthType::SecretRef), Some(secret)) => {
            Ok(ValidAuth::Secret(style.clone(), secret.key.clone()))
        }
        (Some(AuthType::Passthrough), None) => Ok(ValidAuth::Passthrough(style.clone())),
        (Some(AuthType::None), None) => Ok(ValidAuth::None),
        (Some(AuthType::SecretRef), None) => Err(Refusal::new(
            "spec.auth.secretRef",
            "goes with type: SecretRef: name the Secret",
        )),
        (Some(_), Some(_)) => Err(Refusal::new(
            "spec.auth.secretRef",
            "goes with type: SecretRef only: remove it",
        )),
        (None, None) => Err(Refusal::new(
            "spec.auth.type",
            format!("is required: {CHOICES}"),
        )),
    }
}

fn health(health: &Health) -> Result<wire::Health, Refusal> {
    let Health {
        consecutive_failures,
        eject_for,
        max_eject_for,
    } = health;
    let refuse =
        |field: &str, message: &str| Err(Refusal::new(format!("spec.health.{field}"), message));
    if *consecutive_failures == 0 {
        return refuse("consecutiveFailures", "is 0: set it to 1 or more");
    }
    if eject_for.as_millis() == 0 {
        return refuse("ejectFor", "is 0: set it to some time");
    }
    if eject_for > max_eject_for {
        return refuse(
            "ejectFor",
            "is longer than maxEjectFor: lower the one or raise the other",
        );
    }
    Ok(wire::Health {
        consecutive_failures: *consecutive_failures,
        eject_for_ms: eject_for.as_millis(),
        max_eject_for_ms: max_eject_for.as_millis(),
    })
}

fn allowed(spec: &LLMProviderSpec) -> Result<Allowed, Refusal> {
    const PATH: &str = "spec.allowedNamespaces.selector";
    let allowed = &spec.allowed_namespaces;
    match (allowed.from, &allowed.selector) {
        (From::Same, None) => Ok(Allowed::Same),
        (From::All, None) => Ok(Allowed::All),
        (From::Selector, Some(selector)) => Selector::new(selector)
            .map(Allowed::Selector)
            .map_err(|(member, error)| Refusal::new(format!("{PATH}.{member}"), error.to_string())),
        (From::Selector, None) => Err(Refusal::new(PATH, "is required with from: Selector")),
        (From::Same | From::All, Some(_)) => Err(Refusal::new(
            PATH,
            "goes with from: Selector only: remove it",
        )),
    }
}

// ------------------------------------------------------------ impl Allowed

impl Allowed {
    /// Whether a namespace other than the provider's own is let in.
    pub(super) fn admits(&self, labels: Option<&Labels>) -> bool {
        match self {
            Self::Same => false,
            Self::All => true,
            Self::Selector(selector) => labels.is_some_and(|labels| selector.matches(labels)),
        }
    }

    pub(super) fn selects(&self) -> bool {
        matches!(self, Self::Selector(_))
    }

    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Same => "Same",
            Self::All => "All",
            Self::Selector(_) => "Selector",
        }
    }
}

// ------------------------------------------------------------ impl Refused

impl Refused {
    pub(crate) fn message(&self) -> String {
        match self {
            Self::UnknownType(message) => message.clone(),
            Self::Malformed(refusal) => refusal.to_string(),
            Self::Invalid(refusals) => told(refusals),
        }
    }
}
