//! From the wire to rules, in two steps: what a route says is checked on its
//! own, once; linking it to the providers of the moment can't fail.

use std::sync::Arc;
use std::time::Duration;

use llmroute_protocol as proto;

use super::{RetryOn, RetryPolicy, RouteInfo, Rule, Target, TargetModel, Timeouts};
use crate::table::gate::Gate;
use crate::table::label::Label;
use crate::table::matching::MatchSpec;
use crate::table::provider::Provider;
use crate::table::refusal::Refusal;

/// As the CRD bounds them; `balance` counts tries in an array of this length.
pub(crate) const MAX_TARGETS: usize = 16;
/// As the CRD bounds them; a newer operator may allow more.
const MAX_ATTEMPTS: u32 = 5;
/// The CRD's default.
const BODY_BYTES: u64 = 16 * 1024 * 1024;
/// No timeout is longer, whatever the object says: an instant far beyond could
/// overflow the clock.
const MAX_TIMEOUT: Duration = Duration::from_hours(7 * 24);

/// A route that is good on its own.
pub(in crate::table) struct RouteSpec {
    pub(in crate::table) info: Arc<RouteInfo>,
    pub(in crate::table) rules: Box<[RuleSpec]>,
}

/// A rule that is good on its own.
pub(in crate::table) struct RuleSpec {
    pub(in crate::table) matches: Box<[MatchSpec]>,
    name: Box<str>,
    targets: Box<[TargetSpec]>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    max_body_bytes: u64,
    /// With the limit that it is to have once this rule serves.
    gate: Option<(Arc<Gate>, u32)>,
}

struct TargetSpec {
    name: Label,
    provider: Box<str>,
    /// Empty: as requested.
    model: Box<str>,
    weight: u32,
    priority: u32,
    unavailable: Option<Box<str>>,
}

// ---------------------------------------------------------------- impl RouteInfo

impl RouteInfo {
    pub(in crate::table) fn new(
        namespace: &str,
        name: &str,
        generation: i64,
        created_unix_ms: i64,
    ) -> Result<Self, Refusal> {
        let path = "metadata.name";
        let version = Label::new(&format!("{name}@{generation}"), path)?;
        Ok(Self {
            key: Label::new(&format!("{namespace}/{name}"), path)?,
            generation,
            config_version: version.header().clone(),
            created_unix_ms,
        })
    }
}

// ---------------------------------------------------------------- impl RouteSpec

impl RouteSpec {
    /// Checks and compiles. `previous` hands on what the rules count.
    pub(in crate::table) fn compile(
        message: &proto::Route,
        previous: Option<&Self>,
    ) -> Result<(Self, Vec<Refusal>), Refusal> {
        let proto::Route {
            namespace,
            name,
            generation,
            created_unix_ms,
            rules,
        } = message;
        let mut warnings = Vec::new();
        let info = RouteInfo::new(namespace, name, *generation, *created_unix_ms)?;
        if rules.is_empty() {
            return Err(Refusal::new("spec.rules", "has no rule"));
        }
        let mut compiled: Vec<RuleSpec> = Vec::with_capacity(rules.len());
        for (i, rule) in rules.iter().enumerate() {
            let path = format!("spec.rules[{i}]");
            let before = previous.and_then(|p| p.rules.iter().find(|r| *r.name == *rule.name));
            let rule = RuleSpec::compile(rule, &path, before, &mut warnings)?;
            if compiled.iter().any(|r| r.name == rule.name) {
                return Err(Refusal::new(format!("{path}.name"), "is there twice"));
            }
            compiled.push(rule);
        }
        let spec = Self {
            info: Arc::new(info),
            rules: compiled.into(),
        };
        Ok((spec, warnings))
    }
}

// ---------------------------------------------------------------- impl RuleSpec

