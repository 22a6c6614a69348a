//! From a `spec` to newtypes, or refusals with a path. Most of it the CRD has
//! judged already; an object may be older than a rule.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue};
use llmroute_crds::route::{
    HeaderMatch, HeaderMatchType, Limits, Match, Retry, RetryOn, Rule, Strategy, Target, Timeouts,
};
use llmroute_crds::{Duration, LLMRouteSpec};
use llmroute_protocol as wire;

use crate::controllers::refusal::Refusal;
use crate::world::{ObjectRef, Selector};

const MAX_RULES: usize = 32;
const MAX_MATCHES: usize = 16;
const MAX_MODELS: usize = 64;
const MAX_HEADERS: usize = 8;
const MAX_TARGETS: usize = 16;
const MAX_WEIGHT: u32 = 1_000_000;
const MAX_PRIORITY: u32 = 15;
const MAX_RETRIES: u32 = 5;

/// A `spec` that means something by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValidRoute {
    pub(super) selector: Selector,
    pub(super) rules: Vec<ValidRule>,
}

/// A rule as it goes on the wire, but for its targets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValidRule {
    pub(super) wire: wire::Rule,
    pub(super) targets: Vec<ValidTarget>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValidTarget {
    /// Unique in the rule.
    pub(super) name: String,
    pub(super) provider: ObjectRef,
    /// `None`: as requested.
    pub(super) model: Option<String>,
    pub(super) weight: u32,
    pub(super) priority: u32,
}

