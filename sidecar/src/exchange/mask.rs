//! Takes our key out of what an upstream says.
//!
//! Some hosts repeat the credential that they refuse. The app is never to have
//! it: each occurrence becomes stars of the same length, so that no length
//! that was declared is wrong. It looks for the very bytes that were sent; a
//! key in another form, or in a compressed body, is not found.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use memchr::memmem;

use crate::balance::Pick;
use crate::table::{Auth, Credential};

/// A shorter key is a word that occurs by chance.
const MIN_BYTES: usize = 8;
const STAR: u8 = b'*';

/// The key that a try was sent with.
pub(super) struct Mask {
    credential: Arc<Credential>,
    /// Bytes of the header value in front of the key.
    prefix: usize,
    /// So many first bytes of the key are withheld: they ended the last chunk.
    held: usize,
}

impl Mask {
    /// `None`: it was sent with no key of ours, or with one too short to tell.
    pub(super) fn of(pick: &Pick) -> Option<Self> {
        let (Auth::Credential { prefix, .. }, Some(credential)) =
            (&pick.provider.auth, &pick.credential)
        else {
            return None;
        };
        let mask = Self {
            credential: credential.clone(),
            prefix: prefix.len(),
            held: 0,
        };
        (mask.key().len() >= MIN_BYTES).then_some(mask)
    }

    fn key(&self) -> &[u8] {
        let value = self.credential.header().as_bytes();
        value.get(self.prefix..).unwrap_or_default().trim_ascii()
    }

    /// Whether a body under `headers` can be looked through.
    pub(super) fn reads(headers: &HeaderMap) -> bool {
        headers
            .get(CONTENT_ENCODING)
            .is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    pub(super) fn headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            if let Some(masked) = masked(self.key(), value.as_bytes())
                && let Ok(masked) = HeaderValue::from_bytes(&masked)
            {
                *value = masked;
            }
        }
    }

    /// What of `chunk` may go out. What may be the beginning of a key waits.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        let key = self.key();
        let chunk = match self.held {
            0 => chunk,
            held => [&key[..held], &chunk].concat().into(),
        };
        let chunk = match masked(key, &chunk) {
            Some(masked) => masked.into(),
            None => chunk,
        };
        let held = begun(key, &chunk);
        let out = chunk.slice(..chunk.len() - held);
        self.held = held;
        out
    }

    /// The body has ended: what waited was no key.
    pub(super) fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        Bytes::copy_from_slice(&self.key()[..held])
    }
}

/// `None`: `key` doesn't occur.
fn masked(key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let find = |from: usize| Some(from + memmem::find(text.get(from..)?, key)?);
    let mut at = find(0)?;
    let mut masked = text.to_vec();
    loop {
        let end = at + key.len();
        masked[at..end].fill(STAR);
        match find(end) {
            Some(next) => at = next,
            None => return Some(masked),
        }
    }
}

/// How many last bytes of `text` are first bytes of `key`, which goes on.
fn begun(key: &[u8], text: &[u8]) -> usize {
    let most = text.len().min(key.len() - 1);
    let ends = |length: &usize| text.ends_with(&key[..*length]);
    (1..=most).rev().find(ends).unwrap_or(0)
}
