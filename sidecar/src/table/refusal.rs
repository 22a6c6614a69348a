//! What was wrong with a resource, said in the words of its kind.

use llmroute_protocol::Outcome;

/// One resource can't be used, or not all of it.
///
/// The text reaches the object's status and the log: it never holds a byte of
/// a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, as the user wrote it: `spec.rules[0].targets[1].model`.
    pub path: String,
    /// What, for people.
    pub message: String,
}

/// What the sidecar made of one resource: the content of its ack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    refused: Option<Refusal>,
    /// Parts that were passed over; the first is told, the rest counted.
    passed_over: Vec<Refusal>,
}

// ---------------------------------------------------------------- impl Refusal

impl Refusal {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

// ---------------------------------------------------------------- impl Verdict

impl Verdict {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self {
            refused: Some(refusal),
            passed_over: Vec::new(),
        }
    }

    pub(super) fn taken(passed_over: Vec<Refusal>) -> Self {
        Self {
            refused: None,
            passed_over,
        }
    }

    /// The same, with further warnings of this one occasion.
    pub(super) fn with(&self, warnings: Vec<Refusal>) -> Self {
        let mut all = self.clone();
        all.passed_over.extend(warnings);
        all
    }

    /// Outcome, path and message of the ack.
    pub(super) fn said(self) -> (Outcome, String, String) {
        if let Some(Refusal { path, message }) = self.refused {
            return (Outcome::Error, path, message);
        }
        let more = self.passed_over.len().saturating_sub(1);
        match self.passed_over.into_iter().next() {
            None => (Outcome::Ok, String::new(), String::new()),
            Some(Refusal { path, message }) if more == 0 => (Outcome::Warn, path, message),
            Some(Refusal { path, message }) => {
                (Outcome::Warn, path, format!("{message} (and {more} more)"))
            }
        }
    }
}
