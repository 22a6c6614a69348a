//! Server-sent events as they pass, cut anywhere.
//!
//! Split on bytes, never on text: a chunk may end inside a UTF-8 sequence or
//! between CR and LF. Whole events go on at once, in the bytes that came. The
//! beginning of one whose end hasn't come is held back: it may turn out to be
//! the usage chunk that only we asked for, and if the upstream dies in it, the
//! client must see an error and not half a document, on which SDKs choke.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::document::Document;
use crate::dialect::json::Scanner;

/// An event that comes in pieces is held back up to this size, and then passed
/// on as it comes. A usage chunk has some hundred bytes.
const MAX_WITHHELD: usize = 16 * 1024;
/// The longest field name that matters is `data`.
const MAX_FIELD: usize = 5;
const DONE: &[u8] = b"[DONE]";

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    /// In the field's name.
    Field,
    /// Behind `data:`, where one space may stand.
    Space,
    Data,
    /// In a comment, or a field that means nothing here.
    Skipped,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stream {
    scanner: Scanner,
    line: Line,
    /// A CR ended the line: a LF right behind it belongs to it.
    after_cr: bool,
    field: [u8; MAX_FIELD],
    field_length: usize,
    /// A line that isn't a comment was seen of the event.
    in_event: bool,
    /// Lines of data of the event.
    data_lines: usize,
    /// The first bytes of its data.
    data: [u8; DONE.len()],
    data_length: usize,
    /// `[DONE]` came.
    pub(super) done: bool,
    /// Events with data.
    pub(super) events: u64,
    held: Held,
}

/// What is held back.
#[derive(Debug, Default)]
struct Held {
    /// The usage chunk is to be hidden.
    hide_usage: bool,
    /// The event under way is held back.
    open: bool,
    /// Its bytes out of earlier chunks.
    withheld: BytesMut,
    /// The hidden event ended in a CR: its LF is hidden too.
    swallow_lf: bool,
}

/// What of a chunk goes to the client.
struct Cut {
    /// Bytes withheld before, that go now.
    before: BytesMut,
    /// Where the event that is held back begins in the chunk.
    from: usize,
    /// What doesn't go. Ascending.
    hidden: Vec<Range<usize>>,
}

// ---------------------------------------------------------------- impl Stream

impl Stream {
    pub(super) fn new(hide_usage: bool) -> Self {
        Self {
            held: Held {
                hide_usage,
                ..Held::default()
            },
            ..Self::default()
        }
    }

    /// Reads a chunk, and gives what of it goes on.
    pub(super) fn push(&mut self, chunk: Bytes, document: &mut Document) -> Bytes {
        let mut cut = Cut {
            before: BytesMut::new(),
            from: 0,
            hidden: Vec::new(),
        };
        let mut at = 0;
        while at < chunk.len() {
            at = self.step(&chunk, at, document, &mut cut);
        }
        if self.held.open {
            let rest = chunk.len() - cut.from;
            if self.held.withheld.len() + rest > MAX_WITHHELD {
                self.release(&mut cut);
            } else {
                self.held.withheld.extend_from_slice(&chunk[cut.from..]);
                cut.hidden.push(cut.from..chunk.len());
            }
        }
        cut.apply(chunk)
    }

    /// The stream has ended: what was withheld and is the client's. Half a document
    /// stays withheld: no client can use it, and an error may follow.
    pub(super) fn finish(&mut self, document: &mut Document) -> Bytes {
        let half = self.scanner.fault().is_none() && !self.scanner.is_complete();
        if self.in_event && self.data_lines > 0 && half {
            return Bytes::new();
        }
        let hidden = self.end_event(document);
        let withheld = std::mem::take(&mut self.held.withheld);
        self.held.open = false;
        if hidden {
            Bytes::new()
        } else {
            withheld.freeze()
        }
    }

