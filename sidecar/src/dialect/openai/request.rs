//! What routing needs to know of a request, found in the client's own bytes.

use std::ops::Range;

use bytes::Bytes;

use super::operation::Operation;

/// The longest name of a model that is looked up anywhere.
pub const MAX_MODEL_BYTES: usize = 256;

/// What was found in a request. The body itself stays where it is: `Head` holds
/// places in it, so it goes with that body only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is called.
    pub operation: Operation,
    /// As the client named it, without escapes.
    pub model: Box<str>,
    /// The client wants a stream.
    pub stream: bool,
    /// The client asked for the usage chunk of a stream itself.
    pub include_usage: bool,
    /// The most output tokens that the client allows, where it says so.
    pub max_output_tokens: Option<u64>,
    /// How many choices it wants.
    pub choices: u64,
    /// Bytes of the request that stand for tokens: all but inline media.
    pub input_bytes: u64,
    pub(super) places: Places,
}

/// Where a splice would cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Behind the opening brace.
    pub(super) first_member: usize,
    /// The model's value, quotes included.
    pub(super) model: Range<usize>,
    /// The value of `stream_options`.
    pub(super) stream_options: Option<Options>,
}

/// `stream_options` as it stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// From the key's quote to the end of the value.
    pub(super) member: Range<usize>,
    pub(super) value: Range<usize>,
    /// It is `null`, which has no members.
    pub(super) null: bool,
    /// It is `{}`.
    pub(super) empty: bool,
    /// The value of its `include_usage`.
    pub(super) include_usage: Option<Range<usize>>,
}

/// Why a request can't be routed. Each is the client's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not JSON.
    #[error("the body is not valid JSON: {what} at byte {at}")]
    Malformed {
        /// What is wrong there.
        what: &'static str,
        /// The first byte that can't stand where it stands.
        at: usize,
    },
    /// Some other JSON.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// A member that must be there.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// A member with a value of the wrong kind.
    #[error("`{param}` must be {wanted}")]
    WrongType {
        /// The member.
        param: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A member that parsers would read differently: the first or the last?
    #[error("`{0}` is given twice")]
    Duplicate(&'static str),
    /// Longer than any model's name.
    #[error("`model` is longer than {MAX_MODEL_BYTES} bytes")]
    ModelTooLong,
}

// ---------------------------------------------------------------- impl RequestError

impl RequestError {
    /// The member at fault, for `error.param`.
    pub const fn param(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { .. } | Self::NotAnObject => None,
            Self::Missing(param) | Self::WrongType { param, .. } | Self::Duplicate(param) => {
                Some(param)
            }
            Self::ModelTooLong => Some("model"),
        }
    }
}

// ---------------------------------------------------------------- impl Head

impl Head {
    /// Reads a request's whole body. It is checked to be JSON, so that a client
    /// learns of a broken one here and not from some provider; nothing of it is copied.
    pub fn probe(operation: Operation, body: &Bytes) -> Result<Self, RequestError> {
        let _ = (operation, body);
        Err(RequestError::NotAnObject)
    }
}
