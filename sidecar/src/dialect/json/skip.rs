//! How long strings are skipped.

/// Bytes looked at together: the compiler makes vector compares of them.
const LANES: usize = 32;
const WORD: usize = size_of::<u64>();
/// This byte in each place of a word.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x80 * ONES;

/// How many bytes of a string stand before the first that means something: a
/// quote, a backslash, or a control character, which must not be there.
///
/// `memchr2` finds quote and backslash as fast, but would leave the control
/// characters to a second pass. Most stretches are short, a key or a line: words
/// first, lanes when they have led nowhere.
pub(super) fn plain(bytes: &[u8]) -> usize {
    if let Some(found) = in_words(&bytes[..bytes.len().min(LANES)]) {
        return found;
    }
    let mut at = LANES.min(bytes.len());
    for lanes in bytes[at..].chunks_exact(LANES) {
        if lanes.iter().fold(false, |any, &byte| any | special(byte)) {
            break;
        }
        at += LANES;
    }
    in_words(&bytes[at..]).map_or(bytes.len(), |found| at + found)
}

fn in_words(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (at, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            // The lowest bit is exact; those above it may be carries.
            let place = usize::try_from(found.trailing_zeros() / 8).unwrap_or(0);
            return Some(at * WORD + place);
        }
    }
    let found = rest.iter().position(|&byte| special(byte))?;
    Some(words.len() * WORD + found)
}

/// The high bit of each byte that means something.
const fn specials(word: u64) -> u64 {
    let quote = word ^ (b'"' as u64 * ONES);
    let backslash = word ^ (b'\\' as u64 * ONES);
    (quote.wrapping_sub(ONES) & !quote
        | backslash.wrapping_sub(ONES) & !backslash
        | word.wrapping_sub(b' ' as u64 * ONES) & !word)
        & HIGHS
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch for each byte would keep the loop from being vectorised"
)]
const fn special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for length in 0..100 {
            for special in [b'"', b'\\', 0, 31] {
                for fill in [b'a', b' ', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'] {
                    let mut bytes = vec![fill; length + 40];
                    assert_eq!(plain(&bytes), bytes.len());
                    bytes[length] = special;
                    bytes[length + 3] = b'"';
                    assert_eq!(plain(&bytes), length, "{special} after {fill}");
                }
            }
        }
    }
}
