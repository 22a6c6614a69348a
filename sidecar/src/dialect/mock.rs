//! The provider type `mock`: answers made inside the sidecar, so that routes,
//! failover and money can be tried with no key at all.
//!
//! What it answers goes the way of any upstream's answer: the same reader
//! meters it, the same relay passes it on. It counts four bytes of text as a
//! token, and counts the same whether it streams or not. It imitates shapes and
//! faults, not models: `echo` says what it was told.

mod body;
mod chat;
mod directives;
mod embeddings;
mod plan;
mod prompt;
mod responses;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

pub use body::{MockBody, MockCut};
pub use directives::{DirectiveError, Directives, MOCK_HEADER};

use self::body::Script;
use self::plan::Plan;
use super::openai::{ErrorBody, Head, Operation, error_body};

/// The models that it has.
pub const MODELS: [&str; 5] = ["echo", "slow", "fail-429", "fail-503", "cut"];

/// One call of the mock.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The request, as the client sent it.
    pub head: &'a Head,
    /// Its body.
    pub body: &'a Bytes,
    /// The provider's name of the model: one of [`MODELS`].
    pub model: &'a str,
    /// What [`MOCK_HEADER`] said.
    pub directives: Directives,
    /// Send the usage chunk of a stream: the client or the sidecar asked for it.
    pub include_usage: bool,
    /// Seconds since 1970, for `created`.
    pub now: u64,
    /// Names the answer.
    pub id: u64,
}

/// What is said, in whatever shape.
struct Reply<'a> {
    model: &'a str,
    id: u64,
    now: u64,
    choices: u64,
    /// The whole text.
    text: String,
    /// Where it is cut into chunks: the ends.
    ends: Vec<usize>,
    /// `max_tokens` ended it.
    shortened: bool,
    input_tokens: u64,
    output_tokens: u64,
    /// Report usage at all.
    usage: bool,
    /// A stream carries it in a chunk of its own.
    include_usage: bool,
}

/// The directives of a request. Without the header, every model behaves as it does.
pub fn directives(headers: &HeaderMap) -> Result<Directives, DirectiveError> {
    Directives::of(headers)
}

/// Answers `call`, after its time to the first byte. Dropping the future or the
/// body ends the call, as with any upstream.
pub async fn answer(call: Call<'_>) -> Response<MockBody> {
    let Some(plan) = Plan::of(call.model, call.directives) else {
        return unknown_model(call.model);
    };
    if !plan.ttfb.is_zero() {
        tokio::time::sleep(plan.ttfb).await;
    }
    if plan.status.is_success() {
        succeed(&call, &plan)
    } else {
        fail(&plan)
    }
}

fn succeed(call: &Call<'_>, plan: &Plan) -> Response<MockBody> {
    // The probe has checked it; what serde alone refuses is echoed as nothing.
    let request: Value = serde_json::from_slice(call.body).unwrap_or_default();
    let reply = Reply::new(call, plan, &request);
    let operation = call.head.operation;
    if !call.head.stream || operation == Operation::Embeddings {
        let whole = match operation {
            Operation::ChatCompletions => chat::whole(&reply),
            Operation::Completions => chat::whole_legacy(&reply),
            Operation::Responses => responses::whole(&reply),
            Operation::Embeddings => embeddings::whole(&reply, &request),
        };
        let script = Script::document(whole.to_string().into(), plan);
        return respond("application/json", script.into());
    }
    let mut script = Script::stream(plan);
    match operation {
        Operation::Responses => responses::stream(&reply, &mut script),
        Operation::Completions => chat::stream_legacy(&reply, &mut script),
        Operation::ChatCompletions | Operation::Embeddings => chat::stream(&reply, &mut script),
    }
    respond("text/event-stream", script.into())
}

fn respond(content_type: &'static str, body: MockBody) -> Response<MockBody> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn fail(plan: &Plan) -> Response<MockBody> {
    let (kind, code) = match plan.status {
        StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
        StatusCode::NOT_FOUND => ("invalid_request_error", "model_not_found"),
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", "rate_limit_exceeded"),
        StatusCode::SERVICE_UNAVAILABLE => ("server_error", "server_is_overloaded"),
        status if status.is_client_error() => ("invalid_request_error", "mock_refused"),
        _ => ("server_error", "mock_failed"),
    };
    let mut response = error(plan.status, kind, code, "the mock failed as it was told to");
    if let Some(seconds) = plan.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn unknown_model(model: &str) -> Response<MockBody> {
    let message = format!(
        "the mock has no model `{model}`; it has {}",
        MODELS.join(", ")
    );
    let (kind, code) = ("invalid_request_error", "model_not_found");
    error(StatusCode::NOT_FOUND, kind, code, &message)
}

fn error(status: StatusCode, kind: &str, code: &str, message: &str) -> Response<MockBody> {
    let body = error_body(&ErrorBody {
        message,
        kind,
        param: None,
        code,
    });
    let mut response = respond("application/json", Script::bytes(body).into());
    *response.status_mut() = status;
    response
}

// ---------------------------------------------------------------- impl Reply

/// Bytes that the mock counts as a token.
const TOKEN_BYTES: usize = 4;
/// More choices than this are not made.
const MAX_CHOICES: u64 = 8;

impl<'a> Reply<'a> {
    fn new(call: &Call<'a>, plan: &Plan, request: &Value) -> Self {
        let prompt = prompt::Prompt::of(call.head.operation, request);
        let mut text = prompt.echo;
        plan.fill(&mut text);
        let shortened = shorten(&mut text, call.head.max_output_tokens);
        let choices = match call.head.operation {
            Operation::ChatCompletions | Operation::Completions => {
                call.head.choices.clamp(1, MAX_CHOICES)
            }
            Operation::Responses | Operation::Embeddings => 1,
        };
        Self {
            model: call.model,
            id: call.id,
            now: call.now,
            choices,
            ends: plan.ends(&text),
            shortened,
            input_tokens: tokens(prompt.bytes),
            output_tokens: tokens(text.len()).saturating_mul(choices),
            text,
            usage: plan.usage,
            include_usage: call.include_usage,
        }
    }

    /// The text in chunks.
    fn pieces(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.text[start..end])
    }

    fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// The usage of all but the responses endpoint.
    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.total_tokens(),
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        })
    }
}

fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES).max(1) as u64
}

/// Keeps to the client's limit; true where that ended the text.
fn shorten(text: &mut String, limit: Option<u64>) -> bool {
    let Some(limit) = limit.and_then(|tokens| usize::try_from(tokens.max(1)).ok()) else {
        return false;
    };
    let limit = limit.saturating_mul(TOKEN_BYTES);
    if text.len() <= limit {
        return false;
    }
    text.truncate(text.floor_char_boundary(limit));
    true
}

#[cfg(test)]
mod tests;
