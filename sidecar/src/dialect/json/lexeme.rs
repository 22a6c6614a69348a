//! The text of the string or number under way.

use super::KEPT;

/// Where it can be, it is a slice of the piece at hand; only what holds escapes
/// or lies in two pieces is copied, and of that no more than [`KEPT`] bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexeme {
    kept: Kept,
    /// Where the stretch that isn't copied yet begins in the piece at hand.
    /// None: inside an escape.
    from: Option<usize>,
    /// Decoded bytes, all of them.
    length: u64,
    /// The UTF-16 unit that an escape is building.
    unit: u16,
    /// A high surrogate that waits for its other half.
    high: Option<u16>,
}

#[derive(Clone, Debug)]
struct Kept {
    bytes: [u8; KEPT],
    len: usize,
}

// ---------------------------------------------------------------- impl Lexeme

impl Lexeme {
    pub(super) fn begin(&mut self, at: usize) {
        self.kept.len = 0;
        self.length = 0;
        self.high = None;
        self.from = Some(at);
    }

    /// Another piece is at hand.
    pub(super) fn resume(&mut self) {
        if self.from.is_some() {
            self.from = Some(0);
        }
    }

    /// The piece at hand ends before the lexeme does.
    pub(super) fn suspend(&mut self, piece: &[u8]) {
        if self.from.is_some() {
            self.pause(piece, piece.len());
            self.from = Some(0);
        }
    }

    /// An escape begins.
    pub(super) fn pause(&mut self, piece: &[u8], at: usize) {
        if let Some(from) = self.from.take()
            && let Some(stretch) = piece.get(from..at)
            && !stretch.is_empty()
        {
            self.push(stretch);
        }
    }

    /// The escape is over.
    pub(super) fn go_on(&mut self, at: usize) {
        self.from = Some(at);
    }

    /// Adds decoded bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.lone_surrogate();
        self.append(bytes);
    }

    /// Adds a hex digit of an escape.
    pub(super) fn push_hex(&mut self, digit: u32, last: bool) {
        #[expect(clippy::cast_possible_truncation, reason = "a hex digit")]
        let digit = digit as u16;
        self.unit = (self.unit << 4) | digit;
        if last {
            self.push_unit(self.unit);
        }
    }

    fn push_unit(&mut self, unit: u16) {
        if let (Some(high), 0xDC00..=0xDFFF) = (self.high, unit) {
            self.high = None;
            let code = 0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00);
            return self.push_char(char::from_u32(code));
        }
        self.lone_surrogate();
        if let 0xD800..=0xDBFF = unit {
            self.high = Some(unit);
        } else {
            self.push_char(char::from_u32(u32::from(unit)));
        }
    }

    /// The other half of a surrogate didn't come.
    fn lone_surrogate(&mut self) {
        if self.high.take().is_some() {
            self.push_char(None);
        }
    }

    fn push_char(&mut self, char: Option<char>) {
        let mut utf8 = [0; 4];
        let char = char.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.append(char.encode_utf8(&mut utf8).as_bytes());
    }

    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.kept.len == KEPT {
            return;
        }
        let room = KEPT - self.kept.len;
        let bytes = &bytes[..bytes.len().min(room)];
        self.kept.bytes[self.kept.len..][..bytes.len()].copy_from_slice(bytes);
        self.kept.len += bytes.len();
    }

    /// The lexeme ends: its first bytes, and how many there are.
    pub(super) fn end<'a>(&'a mut self, piece: &'a [u8], at: usize) -> (&'a [u8], u64) {
        self.lone_surrogate();
        let stretch = self
            .from
            .take()
            .and_then(|from| piece.get(from..at))
            .unwrap_or_default();
        if self.length == 0 {
            return (&stretch[..stretch.len().min(KEPT)], stretch.len() as u64);
        }
        self.append(stretch);
        (&self.kept.bytes[..self.kept.len], self.length)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            bytes: [0; KEPT],
            len: 0,
        }
    }
}
