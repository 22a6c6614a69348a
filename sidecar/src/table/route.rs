//! An LLMRoute, compiled: its rules with their targets.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::gate::Gate;
use super::label::Label;
use super::provider::{Model, Provider};

pub(super) mod compile;

/// Which object a rule belongs to.
#[derive(Debug)]
pub struct RouteInfo {
    /// `namespace/name`, for `x-llmroute-route`.
    pub key: Label,
    /// Of the object.
    pub generation: i64,
    /// `<name>@<generation>`, for `x-llmroute-config-version`.
    pub config_version: HeaderValue,
    /// The older of two objects wins an identical match.
    pub created_unix_ms: i64,
}

/// What to do with the calls that match.
pub struct Rule {
    /// The object it belongs to.
    pub route: Arc<RouteInfo>,
    /// Unique within the route.
    pub name: Box<str>,
    /// In the object's order; at least one.
    pub targets: Box<[Target]>,
    /// When a failed try is followed by another.
    pub retry: RetryPolicy,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// A longer request body is refused.
    pub max_body_bytes: u64,
    /// `None`: no limit of the rule's own.
    pub concurrency: Option<Arc<Gate>>,
}

/// One place that a call may go to.
pub struct Target {
    /// The effective name, for `x-llmroute-target`.
    pub name: Label,
    /// `namespace/name` of the provider.
    pub provider_key: Box<str>,
    /// `None`: not there, or never good.
    pub provider: Option<Arc<Provider>>,
    /// What is asked for there.
    pub model: TargetModel,
    /// Its share among the targets of its priority; 0: only where no target of
    /// the rule with a share can be used.
    pub weight: u32,
    /// Lower comes first.
    pub priority: u32,
    /// Not `None`: the operator says why the reference doesn't resolve.
    pub unavailable: Option<Box<str>>,
}

/// Which model a target asks for.
pub enum TargetModel {
    /// The one that the caller named.
    AsRequested,
    /// Always this one.
    Fixed(Arc<Model>),
    /// Always this one, which the provider doesn't have.
    Missing(Box<str>),
}

/// When a failed try is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after the first try.
    pub attempts: u32,
    /// After which failures.
    pub on: RetryOn,
    /// The pause before the first retry; each further one is twice as long.
    pub backoff_base: Duration,
    /// No pause is longer.
    pub backoff_max: Duration,
}

/// Failures that are followed by another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a set of causes, named as in spec.rules[].retry.on"
)]
pub struct RetryOn {
    /// No connection: the request was not seen.
    pub connect_failure: bool,
    /// No first byte in time.
    pub timeout: bool,
    /// 429.
    pub rate_limited: bool,
    /// 5xx.
    pub server_error: bool,
    /// 503, 529.
    pub overloaded: bool,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of an answer.
    pub first_byte: Duration,
    /// Between two chunks of an answer.
    pub stream_idle: Duration,
    /// For the whole call, all tries included.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_mins(1),
            stream_idle: Duration::from_mins(1),
            request: Duration::from_mins(10),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn {
                connect_failure: true,
                timeout: true,
                rate_limited: true,
                server_error: true,
                overloaded: true,
            },
            backoff_base: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}
