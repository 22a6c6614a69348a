//! What was told of late: pure, by the caller's clock.

use std::collections::HashMap;
use std::time::Duration;

use kube::runtime::events::Recorder;
use tokio::time::Instant;

use super::{Note, Reason};

/// The same text is told again only after so long.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// So long a repeat counts in the Event that is there.
const SERIES: Duration = Duration::from_mins(6);
/// So many different Events an object within that time.
const MOST: usize = 25;

/// By object, then by what was told of it.
#[derive(Default)]
pub(super) struct Recent(HashMap<Subject, HashMap<(Reason, String), Told>>);

/// An object, in one life.
#[derive(PartialEq, Eq, Hash)]
struct Subject {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

/// One Event. The client's recorder puts every text of a reason into the first
/// one's Event, so each text has a recorder of its own.
struct Told {
    at: Instant,
    recorder: Recorder,
}

/// What to do with a note.
pub(super) enum Verdict {
    /// Publish it, with this.
    News(Recorder),
    /// It was told less than [`AGAIN_AFTER`] ago.
    Repeated,
    /// Too much is told of its object.
    TooMany,
}

// ---------------------------------------------------------------- impl Recent

impl Recent {
    /// `fresh` makes a recorder that has told nothing yet.
    pub(super) fn judge(
        &mut self,
        note: &Note,
        now: Instant,
        fresh: impl FnOnce() -> Recorder,
    ) -> Verdict {
        self.0.retain(|_, told| {
            told.retain(|_, told| now - told.at < SERIES);
            !told.is_empty()
        });
        let told = self.0.entry(Subject::of(note)).or_default();
        let key = (note.reason, note.text.clone());
        if let Some(before) = told.get_mut(&key) {
            if now - before.at < AGAIN_AFTER {
                return Verdict::Repeated;
            }
            before.at = now;
            return Verdict::News(before.recorder.clone());
        }
        if told.len() >= MOST {
            return Verdict::TooMany;
        }
        let recorder = fresh();
        let event = Told {
            at: now,
            recorder: recorder.clone(),
        };
        told.insert(key, event);
        Verdict::News(recorder)
    }
}

impl Subject {
    fn of(note: &Note) -> Self {
        let regarding = &note.regarding;
        Self {
            kind: regarding.kind.clone(),
            namespace: regarding.namespace.clone(),
            name: regarding.name.clone(),
            uid: regarding.uid.clone(),
        }
    }
}
