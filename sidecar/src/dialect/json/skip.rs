//! How long strings are skipped.

/// Bytes looked at together: the compiler makes two vector compares of them.
const LANES: usize = 32;

/// How many bytes of a string stand before the first that means something: a
/// quote, a backslash, or a control character, which must not be there.
///
/// `memchr2` finds quote and backslash as fast, but would leave the control
/// characters to a second pass.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    for lanes in bytes.chunks_exact(LANES) {
        if lanes.iter().fold(false, |any, &byte| any | special(byte)) {
            break;
        }
        at += LANES;
    }
    bytes[at..]
        .iter()
        .position(|&byte| special(byte))
        .map_or(bytes.len(), |found| at + found)
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch for each byte would keep the loop from being vectorised"
)]
const fn special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}
