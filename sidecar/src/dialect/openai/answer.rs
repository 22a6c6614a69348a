//! An answer, read as it passes.

use bytes::Bytes;
use http::HeaderMap;
use llmroute_protocol::Quirk;

use super::emit::ErrorBody;
use super::operation::Operation;
use crate::meter::Usage;

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON document.
    Json,
    /// Server-sent events.
    Stream,
    /// Compressed, or of a type that nobody here reads: passed on unread.
    Opaque,
    /// The headers don't say: the first byte does.
    Unknown,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its terminator: `[DONE]`, a terminal event, the end of the document.
    Terminated,
    /// Without one, but every choice had finished: some hosts send none.
    Finished,
    /// With an error that the provider sent inside a 200.
    Failed,
    /// In the middle.
    Cut,
}

/// An error that a provider sent inside a 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerError {
    /// Its `code`, or its `type` where it has none.
    pub code: Box<str>,
}

/// What was read of an answer so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// As reported. `None`: it has to be estimated.
    pub usage: Option<Usage>,
    /// The model as the answer names it.
    pub model: Option<Box<str>>,
    /// The service tier as the answer names it: prices follow it.
    pub service_tier: Option<Box<str>>,
    /// Bytes of generated text, for an estimate and for what it is learned from.
    pub output_bytes: u64,
    /// Events, where it is a stream.
    pub events: u64,
    /// How it ended.
    pub ending: Ending,
    /// What went wrong, where the provider said so.
    pub error: Option<AnswerError>,
}

/// The reader of one answer. Its state is bounded, whatever passes.
#[derive(Debug)]
pub struct Answer {
    operation: Operation,
    shape: Shape,
}

// ---------------------------------------------------------------- impl Shape

impl Shape {
    /// As the headers of an answer say.
    pub fn of(headers: &HeaderMap) -> Self {
        let _ = headers;
        Self::Unknown
    }
}

// ---------------------------------------------------------------- impl Answer

impl Answer {
    /// A reader for an answer to `operation`. `hide_usage` as [`super::Splice::hides_usage`] says.
    pub fn new(operation: Operation, shape: Shape, quirks: &[Quirk], hide_usage: bool) -> Self {
        let _ = (quirks, hide_usage);
        Self { operation, shape }
    }

    /// Reads a chunk and gives what is to be relayed now: the chunk itself, as a rule.
    /// Empty where all of it may belong to the hidden usage chunk.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let _ = self.operation;
        chunk
    }

    /// The body has ended: what was withheld and turned out to be the client's.
    pub fn finish(&mut self) -> Bytes {
        Bytes::new()
    }

    /// True once an error of the provider was read, in a 200.
    pub fn failed(&self) -> bool {
        false
    }

    /// What was read so far. Final after [`Self::finish`] or when the call was dropped.
    pub fn reading(&self) -> Reading {
        Reading {
            usage: None,
            model: None,
            service_tier: None,
            output_bytes: 0,
            events: 0,
            ending: Ending::Cut,
            error: None,
        }
    }

    /// The end of a stream whose upstream died: an error event that every SDK raises,
    /// with what it takes to end a half-sent one. `None` where none may follow: not a
    /// stream, or it already ended by itself.
    pub fn stream_error(&mut self, error: &ErrorBody<'_>) -> Option<Bytes> {
        let _ = error;
        matches!(self.shape, Shape::Stream).then(Bytes::new)
    }
}