/// Judges a `spec` by itself.
pub(super) fn validate(id: &ObjectRef, spec: &LLMRouteSpec) -> Result<ValidRoute, Vec<Refusal>> {
    let mut judge = Judge::default();
    let selector = judge.selector(spec);
    judge.count("spec.rules", spec.rules.len(), 1, MAX_RULES);
    judge.unique(
        "spec.rules",
        "name",
        spec.rules.iter().map(|rule| rule.name.as_str()),
    );
    let rules = spec.rules.iter().take(MAX_RULES).enumerate();
    let rules = rules.map(|(index, rule)| judge.rule(id, &format!("spec.rules[{index}]"), rule));
    let rules = rules.collect();
    match judge.refusals {
        refusals if refusals.is_empty() => Ok(ValidRoute { selector, rules }),
        refusals => Err(refusals),
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Judge {
    refusals: Vec<Refusal>,
}

// --------------------------------------------------------------- impl Judge

impl Judge {
    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.refusals.push(Refusal::new(path, message));
    }

    fn count(&mut self, path: &str, count: usize, min: usize, max: usize) {
        if count < min || count > max {
            self.refuse(
                path,
                format!("has {count} entries: it needs {min} to {max}"),
            );
        }
    }

    fn at_most(&mut self, path: String, value: u32, max: u32) {
        if value > max {
            self.refuse(path, format!("is {value}: at most {max}"));
        }
    }

    fn unique<'a>(&mut self, path: &str, field: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeMap::new();
        for (index, name) in names.enumerate() {
            if let Some(first) = seen.insert(name, index) {
                let message = format!("{name} is that of {path}[{first}] too: give it another");
                self.refuse(format!("{path}[{index}].{field}"), message);
            }
        }
    }

    fn some_time(&mut self, path: String, duration: Duration) -> u64 {
        if duration.as_millis() == 0 {
            self.refuse(path, "is 0: set it to some time");
        }
        duration.as_millis()
    }

    fn selector(&mut self, spec: &LLMRouteSpec) -> Selector {
        let Some(selector) = &spec.workload_selector else {
            return Selector::default();
        };
        match Selector::new(selector) {
            Ok(selector) => selector,
            Err((member, error)) => {
                let path = format!("spec.workloadSelector.{member}");
                self.refuse(path, error.to_string());
                Selector::default()
            }
        }
    }

    fn rule(&mut self, id: &ObjectRef, path: &str, rule: &Rule) -> ValidRule {
        // Destructured: a new member must say what it becomes on the wire.
        let Rule {
            name,
            matches,
            targets,
            strategy,
            retry,
            timeouts,
            limits,
        } = rule;
        self.count(&format!("{path}.matches"), matches.len(), 0, MAX_MATCHES);
        let matches = matches.iter().take(MAX_MATCHES).enumerate();
        let matches = matches.map(|(i, m)| self.match_(&format!("{path}.matches[{i}]"), m));
        let matches = matches.collect();
        let targets = self.targets(id, &format!("{path}.targets"), targets);
        let wire = wire::Rule {
            name: name.clone(),
            matches,
            targets: Vec::new(),
            strategy: match strategy {
                Strategy::Weighted => wire::Strategy::Weighted.into(),
            },
            retry: Some(self.retry(&format!("{path}.retry"), retry)),
            timeouts: Some(self.timeouts(&format!("{path}.timeouts"), timeouts)),
            limits: Some(self.limits(&format!("{path}.limits"), limits)),
        };
        ValidRule { wire, targets }
    }

    fn match_(&mut self, path: &str, match_: &Match) -> wire::Match {
        let Match { models, headers } = match_;
        self.count(&format!("{path}.models"), models.len(), 0, MAX_MODELS);
        self.count(&format!("{path}.headers"), headers.len(), 0, MAX_HEADERS);
        self.unique(path, "models", models.iter().map(String::as_str));
        for (index, model) in models.iter().enumerate() {
            if !is_pattern(model) {
                let message = "write a model's name, or one * at its beginning or end";
                self.refuse(format!("{path}.models[{index}]"), message);
            }
        }
        self.headers_differ(path, headers);
        let headers = headers.iter().enumerate();
        let headers = headers.map(|(i, h)| self.header(&format!("{path}.headers[{i}]"), h));
        wire::Match {
            models: models.clone(),
            headers: headers.collect(),
        }
    }

    fn headers_differ(&mut self, path: &str, headers: &[HeaderMatch]) {
        let mut seen = BTreeMap::new();
        for (index, header) in headers.iter().enumerate() {
            let name = header.name.to_ascii_lowercase();
            let first = *seen.entry(name).or_insert(index);
            if first != index {
                let message = format!(
                    "{} is that of {path}.headers[{first}] too, and all must match: keep one of them, or make two matches of it",
                    header.name
                );
                self.refuse(format!("{path}.headers[{index}].name"), message);
            }
        }
    }

    fn header(&mut self, path: &str, header: &HeaderMatch) -> wire::HeaderMatch {
        let HeaderMatch { name, value, type_ } = header;
        if HeaderName::try_from(name.as_str()).is_err() {
            self.refuse(format!("{path}.name"), "isn't the name of an HTTP header");
        }
        if HeaderValue::try_from(value.as_str()).is_err() {
            self.refuse(
                format!("{path}.value"),
                "can't be the value of an HTTP header",
            );
        }
        wire::HeaderMatch {
            name: name.to_ascii_lowercase(),
            value: value.clone(),
            r#type: match type_ {
                HeaderMatchType::Exact => wire::header_match::Type::Exact.into(),
                HeaderMatchType::Prefix => wire::header_match::Type::Prefix.into(),
            },
        }
    }

    fn targets(&mut self, id: &ObjectRef, path: &str, targets: &[Target]) -> Vec<ValidTarget> {
        self.count(path, targets.len(), 1, MAX_TARGETS);
        self.unique(path, "name", targets.iter().map(Target::effective_name));
        if !targets.is_empty() && targets.iter().all(|target| target.weight == 0) {
            self.refuse(
                path,
                "all have weight 0: give one of them a weight of 1 or more",
            );
        }
        let targets = targets.iter().take(MAX_TARGETS).enumerate();
        let targets = targets.map(|(index, target)| {
            let path = format!("{path}[{index}]");
            let provider = &target.provider_ref;
            let namespace = provider.namespace.as_ref().unwrap_or(&id.namespace);
            self.at_most(format!("{path}.weight"), target.weight, MAX_WEIGHT);
            self.at_most(format!("{path}.priority"), target.priority, MAX_PRIORITY);
            if provider.name.is_empty() || provider.name.contains('/') || namespace.contains('/') {
                self.refuse(format!("{path}.providerRef"), "doesn't name an LLMProvider");
            }
            ValidTarget {
                name: target.effective_name().to_owned(),
                provider: ObjectRef::new(namespace, &provider.name),
                model: target.model.clone().filter(|model| !model.is_empty()),
                weight: target.weight,
                priority: target.priority,
            }
        });
        targets.collect()
    }

    fn retry(&mut self, path: &str, retry: &Retry) -> wire::Retry {
        let Retry {
            attempts,
            on,
            backoff,
        } = retry;
        self.at_most(format!("{path}.attempts"), *attempts, MAX_RETRIES);
        if backoff.base > backoff.max {
            let message = "is longer than backoff.max: lower the one or raise the other";
            self.refuse(format!("{path}.backoff.base"), message);
        }
        let on: BTreeSet<i32> = on.iter().map(|cause| retry_on(*cause).into()).collect();
        wire::Retry {
            attempts: *attempts,
            on: on.into_iter().collect(),
            backoff_base_ms: self.some_time(format!("{path}.backoff.base"), backoff.base),
            backoff_max_ms: self.some_time(format!("{path}.backoff.max"), backoff.max),
        }
    }

    fn timeouts(&mut self, path: &str, timeouts: &Timeouts) -> wire::Timeouts {
        let Timeouts {
            connect,
            first_byte,
            stream_idle,
            request,
        } = timeouts;
        wire::Timeouts {
            connect_ms: self.some_time(format!("{path}.connect"), *connect),
            first_byte_ms: self.some_time(format!("{path}.firstByte"), *first_byte),
            stream_idle_ms: self.some_time(format!("{path}.streamIdle"), *stream_idle),
            request_ms: self.some_time(format!("{path}.request"), *request),
        }
    }

    fn limits(&mut self, path: &str, limits: &Limits) -> wire::Limits {
        let Limits {
            max_body_bytes,
            max_concurrent,
        } = limits;
        if *max_body_bytes == 0 {
            self.refuse(format!("{path}.maxBodyBytes"), "is 0: set it to 1 or more");
        }
        if *max_concurrent == Some(0) {
            let message = "is 0, so that nothing can be called: set it to 1 or more, or remove it";
            self.refuse(format!("{path}.maxConcurrent"), message);
        }
        wire::Limits {
            max_body_bytes: *max_body_bytes,
            max_concurrent: max_concurrent.unwrap_or_default(),
        }
    }
}

fn retry_on(cause: RetryOn) -> wire::RetryOn {
    match cause {
        RetryOn::ConnectFailure => wire::RetryOn::ConnectFailure,
        RetryOn::Timeout => wire::RetryOn::Timeout,
        RetryOn::RateLimited => wire::RetryOn::RateLimited,
        RetryOn::ServerError => wire::RetryOn::ServerError,
        RetryOn::Overloaded => wire::RetryOn::Overloaded,
    }
}

/// Exact, or one `*` at an end.
fn is_pattern(model: &str) -> bool {
    let bare = model.strip_suffix('*').or_else(|| model.strip_prefix('*'));
    let bare = bare.unwrap_or(model);
    !model.is_empty() && !bare.contains(|c: char| c == '*' || c.is_whitespace())
}

// ---------------------------------------------------------- impl ValidRoute

impl ValidRoute {
    pub(super) fn provider_names(&self) -> BTreeSet<ObjectRef> {
        let targets = self.rules.iter().flat_map(|rule| &rule.targets);
        targets.map(|target| target.provider.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
