//! The provider type `mock`: answers made inside the sidecar, so that routes,
//! failover and money can be tried with no key at all.
//!
//! What it answers goes the way of any upstream's answer: the same reader
//! meters it, the same relay passes it on.

mod body;
mod directives;

use bytes::Bytes;
use http::{HeaderMap, Response};

pub use body::{MockBody, MockCut};
pub use directives::{DirectiveError, Directives};

use super::openai::Head;

/// The request header with directives. Never forwarded to any upstream.
pub const MOCK_HEADER: &str = "x-llmroute-mock";

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

/// Answers `call`, after its time to the first byte.
pub async fn answer(call: Call<'_>) -> Response<MockBody> {
    let _ = call;
    std::future::ready(()).await;
    Response::new(MockBody::default())
}

/// The directives of a request. None: the model's own behaviour.
pub fn directives(headers: &HeaderMap) -> Result<Directives, DirectiveError> {
    let _ = headers;
    Ok(Directives::default())
}
