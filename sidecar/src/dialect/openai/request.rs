//! What routing needs to know of a request, found in the client's own bytes.

use std::ops::Range;

use bytes::Bytes;

use super::operation::Operation;
use crate::dialect::json::{Fault, KEPT, Scalar, Scanner, Visit};
use crate::meter::Decimal;

/// The longest name of a model that is looked up anywhere.
pub(super) const MAX_MODEL_BYTES: usize = KEPT;

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
        if let Err(error) = std::str::from_utf8(body) {
            return Err(RequestError::Malformed {
                what: "invalid UTF-8",
                at: error.valid_up_to(),
            });
        }
        if body.starts_with("\u{feff}".as_bytes()) {
            return Err(RequestError::Malformed {
                what: "a byte order mark",
                at: 0,
            });
        }
        let mut scanner = Scanner::default();
        let mut probe = Probe::default();
        scanner.feed(body, &mut probe);
        scanner.finish(&mut probe);
        if let Some(Fault { what, at }) = scanner.fault() {
            return Err(RequestError::Malformed { what, at });
        }
        probe.into_head(operation, body.len() as u64)
    }
}

// ---------------------------------------------------------------- impl Probe

/// The members that matter, while the scanner passes them.
#[derive(Debug, Default)]
struct Probe {
    /// The document is an object.
    object: bool,
    member: Member,
    /// The key of the value that follows, anywhere, is `data`: of inline audio.
    in_data: bool,
    /// Where the key of the top-level member stands.
    member_at: usize,
    model: Option<Box<str>>,
    stream: Option<bool>,
    include_usage: Option<bool>,
    max_output_tokens: Option<u64>,
    choices: Option<u64>,
    media_bytes: u64,
    places: Places,
    error: Option<RequestError>,
}

/// A member that is read, at depth 1 or (the last) 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    Choices,
    IncludeUsage,
}

/// A string under the key `data` that is longer than this is media, not text.
const MEDIA_BYTES: u64 = 1024;

impl Probe {
    fn into_head(self, operation: Operation, length: u64) -> Result<Head, RequestError> {
        if !self.object {
            return Err(RequestError::NotAnObject);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        Ok(Head {
            operation,
            model: self.model.ok_or(RequestError::Missing("model"))?,
            stream: self.stream.unwrap_or(false),
            include_usage: self.include_usage.unwrap_or(false),
            max_output_tokens: self.max_output_tokens,
            choices: self.choices.unwrap_or(1),
            input_bytes: length.saturating_sub(self.media_bytes),
            places: self.places,
        })
    }

    fn refuse(&mut self, error: RequestError) {
        self.error.get_or_insert(error);
    }

    /// A member that is read must not come twice: which one would the upstream take?
    fn first(&mut self, param: &'static str, seen: bool) {
        if seen {
            self.refuse(RequestError::Duplicate(param));
        }
    }

    fn model(&mut self, value: Scalar<'_>, place: Range<usize>) {
        self.first("model", self.model.is_some());
        match value {
            Scalar::String([], _) => self.refuse(RequestError::WrongType {
                param: "model",
                wanted: "the name of a model, not an empty string",
            }),
            Scalar::String(_, length) if length > MAX_MODEL_BYTES as u64 => {
                self.refuse(RequestError::ModelTooLong);
            }
            Scalar::String(name, _) => {
                self.model = Some(String::from_utf8_lossy(name).into());
                self.places.model = place;
            }
            _ => self.wrong("model", "a string"),
        }
    }

    fn wrong(&mut self, param: &'static str, wanted: &'static str) {
        self.refuse(RequestError::WrongType { param, wanted });
    }

    /// `null` is how some clients leave a member out.
    fn flag(&mut self, value: Scalar<'_>, param: &'static str) -> Option<bool> {
        match value {
            Scalar::Bool(flag) => Some(flag),
            Scalar::Null => Some(false),
            _ => {
                self.wrong(param, "true or false");
                None
            }
        }
    }

    fn options(&mut self, value: Range<usize>, null: bool) {
        self.first("stream_options", self.places.stream_options.is_some());
        self.places.stream_options = Some(Options {
            member: self.member_at..value.end,
            value,
            null,
            empty: true,
            include_usage: None,
        });
    }

    /// Bytes that stand for few tokens or none: a picture, a recording, a file.
    fn media(&mut self, value: Scalar<'_>) {
        if let Scalar::String(text, length) = value
            && (text.starts_with(b"data:") || (self.in_data && length > MEDIA_BYTES))
        {
            self.media_bytes = self.media_bytes.saturating_add(length);
        }
    }
}

impl Visit for Probe {
    fn key(&mut self, depth: usize, key: &[u8], at: usize) {
        self.in_data = key == b"data";
        match depth {
            1 => {
                self.member_at = at;
                self.member = match key {
                    b"model" => Member::Model,
                    b"stream" => Member::Stream,
                    b"stream_options" => Member::StreamOptions,
                    b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => {
                        Member::MaxTokens
                    }
                    b"n" => Member::Choices,
                    _ => Member::Other,
                };
            }
            2 if matches!(self.member, Member::StreamOptions | Member::IncludeUsage) => {
                if let Some(options) = &mut self.places.stream_options {
                    options.empty = false;
                }
                self.member = match key {
                    b"include_usage" => Member::IncludeUsage,
                    _ => Member::StreamOptions,
                };
            }
            _ => {}
        }
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>, place: Range<usize>) {
        self.media(value);
        match (depth, self.member) {
            (1, Member::Model) => self.model(value, place),
            (1, Member::Stream) => {
                self.first("stream", self.stream.is_some());
                self.stream = self.flag(value, "stream");
            }
            (1, Member::StreamOptions) => {
                self.options(place, value == Scalar::Null);
                if value != Scalar::Null {
                    self.wrong("stream_options", "an object");
                }
            }
            (2, Member::IncludeUsage) => {
                const PARAM: &str = "stream_options.include_usage";
                self.first(PARAM, self.include_usage.is_some());
                self.include_usage = self.flag(value, PARAM);
                if let Some(options) = &mut self.places.stream_options {
                    options.include_usage = Some(place);
                }
            }
            (1, Member::MaxTokens) => {
                self.max_output_tokens = self.max_output_tokens.max(integer(value));
            }
            (1, Member::Choices) => self.choices = integer(value).or(self.choices),
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, object: bool, at: usize) {
        match (depth, self.member) {
            (0, _) => {
                self.object = object;
                self.places.first_member = at + 1;
            }
            (1, Member::Model) => self.wrong("model", "a string"),
            (1, Member::Stream) => self.wrong("stream", "true or false"),
            (1, Member::StreamOptions) if object => self.options(at..at, false),
            (1, Member::StreamOptions) => self.wrong("stream_options", "an object"),
            (2, Member::IncludeUsage) => {
                self.wrong("stream_options.include_usage", "true or false");
            }
            _ => {}
        }
    }

    fn close(&mut self, depth: usize, end: usize) {
        if depth == 1
            && matches!(self.member, Member::StreamOptions | Member::IncludeUsage)
            && let Some(options) = &mut self.places.stream_options
        {
            options.value.end = end;
            options.member.end = end;
        }
    }
}

/// A count, where it is one; what isn't is the upstream's to refuse.
fn integer(value: Scalar<'_>) -> Option<u64> {
    match value {
        Scalar::Number(digits) => Decimal::parse(digits)?.integral(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
