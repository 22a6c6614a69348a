//! A provider's secret, as it is sent: never shown, wiped when the last call
//! that uses it has ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use llmroute_protocol as proto;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::refusal::Refusal;

/// Counts credentials over the process's life: a pushed value is told from the
/// one before it even where the bytes are equal again.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A secret and what the provider said to it. It has no `Debug`.
pub(super) struct Secret {
    value: Bytes,
    hash8: Box<str>,
    standing: Arc<Standing>,
}

/// A secret in the header value of one provider.
pub struct Credential {
    header: HeaderValue,
    hash8: Box<str>,
    standing: Arc<Standing>,
}

struct Standing {
    serial: u64,
    told: Mutex<Told>,
    news: watch::Sender<()>,
}

/// What answers said about the credential.
#[derive(Clone, Copy, Default)]
struct Told {
    rejected401: u64,
    accepted: bool,
    rejected_at: Option<Instant>,
}

// ---------------------------------------------------------------- impl Secret

impl Secret {
    /// Checks a pushed credential. `previous` keeps its standing where the
    /// value is the same.
    pub(super) fn compile(
        message: &proto::Credential,
        previous: Option<&Self>,
        news: &watch::Sender<()>,
    ) -> Result<Self, Refusal> {
        const PATH: &str = "spec.auth.secretRef";
        let proto::Credential {
            provider: _,
            value,
            hash8,
        } = message;
        if value.is_empty() {
            return Err(Refusal::new(PATH, "the key is empty"));
        }
        // Not by making a header of it: that would leave a copy behind.
        if value
            .iter()
            .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
        {
            let text = "the key holds bytes that no HTTP header can carry; is there a line break?";
            return Err(Refusal::new(PATH, text));
        }
        let standing = match previous {
            Some(previous) if previous.value == *value => previous.standing.clone(),
            _ => Arc::new(Standing {
                serial: NEXT.fetch_add(1, Relaxed),
                told: Mutex::default(),
                news: news.clone(),
            }),
        };
        Ok(Self {
            value: wiped(&[value]),
            hash8: hash8.as_str().into(),
            standing,
        })
    }

    /// The value behind `prefix`.
    pub(super) fn behind(&self, prefix: &str) -> Option<Credential> {
        // `from_maybe_shared` keeps these very bytes, and with them the wiping.
        let bytes = wiped(&[prefix.as_bytes(), &self.value]);
        let mut header = HeaderValue::from_maybe_shared(bytes).ok()?;
        header.set_sensitive(true);
        Some(Credential {
            header,
            hash8: self.hash8.clone(),
            standing: self.standing.clone(),
        })
    }

    /// For the operator: what became of it. `None` before any answer.
    pub(super) fn state(&self, provider: &str) -> Option<proto::CredentialState> {
        let told = *self.standing.told();
        (told.accepted || told.rejected401 > 0).then(|| proto::CredentialState {
            provider: provider.to_owned(),
            hash8: self.hash8.to_string(),
            rejected401: told.rejected401,
            accepted: told.accepted,
        })
    }

    /// Told apart from the value that was pushed before it.
    pub(super) fn serial(&self) -> u64 {
        self.standing.serial
    }
}

// ---------------------------------------------------------------- impl Credential

impl Credential {
    /// What goes into the provider's auth header; marked sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// First 8 hex digits of the value's SHA-256.
    pub fn hash8(&self) -> &str {
        &self.hash8
    }

    /// Grows with each value that was pushed.
    pub fn serial(&self) -> u64 {
        self.standing.serial
    }

    /// True from a 401 until an answer that isn't one.
    pub fn is_rejected(&self) -> bool {
        self.standing.told().rejected_at.is_some()
    }

    /// True where the last 401 is longer ago than `after`: then one more call
    /// may find out, and this one is it.
    pub(crate) fn takes_another_try(&self, after: Duration, now: Instant) -> bool {
        let mut told = self.standing.told();
        let due = told.rejected_at.is_some_and(|at| now >= at + after);
        if due {
            told.rejected_at = Some(now);
        }
        due
    }

    /// The provider answered 401.
    pub(crate) fn reject(&self, now: Instant) {
        let mut told = self.standing.told();
        told.rejected401 += 1;
        told.accepted = false;
        told.rejected_at = Some(now);
        drop(told);
        self.standing.news.send_replace(());
    }

    /// The provider took it.
    pub(crate) fn accept(&self) {
        let mut told = self.standing.told();
        told.rejected_at = None;
        if !std::mem::replace(&mut told.accepted, true) {
            drop(told);
            self.standing.news.send_replace(());
        }
    }
}

impl Standing {
    fn told(&self) -> MutexGuard<'_, Told> {
        // Every section leaves it whole, so a poisoned lock is usable.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts joined in memory of their own that is wiped when the last
/// reference goes.
pub(super) fn wiped(parts: &[&[u8]]) -> Bytes {
    let mut joined = Zeroizing::new(Vec::with_capacity(parts.iter().map(|p| p.len()).sum()));
    for part in parts {
        joined.extend_from_slice(part);
    }
    Bytes::from_owner(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(value: &'static [u8]) -> proto::Credential {
        proto::Credential {
            provider: "shop/openai".into(),
            value: value.into(),
            hash8: "0a1b2c3d".into(),
        }
    }

    fn compile(value: &'static [u8], previous: Option<&Secret>) -> Result<Secret, Refusal> {
        Secret::compile(&pushed(value), previous, &watch::Sender::new(()))
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_without_being_shown() {
        let refusal = compile(b"sk-planted\n", None).err();
        let refusal = refusal.expect("a line break splits a header");
        assert_eq!(refusal.path, "spec.auth.secretRef");
        assert!(!refusal.message.contains("planted"), "{refusal:?}");
        assert!(compile(b"", None).is_err());
    }

    #[test]
    fn the_header_is_sensitive_and_behind_its_prefix() {
        let secret = compile(b"sk-planted", None).expect("fits a header");
        let credential = secret.behind("Bearer ").expect("fits");
        assert_eq!(credential.header().as_bytes(), b"Bearer sk-planted");
        assert!(!format!("{:?}", credential.header()).contains("planted"));
    }

    #[test]
    fn a_rejection_lasts_until_another_value_comes() {
        let first = compile(b"one", None).expect("fits");
        let used = first.behind("").expect("fits");
        used.reject(Instant::now());
        used.reject(Instant::now());
        let same = compile(b"one", Some(&first)).expect("fits");
        assert!(same.behind("").expect("fits").is_rejected());
        let other = compile(b"two", Some(&first)).expect("fits");
        assert!(!other.behind("").expect("fits").is_rejected());
        assert!(other.serial() > first.serial());
        let state = same.state("shop/openai").expect("was answered");
        assert_eq!((state.rejected401, state.accepted), (2, false));
    }
}
