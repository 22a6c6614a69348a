//! An answer, read as it passes.

mod document;
mod name;
mod stream;
mod usage;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use llmroute_protocol::Quirk;

use self::document::Document;
use self::stream::Stream;
use super::emit::{self, ErrorBody};
use super::operation::Operation;
use crate::dialect::json::Scanner;
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
    quirks: Box<[Quirk]>,
    hide_usage: bool,
    body: Body,
    document: Document,
    /// The body came to its end.
    ended: bool,
}

/// By shape.
#[derive(Debug)]
enum Body {
    Unknown,
    Json(Scanner),
    Stream(Stream),
    Opaque,
}

// ---------------------------------------------------------------- impl Shape

impl Shape {
    /// As the headers of an answer say.
    pub fn of(headers: &HeaderMap) -> Self {
        let compressed = headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        if compressed {
            return Self::Opaque;
        }
        let media_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim();
        if media_type.eq_ignore_ascii_case("text/event-stream") {
            Self::Stream
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else {
            // Some hosts send none, or a wrong one: the first byte knows better.
            Self::Unknown
        }
    }

    /// As the first byte says. `None`: it is blank.
    fn of_first(bytes: &[u8]) -> Option<Self> {
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
        Some(match first {
            b'{' | b'[' => Self::Json,
            // data, event, id, retry, a comment.
            b'd' | b'e' | b'i' | b'r' | b':' => Self::Stream,
            _ => Self::Opaque,
        })
    }
}

// ---------------------------------------------------------------- impl Body

impl Body {
    fn new(shape: Shape, hide_usage: bool) -> Self {
        match shape {
            Shape::Json => Self::Json(Scanner::default()),
            Shape::Stream => Self::Stream(Stream::new(hide_usage)),
            Shape::Opaque => Self::Opaque,
            Shape::Unknown => Self::Unknown,
        }
    }
}

// ---------------------------------------------------------------- impl Answer

impl Answer {
    /// A reader for an answer to `operation`. `hide_usage` as [`super::Splice::hides_usage`] says.
    pub fn new(operation: Operation, shape: Shape, quirks: &[Quirk], hide_usage: bool) -> Self {
        Self {
            operation,
            quirks: quirks.into(),
            hide_usage,
            body: Body::new(shape, hide_usage),
            document: Document::new(operation),
            ended: false,
        }
    }

    /// Reads a chunk and gives what is to be relayed now: the chunk itself, as a rule.
    /// Empty where all of it may belong to the hidden usage chunk.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if let Body::Unknown = self.body
            && let Some(shape) = Shape::of_first(&chunk)
        {
            self.body = Body::new(shape, self.hide_usage);
        }
        match &mut self.body {
            Body::Unknown => {}
            Body::Json(scanner) => scanner.feed(&chunk, &mut self.document),
            Body::Stream(stream) => return stream.push(chunk, &mut self.document),
            Body::Opaque => {
                let output = &mut self.document.output_bytes;
                *output = output.saturating_add(chunk.len() as u64);
            }
        }
        chunk
    }

    /// The body has ended: what was withheld and turned out to be the client's.
    pub fn finish(&mut self) -> Bytes {
        self.ended = true;
        match &mut self.body {
            Body::Stream(stream) => stream.finish(&mut self.document),
            Body::Unknown | Body::Json(_) | Body::Opaque => Bytes::new(),
        }
    }

    /// True once an error of the provider was read, in a 200.
    pub fn failed(&self) -> bool {
        self.document.error.is_some()
    }

    /// What was read so far. Final after [`Self::finish`] or when the call was dropped.
    pub fn reading(&self) -> Reading {
        let document = &self.document;
        Reading {
            usage: document
                .usage
                .and_then(|usage| usage.normal(self.operation, &self.quirks)),
            model: document.model.clone(),
            service_tier: document.service_tier.clone(),
            output_bytes: document.output_bytes,
            events: match &self.body {
                Body::Stream(stream) => stream.events,
                Body::Unknown | Body::Json(_) | Body::Opaque => 0,
            },
            ending: self.ending(),
            error: document.error.clone(),
        }
    }

    fn ending(&self) -> Ending {
        if self.failed() {
            return Ending::Failed;
        }
        let terminated = match &self.body {
            Body::Json(scanner) => scanner.is_complete(),
            Body::Stream(stream) => stream.done || self.document.terminal,
            Body::Unknown | Body::Opaque => self.ended,
        };
        if terminated {
            Ending::Terminated
        } else if self.finished() {
            Ending::Finished
        } else {
            Ending::Cut
        }
    }

    /// A stream of a shape that isn't known ends where it ends: to call that cut would
    /// append an error to every answer of its host.
    fn finished(&self) -> bool {
        match &self.body {
            Body::Stream(stream) => {
                let foreign = self.ended && stream.events > 0 && !self.document.known;
                foreign || self.document.all_finished()
            }
            Body::Unknown | Body::Json(_) | Body::Opaque => false,
        }
    }

    /// The end of a stream whose upstream died: an error event that every SDK raises,
    /// with what it takes to end a half-sent one. `None` where none may follow: not a
    /// stream, or it already ended by itself.
    pub fn stream_error(&mut self, error: &ErrorBody<'_>) -> Option<Bytes> {
        let ended = matches!(self.ending(), Ending::Terminated | Ending::Failed);
        let Body::Stream(stream) = &mut self.body else {
            return None;
        };
        if ended {
            return None;
        }
        let document = &self.document;
        Some(emit::stream_error(
            stream.separator(),
            error,
            (self.operation == Operation::Responses).then(|| emit::Response {
                id: document.response_id.as_deref().unwrap_or("resp_unknown"),
                model: document.model.as_deref().unwrap_or_default(),
                next: document
                    .sequence_number
                    .map_or(0, |last| last.saturating_add(1)),
            }),
        ))
    }
}

#[cfg(test)]
mod tests;
