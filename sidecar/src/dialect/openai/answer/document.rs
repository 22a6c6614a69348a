//! What the JSON of an answer says: one document, or the events of a stream.

use std::ops::Range;

use super::name::Name;
use super::usage::Reported;
use super::{AnswerError, Operation};
use crate::dialect::json::{Scalar, Visit};
use crate::meter::Decimal;

/// Steps of a path that are kept: the deepest that matters has eight.
const MAX_PATH: usize = 10;

/// Reads the values that matter, whatever stands between them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that was or wasn't seen"
)]
#[derive(Debug)]
pub(super) struct Document {
    operation: Operation,
    streamed: bool,
    path: [Name; MAX_PATH],
    /// The depth of the usage object under way.
    usage_at: Option<usize>,
    under_way: Reported,
    /// The usage at hand is the answer's own, not `x_groq`'s copy of it.
    usage_is_own: bool,
    choice: Choice,
    /// A `code` beside the `type`, which may come first.
    code: Option<Box<str>>,
    /// Of the event, or of the document.
    pub(super) event: Event,
    pub(super) usage: Option<Reported>,
    pub(super) model: Option<Box<str>>,
    pub(super) service_tier: Option<Box<str>>,
    pub(super) output_bytes: u64,
    pub(super) error: Option<AnswerError>,
    /// An event came that is the last by its type.
    pub(super) terminal: bool,
    /// Of the last event that had one.
    pub(super) sequence_number: Option<u64>,
    pub(super) response_id: Option<Box<str>>,
    choices: Finished,
    /// Something was seen that an answer of this dialect has.
    pub(super) known: bool,
}

/// What one event holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// `choices` has an item.
    pub(super) choices: bool,
    /// There is a usage object.
    pub(super) usage: bool,
    /// It is, or holds, an error.
    pub(super) error: bool,
}

/// The choice under way.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    index: u64,
    finished: bool,
}

/// Which choices began and which ended, by index.
#[derive(Clone, Copy, Debug, Default)]
struct Finished {
    seen: u128,
    done: u128,
    /// More than can be told apart.
    many: bool,
}

// ---------------------------------------------------------------- impl Document

impl Document {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            streamed: false,
            path: [Name::Other; MAX_PATH],
            usage_at: None,
            under_way: Reported::default(),
            usage_is_own: false,
            choice: Choice::default(),
            code: None,
            event: Event::default(),
            usage: None,
            model: None,
            service_tier: None,
            output_bytes: 0,
            error: None,
            terminal: false,
            sequence_number: None,
            response_id: None,
            choices: Finished::default(),
            known: false,
        }
    }

    /// The next event of a stream begins.
    pub(super) fn begin_event(&mut self) {
        self.streamed = true;
        self.event = Event::default();
        self.usage_at = None;
        self.code = None;
    }

    /// Every choice that began has its finish reason.
    pub(super) fn all_finished(&self) -> bool {
        let Finished { seen, done, many } = self.choices;
        seen != 0 && seen == done && !many
    }

    fn path(&self, depth: usize) -> &[Name] {
        self.path.get(1..=depth).unwrap_or_default()
    }

    fn fail(&mut self) -> &mut AnswerError {
        self.event.error = true;
        self.error.get_or_insert_default()
    }

    /// An error's `code` says more than its `type`; one host has numbers there.
    fn fail_with(&mut self, name: Name, value: Scalar<'_>) {
        let (Scalar::String(text, _) | Scalar::Number(text)) = value else {
            self.fail();
            return;
        };
        let error = self.fail();
        let is_code = name == Name::Code;
        if is_code || (name == Name::Type && error.code.is_empty()) {
            error.code = printable(text);
        }
    }

    /// Generated text: what an estimate counts.
    fn is_output(&self, depth: usize) -> bool {
        match self.path(depth) {
            [Name::Choices, Name::Item, Name::Text] => true,
            [
                Name::Choices,
                Name::Item,
                Name::Delta | Name::Message,
                rest @ ..,
            ] => !rest.is_empty() && rest.iter().all(|name| !is_framing(*name)),
            _ if self.operation != Operation::Responses => false,
            [Name::Delta] => self.streamed,
            [Name::Output, Name::Item, Name::Arguments]
            | [
                Name::Output,
                Name::Item,
                Name::Content | Name::Summary,
                Name::Item,
                Name::Text | Name::Refusal,
            ] => !self.streamed,
            _ => false,
        }
    }

    fn string(&mut self, depth: usize, text: &[u8], length: u64) {
        if self.is_output(depth) {
            self.output_bytes = self.output_bytes.saturating_add(length);
        }
        match self.path(depth) {
            [Name::Model] | [Name::Response, Name::Model] => keep(&mut self.model, text),
            [Name::ServiceTier] | [Name::Response, Name::ServiceTier] => {
                keep(&mut self.service_tier, text);
            }
            [Name::Response, Name::Id] => keep(&mut self.response_id, text),
            [Name::Choices, Name::Item, Name::FinishReason] => {
                self.choice.finished = !text.is_empty();
            }
            [Name::Type | Name::Object] => self.kind(text),
            [Name::Status] if self.operation == Operation::Responses && text == b"failed" => {
                self.fail();
            }
            [Name::Code] => self.code(text, length),
            _ => {}
        }
    }

    fn code(&mut self, text: &[u8], length: u64) {
        if self.event.error {
            self.fail_with(Name::Code, Scalar::String(text, length));
        } else {
            self.code = Some(printable(text));
        }
    }

    /// The `type` of an event of the responses endpoint; the `object` of the others.
    fn kind(&mut self, text: &[u8]) {
        match text {
            b"error" => {
                let code = self.code.take();
                let error = self.fail();
                if let Some(code) = code.filter(|_| error.code.is_empty()) {
                    error.code = code;
                }
            }
            b"response.failed" => {
                self.terminal = true;
                self.fail();
            }
            b"response.completed" | b"response.incomplete" | b"response.cancelled" => {
                self.terminal = true;
            }
            _ => {}
        }
    }
}

