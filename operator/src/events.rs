//! Events of `events.k8s.io`, told by the leader: what changed for the worse,
//! a rotated key, a new leader, a certificate that isn't renewed.
//!
//! Nothing waits for an Event: they go through a short queue, and what is too
//! much is dropped and counted. One with the same text about the same object
//! comes at most once in 30 s, and the API server's copy counts the repeats;
//! another text is another Event, up to so many an object. Never is there one a
//! request, and never a secret in one.

mod publisher;
mod recent;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::mpsc;

pub use publisher::Publisher;

use crate::metrics::Metrics;
use crate::status::StatusRef;

/// So many wait while the API server is slow.
const QUEUE: usize = 256;
/// The API server refuses longer notes.
const LONGEST: usize = 1000;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The object can't be used as it is.
    NotAccepted,
    /// An older route has the same match.
    Conflicted,
    /// Something that it names isn't there or may not be used.
    UnresolvedRefs,
    /// A provider refused the key.
    CredentialRejected,
    /// Another key is pushed from now on.
    CredentialRotated,
    /// Sidecars refused it.
    Rejected,
    /// This process serves from now on.
    LeaderChanged,
    /// The session certificate is about to end.
    CertificateLate,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// For the record.
    Normal,
    /// Somebody should look.
    Warning,
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Note {
    /// About what.
    pub regarding: ObjectReference,
    /// How bad.
    pub severity: Severity,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub text: String,
}

/// Where to put what is to be told. Never blocks.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Note>,
    metrics: Metrics,
}

// ---------------------------------------------------------------- impl Reason

impl Reason {
    /// As in the Event.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAccepted => "NotAccepted",
            Self::Conflicted => "Conflicted",
            Self::UnresolvedRefs => "UnresolvedRefs",
            Self::CredentialRejected => "CredentialRejected",
            Self::CredentialRotated => "CredentialRotated",
            Self::Rejected => "Rejected",
            Self::LeaderChanged => "LeaderChanged",
            Self::CertificateLate => "CertificateLate",
        }
    }

    /// What was being done.
    fn action(self) -> &'static str {
        match self {
            Self::NotAccepted | Self::Conflicted => "Validate",
            Self::UnresolvedRefs => "Resolve",
            Self::CredentialRejected | Self::CredentialRotated => "PushCredential",
            Self::Rejected => "Push",
            Self::LeaderChanged => "Elect",
            Self::CertificateLate => "Renew",
        }
    }
}

// ---------------------------------------------------------------- impl Note

impl Note {
    /// About an object of ours.
    pub fn about(
        object: &StatusRef,
        uid: &str,
        severity: Severity,
        reason: Reason,
        text: &str,
    ) -> Self {
        let regarding = ObjectReference {
            api_version: Some("llmroute.dev/v1alpha1".to_owned()),
            kind: Some(object.kind.name().to_owned()),
            namespace: Some(object.id.namespace.clone()),
            name: Some(object.id.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        Self::new(regarding, severity, reason, text)
    }

    /// About anything.
    pub fn new(regarding: ObjectReference, severity: Severity, reason: Reason, text: &str) -> Self {
        Self {
            regarding,
            severity,
            reason,
            text: text[..text.floor_char_boundary(LONGEST)].to_owned(),
        }
    }
}

// ---------------------------------------------------------------- impl Events

impl Events {
    /// The two ends of the queue.
    pub fn new(metrics: &Metrics) -> (Self, mpsc::Receiver<Note>) {
        let (queue, notes) = mpsc::channel(QUEUE);
        let metrics = metrics.clone();
        (Self { queue, metrics }, notes)
    }

    /// Tells it, unless too much is waiting.
    pub fn publish(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            self.metrics.events.with_label_values(&["dropped"]).inc();
        }
    }
}
