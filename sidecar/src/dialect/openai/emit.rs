//! What we say ourselves, in the shape that OpenAI's clients read.

use bytes::Bytes;
use serde::Serialize;

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

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
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

/// The answer to `GET /models`: pairs of name and owner, in the order given.
pub fn models_body<'a>(models: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    encode(&List {
        object: "list",
        data: models
            .into_iter()
            .map(|(id, owned_by)| Model::new(id, owned_by))
            .collect(),
    })
}

/// The answer to `GET /models/{id}`.
pub fn model_body(id: &str, owned_by: &str) -> Bytes {
    encode(&Model::new(id, owned_by))
}

impl<'a> Model<'a> {
    fn new(id: &'a str, owned_by: &'a str) -> Self {
        Self {
            id,
            object: "model",
            // Nobody knows when an alias was created, but SDKs want a number.
            created: 0,
            owned_by,
        }
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("strings and numbers are always JSON")
        .into()
}
