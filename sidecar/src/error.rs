//! Everything that a client can be answered instead of an upstream's answer.
//!
//! One closed enum, and one exhaustive match ([`ApiError::facts`]) from it to
//! status, code, retry cause and log level: a new way to fail can't be added
//! without deciding all of them. Codes are part of the contract with users
//! (docs/errors.md, which a test keeps equal to this file) and never change.
//!
//! No variant carries a byte of a prompt, a key, or an upstream's text: every
//! message is fit for a client and for a log.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tracing::Level;

use crate::upstream::UpstreamError;

#[cfg(test)]
mod tests;

/// What a client is answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// No `Host`, more than one, or one that isn't a host; or another than the URL's.
    #[error("the Host header is missing, doubled or not a host; send exactly one")]
    InvalidHost,
    /// No such endpoint.
    #[error(
        "unknown path; served are POST /v1/chat/completions, /v1/completions, /v1/embeddings, \
         /v1/responses and GET /v1/models, also without /v1"
    )]
    UnknownPath,
    /// The endpoint exists, for another method.
    #[error("this path takes {allow} only")]
    MethodNotAllowed {
        /// What it takes.
        allow: &'static str,
    },
    /// The body isn't declared as JSON.
    #[error("the body must be JSON; send Content-Type: application/json")]
    UnsupportedMediaType,
    /// The body is compressed.
    #[error("compressed request bodies are not read; send the body without Content-Encoding")]
    UnsupportedEncoding,
    /// `Expect` with something other than `100-continue`.
    #[error("only Expect: 100-continue is understood; leave the header out")]
    UnsupportedExpectation,
    /// Larger than `limits.maxBodyBytes` of the rule, or of every rule.
    #[error("the body is larger than {limit} bytes; shorten it or raise limits.maxBodyBytes")]
    BodyTooLarge {
        /// The limit that it broke.
        limit: u64,
    },
    /// The body came too slowly.
    #[error("the body was not received in time; send it without pauses")]
    BodyTimeout,
    /// The body ended before its declared end.
    #[error("the body ended early; send as many bytes as Content-Length says")]
    BodyIncomplete,
    /// The body is not JSON, or not an object.
    #[error("{problem}; send one JSON object in UTF-8")]
    InvalidJson {
        /// Where and what, without a byte of the body.
        problem: Box<str>,
    },
    /// A member that we read has the wrong form.
    #[error("{problem}")]
    InvalidField {
        /// Its name.
        field: &'static str,
        /// What is wrong, without a byte of the body.
        problem: Box<str>,
    },
    /// No rule of this pod's routes matches the model.
    #[error("no route of this pod serves the model `{model}`; it may call: {models}")]
    ModelNotFound {
        /// As asked for, cut to a bounded length.
        model: Box<str>,
        /// What this pod may call, for the reader.
        models: Arc<str>,
    },
    /// No route selects this pod.
    #[error(
        "no LLMRoute selects this pod; check spec.workloadSelector of the routes in its namespace"
    )]
    NoRoute,
    /// The operator has not sent a config yet, and none was cached.
    #[error(
        "no config has come yet from the operator; the sidecar's log says why; try again shortly"
    )]
    NoConfig,
    /// The route that matches was refused when it was compiled.
    #[error("the route {route} is invalid; see its status.rejections")]
    RouteInvalid {
        /// `namespace/name`.
        route: Arc<str>,
    },
    /// `limits.maxConcurrent` is reached.
    #[error("{limit} calls of this rule are under way; try again, or raise limits.maxConcurrent")]
    TooManyConcurrent {
        /// The limit.
        limit: u32,
    },
    /// Every target of the rule is out: its provider or credential is missing.
    #[error("no target of the rule can serve: {reason}")]
    NoTarget {
        /// Why, of the first.
        reason: Arc<str>,
    },
    /// The provider refused our credential.
    #[error("the provider refused the credential; rotate the Secret that its LLMProvider names")]
    UpstreamUnauthorized,
    /// The provider's name has no address.
    #[error("the provider's host name doesn't resolve; check spec.endpoint.baseURL and the DNS")]
    UpstreamResolve,
    /// The provider's address is one that no call may go to.
    #[error("the provider's address is not allowed (link-local, or loopback in a pod)")]
    UpstreamForbidden,
    /// No connection to the provider.
    #[error(
        "the provider doesn't take connections; check spec.endpoint.baseURL and egress policies"
    )]
    UpstreamConnect,
    /// No TLS with the provider.
    #[error("TLS with the provider failed; check the host name and spec.endpoint.caBundleRef")]
    UpstreamTls,
    /// `timeouts.connect` passed.
    #[error("connecting to the provider took longer than timeouts.connect")]
    UpstreamConnectTimeout,
    /// The connection ended before an answer, or was reset.
    #[error("the provider closed the connection before it answered")]
    UpstreamClosed,
    /// What the provider sent isn't HTTP.
    #[error("the provider's answer is not valid HTTP")]
    UpstreamProtocol,
    /// `timeouts.firstByte` passed.
    #[error("the provider didn't answer within timeouts.firstByte")]
    UpstreamFirstByteTimeout,
    /// `timeouts.streamIdle` passed.
    #[error("the provider's answer stalled for longer than timeouts.streamIdle")]
    UpstreamIdleTimeout,
    /// `timeouts.request` passed.
    #[error("the call took longer than timeouts.request")]
    RequestTimeout,
    /// A redirect, which is never followed: it would carry the prompt elsewhere.
    #[error(
        "the provider answered with a redirect, which is not followed; correct spec.endpoint.baseURL"
    )]
    UpstreamRedirect,
    /// The answer broke off.
    #[error("the provider's answer broke off before its end")]
    UpstreamTruncated,
    /// A stream whose first event is an error, with a status that asks for another try.
    #[error("the provider failed in the first event of its stream")]
    UpstreamStreamError,
    /// The sidecar ends, and the grace for open calls is over.
    #[error("the sidecar is shutting down")]
    ShuttingDown,
    /// A defect of ours.
    #[error("internal error; the log of the sidecar says more under this request id")]
    Internal,
}

