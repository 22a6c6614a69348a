//! What we say ourselves, in the shape that OpenAI's clients read.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

/// The members of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody<'a> {
    /// For people.
    pub message: &'a str,
    /// `invalid_request_error`, `server_error`, ...
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The member of the request at fault.
    pub param: Option<&'a str>,
    /// For programs; stable.
    pub code: &'a str,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a ErrorBody<'a>,
}

/// A model that may be called. The limits stand under the names that vLLM,
/// Groq and OpenRouter have made common; absent where they aren't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ListedModel<'a> {
    /// As callers name it.
    pub id: &'a str,
    /// Whose it is.
    pub owned_by: &'a str,
    /// Tokens of prompt and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Tokens of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
}

#[derive(Serialize)]
struct Model<'a> {
    object: &'static str,
    created: u64,
    #[serde(flatten)]
    listed: &'a ListedModel<'a>,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

/// `{"error": {...}}`.
pub fn error_body(error: &ErrorBody<'_>) -> Bytes {
    encode(&Envelope { error })
}

/// The answer to `GET /models`, in the order given.
pub fn models_body(models: &[ListedModel<'_>]) -> Bytes {
    encode(&List {
        object: "list",
        data: models.iter().map(Model::new).collect(),
    })
}

/// The answer to `GET /models/{id}`.
pub fn model_body(model: &ListedModel<'_>) -> Bytes {
    encode(&Model::new(model))
}

/// What an event about a response must name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    /// The next sequence number.
    pub(super) next: u64,
}

/// The error event behind `separator`. A stream of the responses endpoint needs two:
/// some clients drop the first, others only raise a nested `error`.
pub(super) fn stream_error(
    separator: &str,
    error: &ErrorBody<'_>,
    response: Option<Response<'_>>,
) -> Bytes {
    let mut event = Vec::from(separator);
    let Some(response) = response else {
        write_event(&mut event, None, &Envelope { error });
        return event.into();
    };
    let failed = json!({
        "type": "response.failed",
        "sequence_number": response.next,
        "response": {
            "id": response.id, "object": "response", "created_at": 0, "status": "failed",
            "error": {"code": "server_error", "message": error.message},
            "incomplete_details": null, "instructions": null, "metadata": {},
            "model": response.model, "output": [], "parallel_tool_calls": true,
            "temperature": null, "tool_choice": "auto", "tools": [], "top_p": null, "usage": null,
        },
    });
    write_event(&mut event, Some("response.failed"), &failed);
    let raised = json!({
        "type": "error",
        "sequence_number": response.next.saturating_add(1),
        "code": error.code, "message": error.message, "param": error.param,
        "error": error,
    });
    write_event(&mut event, Some("error"), &raised);
    event.into()
}

fn write_event(into: &mut Vec<u8>, name: Option<&str>, data: &impl Serialize) {
    if let Some(name) = name {
        into.extend_from_slice(b"event: ");
        into.extend_from_slice(name.as_bytes());
        into.push(b'\n');
    }
    into.extend_from_slice(b"data: ");
    into.extend_from_slice(&encode(data));
    into.extend_from_slice(b"\n\n");
}

impl<'a> Model<'a> {
    fn new(listed: &'a ListedModel<'a>) -> Self {
        Self {
            object: "model",
            // Nobody knows when an alias was created, but SDKs want a number.
            created: 0,
            listed,
        }
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("strings and numbers are always JSON")
        .into()
}