    /// What the client lacks to see the next event as one of its own. A withheld
    /// beginning is dropped: nobody misses half an event.
    pub(super) fn separator(&mut self) -> &'static str {
        if self.held.open {
            self.held.open = false;
            self.held.withheld.clear();
            return "";
        }
        let line_open = self.line != Line::Start;
        match (line_open, self.in_event, self.after_cr) {
            (true, true, _) | (false, true, true) => "\n\n",
            (true, false, _) | (false, true, false) | (false, false, true) => "\n",
            (false, false, false) => "",
        }
    }

    fn step(&mut self, chunk: &[u8], at: usize, document: &mut Document, cut: &mut Cut) -> usize {
        if std::mem::take(&mut self.after_cr) {
            let swallow = std::mem::take(&mut self.held.swallow_lf);
            if chunk[at] == b'\n' {
                if swallow {
                    cut.hidden.push(at..at + 1);
                }
                return at + 1;
            }
        }
        match self.line {
            Line::Start => self.line_start(chunk, at, document, cut),
            Line::Field => self.field(chunk, at),
            Line::Space => {
                self.line = Line::Data;
                if self.data_lines > 0 {
                    // Lines of data are joined by a line feed.
                    self.scanner.feed(b"\n", document);
                }
                self.data_lines += 1;
                at + usize::from(chunk[at] == b' ')
            }
            Line::Data => self.data(chunk, at, document),
            Line::Skipped => match memchr2(b'\n', b'\r', &chunk[at..]) {
                Some(length) => self.end_line(chunk, at + length),
                None => chunk.len(),
            },
        }
    }

    fn line_start(
        &mut self,
        chunk: &[u8],
        at: usize,
        document: &mut Document,
        cut: &mut Cut,
    ) -> usize {
        match chunk[at] {
            b'\n' | b'\r' => {
                let behind = self.end_line(chunk, at);
                if self.end_event(document) {
                    cut.hidden.push(cut.from..behind);
                    self.held.withheld.clear();
                    self.held.open = false;
                    self.held.swallow_lf = self.after_cr;
                } else if self.held.open {
                    self.release(cut);
                }
                behind
            }
            b':' => {
                self.line = Line::Skipped;
                at + 1
            }
            _ => {
                if !self.in_event {
                    self.begin_event(document);
                    cut.from = at;
                }
                self.line = Line::Field;
                self.field_length = 0;
                at
            }
        }
    }

    fn end_line(&mut self, chunk: &[u8], at: usize) -> usize {
        self.line = Line::Start;
        self.after_cr = chunk[at] == b'\r';
        at + 1
    }

    fn field(&mut self, chunk: &[u8], at: usize) -> usize {
        let byte = chunk[at];
        match byte {
            b'\n' | b'\r' => return self.end_line(chunk, at),
            b':' if self.field[..self.field_length] == *b"data" => self.line = Line::Space,
            b':' => self.line = Line::Skipped,
            _ if self.field_length == MAX_FIELD => self.line = Line::Skipped,
            _ => {
                self.field[self.field_length] = byte;
                self.field_length += 1;
            }
        }
        at + 1
    }

    fn data(&mut self, chunk: &[u8], at: usize, document: &mut Document) -> usize {
        let length = memchr2(b'\n', b'\r', &chunk[at..]);
        let end = length.map_or(chunk.len(), |length| at + length);
        let data = &chunk[at..end];
        let room = DONE.len() - self.data_length;
        let head = &data[..data.len().min(room)];
        self.data[self.data_length..][..head.len()].copy_from_slice(head);
        self.data_length += head.len();
        self.scanner.feed(data, document);
        match length {
            Some(_) => self.end_line(chunk, end),
            None => end,
        }
    }

    // ---- events

    fn begin_event(&mut self, document: &mut Document) {
        self.in_event = true;
        self.data_lines = 0;
        self.data_length = 0;
        self.scanner.reset();
        document.begin_event();
        self.held.open = true;
    }

    /// True where the event that ends is to be hidden.
    fn end_event(&mut self, document: &mut Document) -> bool {
        if !std::mem::take(&mut self.in_event) || self.data_lines == 0 {
            return false;
        }
        self.events += 1;
        self.done |= self.data[..self.data_length] == *DONE;
        self.held.hide_usage
            && self.held.open
            && self.may_be_hidden(document)
            && document.event.usage
            && self.scanner.is_complete()
    }

    /// The event may be the usage chunk: with no choices. The first chunk of Azure has none either, but no usage.
    fn may_be_hidden(&self, document: &Document) -> bool {
        !document.event.choices && !document.event.error && self.scanner.fault().is_none()
    }

    /// The event under way is the client's.
    fn release(&mut self, cut: &mut Cut) {
        self.held.open = false;
        cut.before.unsplit(std::mem::take(&mut self.held.withheld));
    }
}

// ---------------------------------------------------------------- impl Cut

impl Cut {
    /// The chunk itself or a slice of it, wherever that is possible.
    fn apply(self, chunk: Bytes) -> Bytes {
        if self.before.is_empty() && self.hidden.is_empty() {
            return chunk;
        }
        let mut left = Vec::with_capacity(self.hidden.len() + 1);
        let mut at = 0;
        for hidden in &self.hidden {
            left.push(at..hidden.start);
            at = hidden.end;
        }
        left.push(at..chunk.len());
        left.retain(|range| !range.is_empty());
        match &left[..] {
            [] => self.before.freeze(),
            [range] if self.before.is_empty() => chunk.slice(range.clone()),
            ranges => {
                let mut joined = self.before;
                for range in ranges {
                    joined.extend_from_slice(&chunk[range.clone()]);
                }
                joined.freeze()
            }
        }
    }
}
