//! From the wire to a [`Provider`], or to a refusal with its path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue};
use llmroute_protocol::{self as proto, Quirk};

use super::{Auth, Host, Label, Model, Provider, Upstream};
use crate::balance::{Health, HealthPolicy};
use crate::dialect::openai::Operation;
use crate::meter::Price;
use crate::table::refusal::Refusal;
use crate::upstream::{EndpointError, Upstreams};

/// An ejection is never longer, whatever the object says: an instant far
/// beyond could overflow the clock.
const MAX_EJECTION: Duration = Duration::from_hours(24);

impl Provider {
    /// Checks and compiles. `previous` hands on the health of its models.
    pub(in crate::table) fn compile(
        message: &proto::Provider,
        upstreams: &Upstreams,
        previous: Option<&Self>,
    ) -> Result<(Self, Vec<Refusal>), Refusal> {
        let proto::Provider {
            namespace,
            name,
            generation,
            r#type,
            dialect,
            base_url,
            ca_pem,
            auth,
            models,
            health,
            quirks,
            open_models,
        } = message;
        let mut warnings = Vec::new();
        let key = Label::new(&format!("{namespace}/{name}"), "metadata.name")?;
        let upstream = match proto::Dialect::try_from(*dialect) {
            Ok(proto::Dialect::Mock) => Upstream::Mock,
            Ok(proto::Dialect::Openai) => {
                Upstream::OpenAi(Box::new(host(upstreams, base_url, ca_pem)?))
            }
            Ok(proto::Dialect::Unspecified) | Err(_) => {
                let text = format!("this sidecar doesn't speak dialect {dialect}");
                return Err(Refusal::new("spec.dialect", text));
            }
        };
        let auth = compile_auth(auth.as_ref())?;
        let (models, listed) = compile_models(models, previous)?;
        let provider = Self {
            key,
            generation: *generation,
            kind: r#type.as_str().into(),
            upstream,
            auth,
            quirks: compile_quirks(quirks, &mut warnings),
            health: compile_health(health.as_ref()),
            open_models: *open_models,
            models,
            listed,
            open: Mutex::new(previous.map_or_else(HashMap::new, Self::open_models_of_now)),
            surplus: previous.map_or_else(Arc::default, |p| p.surplus.clone()),
            credential: ArcSwapOption::empty(),
        };
        Ok((provider, warnings))
    }

    fn open_models_of_now(&self) -> HashMap<Box<str>, Arc<Model>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone()
    }
}

fn host(upstreams: &Upstreams, base_url: &str, ca_pem: &str) -> Result<Host, Refusal> {
    let refuse = |error: EndpointError| {
        let path = match error {
            EndpointError::Bundle(_) => "spec.endpoint.caBundleRef",
            _ => "spec.endpoint.baseURL",
        };
        Refusal::new(path, error.to_string())
    };
    let endpoint = upstreams.endpoint(base_url, ca_pem).map_err(refuse)?;
    let mut uris = <[http::Uri; Operation::ALL.len()]>::default();
    for operation in Operation::ALL {
        uris[operation as usize] = endpoint.uri(operation.path()).map_err(refuse)?;
    }
    Ok(Host { endpoint, uris })
}

fn compile_auth(auth: Option<&proto::Auth>) -> Result<Auth, Refusal> {
    let Some(proto::Auth {
        r#type,
        header,
        prefix,
    }) = auth
    else {
        return Ok(Auth::None);
    };
    match proto::auth::Type::try_from(*r#type) {
        Ok(proto::auth::Type::None) => Ok(Auth::None),
        Ok(proto::auth::Type::Passthrough) => Ok(Auth::Passthrough),
        Ok(proto::auth::Type::Credential) => {
            let header = HeaderName::try_from(header)
                .map_err(|_| Refusal::new("spec.auth", "not the name of a header"))?;
            HeaderValue::from_str(prefix)
                .map_err(|_| Refusal::new("spec.auth", "the prefix can't stand in a header"))?;
            let prefix = prefix.as_str().into();
            Ok(Auth::Credential { header, prefix })
        }
        // To send nothing, or the caller's key, would be a guess.
        Ok(proto::auth::Type::Unspecified) | Err(_) => {
            let text = format!("this sidecar doesn't know auth type {}", *r#type);
            Err(Refusal::new("spec.auth.type", text))
        }
    }
}

type Models = (HashMap<Box<str>, Arc<Model>>, Box<[Box<str>]>);

fn compile_models(
    messages: &[proto::Model],
    previous: Option<&Provider>,
) -> Result<Models, Refusal> {
    let mut models = HashMap::with_capacity(messages.len());
    let mut listed = Vec::with_capacity(messages.len());
    for (i, message) in messages.iter().enumerate() {
        let path = format!("spec.models[{i}]");
        let model = compile_model(message, &path, previous)?;
        if models
            .insert(message.name.as_str().into(), Arc::new(model))
            .is_some()
        {
            return Err(Refusal::new(format!("{path}.name"), "is there twice"));
        }
        listed.push(message.name.as_str().into());
    }
    Ok((models, listed.into()))
}

fn compile_model(
    message: &proto::Model,
    path: &str,
    previous: Option<&Provider>,
) -> Result<Model, Refusal> {
    let proto::Model {
        name,
        upstream_name,
        context_tokens,
        max_output_tokens,
        price,
    } = message;
    let label = Label::new(name, &format!("{path}.name"))?;
    let upstream_name = if upstream_name.is_empty() {
        name
    } else {
        upstream_name
    };
    Label::new(upstream_name, &format!("{path}.upstreamName"))?;
    let price = price.as_ref().map(Price::compile).transpose();
    let price = price.map_err(|e| Refusal::new(format!("{path}.price"), e.to_string()))?;
    let health = previous.and_then(|p| p.health_of(upstream_name));
    Ok(Model {
        name: label,
        upstream_name: upstream_name.as_str().into(),
        listed: true,
        context_tokens: *context_tokens,
        max_output_tokens: *max_output_tokens,
        price,
        health: health.unwrap_or_else(|| Arc::new(Health::default())),
    })
}

fn compile_quirks(numbers: &[i32], warnings: &mut Vec<Refusal>) -> Box<[Quirk]> {
    let mut quirks = Vec::with_capacity(numbers.len());
    for number in numbers {
        match Quirk::try_from(*number) {
            Ok(quirk) if quirk != Quirk::Unspecified => quirks.push(quirk),
            // A newer catalog knows more about the host; calls go through without.
            _ => {
                let text = format!("this sidecar doesn't know quirk {number}");
                warnings.push(Refusal::new("spec.type", text));
            }
        }
    }
    quirks.into()
}

fn compile_health(health: Option<&proto::Health>) -> HealthPolicy {
    let default = HealthPolicy::default();
    let Some(proto::Health {
        consecutive_failures,
        eject_for_ms,
        max_eject_for_ms,
    }) = health
    else {
        return default;
    };
    let or = |ms: u64, default: Duration| match ms {
        0 => default,
        ms => Duration::from_millis(ms).min(MAX_EJECTION),
    };
    HealthPolicy {
        consecutive_failures: match *consecutive_failures {
            0 => default.consecutive_failures,
            n => n,
        },
        eject_for: or(*eject_for_ms, default.eject_for),
        max_eject_for: or(*max_eject_for_ms, default.max_eject_for),
    }
}
