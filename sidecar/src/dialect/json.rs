//! A JSON scanner that is fed in pieces, builds no tree and allocates nothing.
//!
//! It checks the grammar as strictly as RFC 8259 has it and tells a [`Visit`]
//! what passes: keys, scalars, where containers open and close. Of a string it
//! keeps no more than [`KEPT`] bytes, so its state is bounded whatever comes;
//! long strings, which is what prompts are, are skipped 32 bytes at a time. It
//! doesn't check UTF-8: whoever needs that checks the whole once, which is
//! faster. It is no parser for values: those who want one have serde.

mod lexeme;
mod number;
mod skip;

use std::ops::Range;

use lexeme::Lexeme;
use number::Number;

/// Decoded bytes that are kept of a string or a number.
pub(super) const KEPT: usize = 256;

/// Deeper documents are refused, as serde does.
pub(super) const MAX_DEPTH: usize = 127;

/// A value without members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    /// A string: its first bytes without escapes, and how many there are in all.
    String(&'a [u8], u64),
    /// A number as it stands. Longer than [`KEPT`]: its first bytes.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// What is told of a document. The document itself has depth 0, its members 1.
/// Places count from the first byte fed.
pub(super) trait Visit {
    /// The key of the member that follows; escapes taken out, cut at [`KEPT`].
    fn key(&mut self, depth: usize, key: &[u8], at: usize);
    /// A scalar.
    fn scalar(&mut self, depth: usize, value: Scalar<'_>, place: Range<usize>);
    /// An object or array opens.
    fn open(&mut self, depth: usize, object: bool, at: usize);
    /// It closes; the place is all of it.
    fn close(&mut self, depth: usize, end: usize);
}

/// What is wrong with a document, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// What the next byte may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A value.
    #[default]
    Value,
    /// A value, or the end of the array that just opened.
    FirstItem,
    /// A key, or the end of the object that just opened.
    FirstKey,
    /// A key.
    Key,
    Colon,
    /// A comma, or the end of the container.
    Comma,
    /// More of a string.
    Text,
    /// What a backslash escapes.
    Escape,
    /// So many hex digits of an escape are still to come.
    Hex(u8),
    Number(Number),
    /// So many bytes of the literal were seen.
    Literal(Literal, u8),
    /// Only blanks.
    End,
    Faulty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literal {
    True,
    False,
    Null,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    state: State,
    depth: usize,
    /// A bit for each open container: set where it is an object.
    objects: u128,
    /// The string under way is a key.
    in_key: bool,
    lexeme: Lexeme,
    /// Bytes fed before the piece at hand.
    base: usize,
    /// Where the scalar under way began.
    start: usize,
    fault: Option<Fault>,
}

// ---------------------------------------------------------------- impl Scanner

impl Scanner {
    /// Ready for another document.
    pub(super) fn reset(&mut self) {
        self.state = State::Value;
        self.depth = 0;
        self.base = 0;
        self.fault = None;
    }

    /// The document is whole.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// What is wrong with it, if anything was yet.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Reads on.
    pub(super) fn feed(&mut self, piece: &[u8], visit: &mut impl Visit) {
        let mut at = 0;
        if self.in_lexeme() {
            self.lexeme.resume();
        }
        while at < piece.len() && self.state != State::Faulty {
            at = self.step(piece, at, visit);
        }
        if self.in_lexeme() {
            self.lexeme.suspend(piece);
        }
        self.base += piece.len();
    }

    /// There is no more: ends a bare number, and faults what isn't whole.
    pub(super) fn finish(&mut self, visit: &mut impl Visit) {
        if let State::Number(number) = self.state
            && number.may_end()
        {
            self.end_number(&[], 0, visit);
        }
        if !self.is_complete() && self.fault.is_none() {
            self.fail("it ends early", 0);
        }
    }

    fn in_lexeme(&self) -> bool {
        matches!(
            self.state,
            State::Text | State::Escape | State::Hex(_) | State::Number(_)
        )
    }

    fn step(&mut self, piece: &[u8], at: usize, visit: &mut impl Visit) -> usize {
        let byte = piece[at];
        match self.state {
            State::Text => return self.text(piece, at, visit),
            State::Escape => self.escape(byte, at),
            State::Hex(left) => self.hex(byte, left, at),
            State::Number(number) => return self.number(number, piece, at, visit),
            State::Literal(literal, seen) => self.literal(literal, seen, byte, at, visit),
            State::Faulty => return piece.len(),
            _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => {}
            State::FirstItem if byte == b']' => self.close(at, visit),
            State::Value | State::FirstItem => self.value(byte, at, visit),
            State::FirstKey if byte == b'}' => self.close(at, visit),
            State::FirstKey | State::Key => self.key(byte, at),
            State::Colon if byte == b':' => self.state = State::Value,
            State::Colon => self.fail("expected a colon", at),
            State::Comma => self.comma(byte, at, visit),
            State::End => self.fail("something follows the document", at),
        }
        at + 1
    }

    fn fail(&mut self, what: &'static str, at: usize) {
        self.state = State::Faulty;
        self.fault = Some(Fault {
            what,
            at: self.base + at,
        });
    }

    // ---- structure

    fn value(&mut self, byte: u8, at: usize, visit: &mut impl Visit) {
        self.start = self.base + at;
        match byte {
            b'"' => self.begin_text(false, at),
            b'{' => self.open(true, at, visit),
            b'[' => self.open(false, at, visit),
            b't' => self.state = State::Literal(Literal::True, 1),
            b'f' => self.state = State::Literal(Literal::False, 1),
            b'n' => self.state = State::Literal(Literal::Null, 1),
            b'-' | b'0'..=b'9' => {
                self.lexeme.begin(at);
                self.state = State::Number(Number::begin(byte));
            }
            _ => self.fail("expected a value", at),
        }
    }

    fn key(&mut self, byte: u8, at: usize) {
        if byte == b'"' {
            self.start = self.base + at;
            self.begin_text(true, at);
        } else {
            self.fail("expected a key", at);
        }
    }

    fn open(&mut self, object: bool, at: usize, visit: &mut impl Visit) {
        if self.depth == MAX_DEPTH {
            return self.fail("it is nested too deep", at);
        }
        visit.open(self.depth, object, self.base + at);
        self.depth += 1;
        let bit = 1 << self.depth;
        if object {
            self.objects |= bit;
            self.state = State::FirstKey;
        } else {
            self.objects &= !bit;
            self.state = State::FirstItem;
        }
    }

    fn close(&mut self, at: usize, visit: &mut impl Visit) {
        self.depth -= 1;
        visit.close(self.depth, self.base + at + 1);
        self.after_value();
    }

    fn comma(&mut self, byte: u8, at: usize, visit: &mut impl Visit) {
        let object = self.objects & (1 << self.depth) != 0;
        match byte {
            b',' if object => self.state = State::Key,
            b',' => self.state = State::Value,
            b'}' if object => self.close(at, visit),
            b']' if !object => self.close(at, visit),
            _ => self.fail("expected a comma or the end of the container", at),
        }
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 {
            State::End
        } else {
            State::Comma
        };
    }

    // ---- scalars

    fn begin_text(&mut self, key: bool, at: usize) {
        self.in_key = key;
        self.lexeme.begin(at + 1);
        self.state = State::Text;
    }

    fn text(&mut self, piece: &[u8], mut at: usize, visit: &mut impl Visit) -> usize {
        loop {
            at += skip::plain(&piece[at..]);
            match piece.get(at) {
                None => {}
                Some(b'"') => self.end_text(piece, at, visit),
                Some(b'\\') => {
                    self.lexeme.pause(piece, at);
                    // Code has an escape a line: the usual ones take no detour.
                    if let Some(decoded) = piece.get(at + 1).copied().and_then(unescaped) {
                        self.lexeme.push(&[decoded]);
                        self.lexeme.go_on(at + 2);
                        at += 2;
                        continue;
                    }
                    self.state = State::Escape;
                }
                Some(_) => self.fail("a control character stands in a string", at),
            }
            return at + 1;
        }
    }

    fn end_text(&mut self, piece: &[u8], at: usize, visit: &mut impl Visit) {
        let (text, length) = self.lexeme.end(piece, at);
        if self.in_key {
            visit.key(self.depth, text, self.start);
            self.state = State::Colon;
        } else {
            let place = self.start..self.base + at + 1;
            visit.scalar(self.depth, Scalar::String(text, length), place);
            self.after_value();
        }
    }

    fn escape(&mut self, byte: u8, at: usize) {
        if byte == b'u' {
            self.state = State::Hex(4);
            return;
        }
        let Some(decoded) = unescaped(byte) else {
            return self.fail("no such escape", at);
        };
        self.lexeme.push(&[decoded]);
        self.lexeme.go_on(at + 1);
        self.state = State::Text;
    }

    fn hex(&mut self, byte: u8, left: u8, at: usize) {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return self.fail("expected a hex digit", at);
        };
        self.lexeme.push_hex(digit, left == 1);
        if left > 1 {
            self.state = State::Hex(left - 1);
        } else {
            self.lexeme.go_on(at + 1);
            self.state = State::Text;
        }
    }

    fn number(
        &mut self,
        mut number: Number,
        piece: &[u8],
        mut at: usize,
        visit: &mut impl Visit,
    ) -> usize {
        while let Some(&byte) = piece.get(at) {
            match number.next(byte) {
                Some(next) => number = next,
                None if number.may_end() => {
                    self.end_number(piece, at, visit);
                    return at;
                }
                None => {
                    self.fail("malformed number", at);
                    return at;
                }
            }
            at += 1;
        }
        self.state = State::Number(number);
        at
    }

    fn end_number(&mut self, piece: &[u8], at: usize, visit: &mut impl Visit) {
        let (digits, _) = self.lexeme.end(piece, at);
        let place = self.start..self.base + at;
        visit.scalar(self.depth, Scalar::Number(digits), place);
        self.after_value();
    }

    fn literal(&mut self, literal: Literal, seen: u8, byte: u8, at: usize, visit: &mut impl Visit) {
        let (word, value) = match literal {
            Literal::True => ("true", Scalar::Bool(true)),
            Literal::False => ("false", Scalar::Bool(false)),
            Literal::Null => ("null", Scalar::Null),
        };
        let seen = usize::from(seen);
        if word.as_bytes()[seen] != byte {
            self.fail("expected a value", at);
        } else if seen + 1 == word.len() {
            visit.scalar(self.depth, value, self.start..self.base + at + 1);
            self.after_value();
        } else {
            // Words have at most five letters.
            #[expect(clippy::cast_possible_truncation, reason = "below five")]
            let seen = (seen + 1) as u8;
            self.state = State::Literal(literal, seen);
        }
    }
}

/// What a backslash makes of a byte; `u` apart.
const fn unescaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