impl RuleSpec {
    fn compile(
        message: &proto::Rule,
        path: &str,
        previous: Option<&Self>,
        warnings: &mut Vec<Refusal>,
    ) -> Result<Self, Refusal> {
        let proto::Rule {
            name,
            matches,
            targets,
            strategy,
            retry,
            timeouts,
            limits,
        } = message;
        Label::new(name, &format!("{path}.name"))?;
        if !matches!(
            proto::Strategy::try_from(*strategy),
            Ok(proto::Strategy::Weighted | proto::Strategy::Unspecified)
        ) {
            let text = format!("this sidecar doesn't know strategy {strategy}: Weighted is used");
            warnings.push(Refusal::new(format!("{path}.strategy"), text));
        }
        let proto::Limits {
            max_body_bytes,
            max_concurrent,
        } = limits.unwrap_or_default();
        Ok(Self {
            matches: matches
                .iter()
                .enumerate()
                .map(|(i, m)| MatchSpec::compile(m, &format!("{path}.matches[{i}]")))
                .collect::<Result<_, _>>()?,
            name: name.as_str().into(),
            targets: compile_targets(targets, path)?,
            retry: compile_retry(retry.as_ref(), path, warnings),
            timeouts: timeouts.as_ref().map(compile_timeouts).unwrap_or_default(),
            max_body_bytes: match max_body_bytes {
                0 => BODY_BYTES,
                n => n,
            },
            gate: gate(max_concurrent, previous),
        })
    }

    /// The rule with the providers of this moment.
    pub(in crate::table) fn link<'p>(
        &self,
        route: &Arc<RouteInfo>,
        path: &str,
        provider: impl Fn(&str) -> Option<&'p Arc<Provider>>,
        warnings: &mut Vec<Refusal>,
    ) -> Rule {
        let link = |(i, target): (usize, &TargetSpec)| {
            let path = format!("{path}.targets[{i}]");
            target.link(&path, provider(&target.provider), warnings)
        };
        let targets = self.targets.iter().enumerate().map(link).collect();
        Rule {
            route: route.clone(),
            name: self.name.clone(),
            targets,
            retry: self.retry,
            timeouts: self.timeouts,
            max_body_bytes: self.max_body_bytes,
            concurrency: self.gate.as_ref().map(|(gate, limit)| {
                gate.set_limit(*limit);
                gate.clone()
            }),
        }
    }
}

impl TargetSpec {
    fn link(
        &self,
        path: &str,
        provider: Option<&Arc<Provider>>,
        warnings: &mut Vec<Refusal>,
    ) -> Target {
        if provider.is_none() && self.unavailable.is_none() {
            let text = format!(
                "no usable provider {}: the target is skipped",
                self.provider
            );
            warnings.push(Refusal::new(format!("{path}.providerRef"), text));
        }
        let model = match (&*self.model, provider) {
            ("", _) => TargetModel::AsRequested,
            (name, None) => TargetModel::Missing(name.into()),
            (name, Some(provider)) => provider.model(name).map_or_else(
                || {
                    let text = format!(
                        "{} has no model {name}: the target is skipped",
                        self.provider
                    );
                    warnings.push(Refusal::new(format!("{path}.model"), text));
                    TargetModel::Missing(name.into())
                },
                TargetModel::Fixed,
            ),
        };
        Target {
            name: self.name.clone(),
            provider_key: self.provider.clone(),
            provider: provider.cloned(),
            model,
            weight: self.weight,
            priority: self.priority,
            unavailable: self.unavailable.clone(),
        }
    }
}