/// Which of `retry.on` a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// No connection, or one that ended before an answer.
    ConnectFailure,
    /// Connecting or the first byte took too long; or an upstream's 408.
    Timeout,
    /// 429.
    RateLimited,
    /// 5xx but the overload ones.
    ServerError,
    /// 503 and 529.
    Overloaded,
}

/// All that is decided about an error, in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The HTTP status.
    pub status: StatusCode,
    /// `error.code`: stable.
    pub code: &'static str,
    /// The cause under which another try may be made, if any.
    pub retry: Option<Cause>,
    /// How loud the log is.
    pub level: Level,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// Whether the client's connection can't be used any longer.
    pub close: bool,
}

// ---------------------------------------------------------------- impl ApiError

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl ApiError {
    /// The one match. The client's mistakes are `debug`: an app in a loop must
    /// not fill the disk of its node; what an operator must mend is `warn`.
    pub const fn facts(&self) -> Facts {
        use StatusCode as S;
        match self {
            Self::InvalidHost => client(S::BAD_REQUEST, "invalid_host").closing(),
            Self::UnknownPath => client(S::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed { .. } => client(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UnsupportedMediaType => {
                client(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::UnsupportedEncoding => {
                client(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding")
            }
            Self::UnsupportedExpectation => {
                client(S::EXPECTATION_FAILED, "unsupported_expectation")
            }
            Self::BodyTooLarge { .. } => client(S::PAYLOAD_TOO_LARGE, "body_too_large").closing(),
            Self::BodyTimeout => client(S::REQUEST_TIMEOUT, "body_timeout").closing(),
            Self::BodyIncomplete => client(S::BAD_REQUEST, "body_incomplete").closing(),
            Self::InvalidJson { .. } => client(S::BAD_REQUEST, "invalid_json"),
            Self::InvalidField { .. } => client(S::BAD_REQUEST, "invalid_field"),
            Self::ModelNotFound { .. } => client(S::NOT_FOUND, "model_not_found"),
            Self::NoRoute => client(S::NOT_FOUND, "no_route").loud(),
            Self::NoConfig => ours(S::SERVICE_UNAVAILABLE, "no_config").after(1),
            Self::RouteInvalid { .. } => ours(S::INTERNAL_SERVER_ERROR, "route_invalid"),
            Self::TooManyConcurrent { .. } => {
                client(S::TOO_MANY_REQUESTS, "too_many_concurrent").after(1)
            }
            Self::NoTarget { .. } => ours(S::SERVICE_UNAVAILABLE, "no_target").after(1),
            Self::UpstreamUnauthorized => ours(S::BAD_GATEWAY, "upstream_unauthorized"),
            Self::UpstreamResolve => upstream("upstream_resolve_failed", Cause::ConnectFailure),
            Self::UpstreamForbidden => ours(S::BAD_GATEWAY, "upstream_address_forbidden"),
            Self::UpstreamConnect => upstream("upstream_connect_failed", Cause::ConnectFailure),
            Self::UpstreamTls => upstream("upstream_tls_failed", Cause::ConnectFailure),
            Self::UpstreamConnectTimeout => {
                upstream("upstream_connect_timeout", Cause::Timeout).late()
            }
            Self::UpstreamClosed => upstream("upstream_closed", Cause::ConnectFailure),
            Self::UpstreamProtocol => upstream("upstream_invalid_answer", Cause::ServerError),
            Self::UpstreamFirstByteTimeout => {
                upstream("upstream_first_byte_timeout", Cause::Timeout).late()
            }
            Self::UpstreamIdleTimeout => upstream("upstream_idle_timeout", Cause::Timeout).late(),
            Self::RequestTimeout => ours(S::GATEWAY_TIMEOUT, "request_timeout"),
            Self::UpstreamRedirect => ours(S::BAD_GATEWAY, "upstream_redirect"),
            Self::UpstreamTruncated => upstream("upstream_truncated", Cause::ServerError),
            Self::UpstreamStreamError => upstream("upstream_stream_error", Cause::ServerError),
            Self::ShuttingDown => ours(S::SERVICE_UNAVAILABLE, "shutting_down").after(1),
            Self::Internal => Facts {
                level: Level::ERROR,
                ..ours(S::INTERNAL_SERVER_ERROR, "internal")
            },
        }
    }

    /// The member of the body that is to blame.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::InvalidField { field, .. } => Some(field),
            Self::ModelNotFound { .. } => Some("model"),
            _ => None,
        }
    }

    /// `{"error": {...}}` in OpenAI's shape.
    pub fn body(&self) -> Bytes {
        let facts = self.facts();
        let body = Envelope {
            error: Inner {
                message: self.to_string(),
                r#type: kind(facts.status),
                param: self.param(),
                code: facts.code,
            },
        };
        serde_json::to_vec(&body)
            .expect("strings always serialise")
            .into()
    }

    /// The headers that belong to the answer itself.
    pub fn headers(&self) -> HeaderMap {
        let facts = self.facts();
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, JSON);
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = facts.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if facts.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers
    }
}

impl From<&UpstreamError> for ApiError {
    fn from(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Resolve => Self::UpstreamResolve,
            UpstreamError::Forbidden => Self::UpstreamForbidden,
            UpstreamError::Connect(_) => Self::UpstreamConnect,
            UpstreamError::Tls(_) => Self::UpstreamTls,
            UpstreamError::ConnectTimeout => Self::UpstreamConnectTimeout,
            UpstreamError::Closed => Self::UpstreamClosed,
            UpstreamError::Protocol => Self::UpstreamProtocol,
        }
    }
}

#[derive(Serialize)]
struct Envelope {
    error: Inner,
}

#[derive(Serialize)]
struct Inner {
    message: String,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

/// `error.type`, of the few that OpenAI's clients know.
const fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

// ---------------------------------------------------------------- impl Facts

const fn client(status: StatusCode, code: &'static str) -> Facts {
    Facts {
        status,
        code,
        retry: None,
        level: Level::DEBUG,
        retry_after: None,
        close: false,
    }
}

const fn ours(status: StatusCode, code: &'static str) -> Facts {
    client(status, code).loud()
}

const fn upstream(code: &'static str, retry: Cause) -> Facts {
    Facts {
        retry: Some(retry),
        ..ours(StatusCode::BAD_GATEWAY, code)
    }
}

impl Facts {
    const fn loud(self) -> Self {
        Self {
            level: Level::WARN,
            ..self
        }
    }

    const fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }

    const fn after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    const fn late(self) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            ..self
        }
    }
}

// ---------------------------------------------------------------- impl Cause

impl Cause {
    /// Every cause, in the order of the CRD.
    pub const ALL: [Self; 5] = [
        Self::ConnectFailure,
        Self::Timeout,
        Self::RateLimited,
        Self::ServerError,
        Self::Overloaded,
    ];

    /// The word for logs and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
        }
    }

    /// What an upstream's status means. Any other than these is the caller's
    /// own affair and passes on untouched.
    pub const fn of_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            408 => Some(Self::Timeout),
            429 => Some(Self::RateLimited),
            // 529 is Anthropic's, and some clones', word for overload.
            503 | 529 => Some(Self::Overloaded),
            500..=599 => Some(Self::ServerError),
            _ => None,
        }
    }
}