impl Visit for Document {
    fn key(&mut self, depth: usize, key: &[u8], _at: usize) {
        if let Some(step) = self.path.get_mut(depth) {
            *step = Name::of(key);
            self.known |= depth == 1 && matches!(step, Name::Choices | Name::Type);
        }
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>, _place: Range<usize>) {
        if let Some(at) = self.usage_at {
            if let Some(path) = self.path.get(at + 1..=depth) {
                self.under_way.take(path, value);
            }
            return;
        }
        match (self.path(depth), value) {
            ([Name::Error], Scalar::Null | Scalar::Bool(false) | Scalar::String([], _))
            | ([Name::Response, Name::Error], Scalar::Null) => {}
            ([Name::Error], _) => {
                self.fail();
            }
            ([Name::Error, name] | [Name::Response, Name::Error, name], _) => {
                let name = *name;
                self.fail_with(name, value);
            }
            ([Name::Choices, Name::Item], _) => self.event.choices = true,
            ([Name::Choices, Name::Item, Name::Index], Scalar::Number(digits)) => {
                self.choice.index = count(digits).unwrap_or(0);
            }
            ([Name::SequenceNumber], Scalar::Number(digits)) => {
                self.sequence_number = count(digits).or(self.sequence_number);
            }
            (_, Scalar::String(text, length)) => self.string(depth, text, length),
            _ => {}
        }
    }

    fn open(&mut self, depth: usize, object: bool, _at: usize) {
        if self.usage_at.is_none() {
            match self.path(depth) {
                [Name::Usage] | [Name::XGroq | Name::Response, Name::Usage] if object => {
                    self.usage_at = Some(depth);
                    self.under_way = Reported::default();
                    self.event.usage = true;
                }
                [Name::Choices, Name::Item] => {
                    self.event.choices = true;
                    self.choice = Choice::default();
                }
                _ => {}
            }
        }
        if let Some(step) = self.path.get_mut(depth + 1) {
            *step = if object { Name::Other } else { Name::Item };
        }
    }

    fn close(&mut self, depth: usize, _end: usize) {
        if self.usage_at == Some(depth) {
            self.usage_at = None;
            let own = self.path(depth).first() != Some(&Name::XGroq);
            if own || !self.usage_is_own {
                self.usage_is_own |= own;
                self.usage = Some(self.under_way);
            }
        }
        if let [Name::Choices, Name::Item] = self.path(depth) {
            self.choices.close(self.choice);
        }
    }
}

// ---------------------------------------------------------------- impl Finished

impl Finished {
    fn close(&mut self, choice: Choice) {
        let bit = u32::try_from(choice.index)
            .ok()
            .and_then(|index| 1_u128.checked_shl(index));
        match bit {
            Some(bit) => {
                self.seen |= bit;
                self.done |= if choice.finished { bit } else { 0 };
            }
            None => self.many = true,
        }
    }
}

/// Members of a message that are no text of the model's.
const fn is_framing(name: Name) -> bool {
    matches!(
        name,
        Name::Role | Name::Id | Name::Type | Name::ReasoningDetails
    )
}

/// Each event repeats it: only a change costs an allocation.
fn keep(slot: &mut Option<Box<str>>, text: &[u8]) {
    if text.is_empty() || slot.as_deref().is_some_and(|held| held.as_bytes() == text) {
        return;
    }
    *slot = Some(printable(text));
}

/// It ends up in a log line and perhaps in a header.
fn printable(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(text)
        .chars()
        .filter(|char| !char.is_control())
        .collect::<String>()
        .into()
}

fn count(digits: &[u8]) -> Option<u64> {
    Decimal::parse(digits)?.integral()
}