fn compile_targets(messages: &[proto::Target], rule: &str) -> Result<Box<[TargetSpec]>, Refusal> {
    let path = format!("{rule}.targets");
    if messages.is_empty() || messages.len() > MAX_TARGETS {
        return Err(Refusal::new(path, format!("must be 1 to {MAX_TARGETS}")));
    }
    let mut targets: Vec<TargetSpec> = Vec::with_capacity(messages.len());
    for (i, message) in messages.iter().enumerate() {
        let proto::Target {
            name,
            provider,
            model,
            weight,
            priority,
            unavailable,
        } = message;
        let path = format!("{path}[{i}]");
        let name = Label::new(name, &format!("{path}.name"))?;
        if targets.iter().any(|t| t.name.as_str() == name.as_str()) {
            return Err(Refusal::new(format!("{path}.name"), "is there twice"));
        }
        if !model.is_empty() {
            Label::new(model, &format!("{path}.model"))?;
        }
        targets.push(TargetSpec {
            name,
            provider: provider.as_str().into(),
            model: model.as_str().into(),
            weight: *weight,
            priority: *priority,
            unavailable: (!unavailable.is_empty()).then(|| unavailable.as_str().into()),
        });
    }
    Ok(targets.into())
}

fn compile_retry(
    retry: Option<&proto::Retry>,
    rule: &str,
    warnings: &mut Vec<Refusal>,
) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(proto::Retry {
        attempts,
        on,
        backoff_base_ms,
        backoff_max_ms,
    }) = retry
    else {
        return default;
    };
    if *attempts > MAX_ATTEMPTS {
        let text = format!("this sidecar makes at most {MAX_ATTEMPTS}");
        warnings.push(Refusal::new(format!("{rule}.retry.attempts"), text));
    }
    let backoff_max = bounded(*backoff_max_ms, default.backoff_max);
    RetryPolicy {
        attempts: (*attempts).min(MAX_ATTEMPTS),
        on: compile_retry_on(on, rule, warnings),
        backoff_base: bounded(*backoff_base_ms, default.backoff_base).min(backoff_max),
        backoff_max,
    }
}

fn compile_retry_on(numbers: &[i32], rule: &str, warnings: &mut Vec<Refusal>) -> RetryOn {
    let mut on = RetryOn {
        connect_failure: false,
        timeout: false,
        rate_limited: false,
        server_error: false,
        overloaded: false,
    };
    for (i, number) in numbers.iter().enumerate() {
        match proto::RetryOn::try_from(*number) {
            Ok(proto::RetryOn::ConnectFailure) => on.connect_failure = true,
            Ok(proto::RetryOn::Timeout) => on.timeout = true,
            Ok(proto::RetryOn::RateLimited) => on.rate_limited = true,
            Ok(proto::RetryOn::ServerError) => on.server_error = true,
            Ok(proto::RetryOn::Overloaded) => on.overloaded = true,
            // Fewer retries than wished for are safe; more would be a guess.
            Ok(proto::RetryOn::Unspecified) | Err(_) => {
                let text = format!("this sidecar doesn't know cause {number}");
                warnings.push(Refusal::new(format!("{rule}.retry.on[{i}]"), text));
            }
        }
    }
    on
}

fn compile_timeouts(timeouts: &proto::Timeouts) -> Timeouts {
    let proto::Timeouts {
        connect_ms,
        first_byte_ms,
        stream_idle_ms,
        request_ms,
    } = timeouts;
    let default = Timeouts::default();
    Timeouts {
        connect: bounded(*connect_ms, default.connect),
        first_byte: bounded(*first_byte_ms, default.first_byte),
        stream_idle: bounded(*stream_idle_ms, default.stream_idle),
        request: bounded(*request_ms, default.request),
    }
}

/// 0 says nothing, and no wait is endless.
fn bounded(ms: u64, default: Duration) -> Duration {
    match ms {
        0 => default,
        ms => Duration::from_millis(ms).min(MAX_TIMEOUT),
    }
}

fn gate(limit: u32, previous: Option<&RuleSpec>) -> Option<(Arc<Gate>, u32)> {
    let gate = previous.and_then(|p| p.gate.as_ref());
    let gate = gate.map_or_else(|| Arc::new(Gate::new(limit)), |(gate, _)| gate.clone());
    (limit > 0).then_some((gate, limit))
}
