//! Warnings that wait until it is sure that they are true: pure.
//!
//! The watches race: of a provider and a route in one file the route may come
//! first, and for a moment it names nothing that is there. Its condition says
//! so at once and is mended at once; an Event stays for an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::StatusRef;
use crate::events::{Note, Reason};

/// Told only if it still holds after so long.
pub(super) const HOLD: Duration = Duration::from_secs(3);

/// At most one an object.
#[derive(Default)]
pub(super) struct Held(BTreeMap<StatusRef, (Instant, String)>);

// ---------------------------------------------------------------- impl Held

impl Held {
    /// Takes `note` if it is of those that wait; gives it back otherwise.
    pub(super) fn take(&mut self, object: &StatusRef, note: Note, now: Instant) -> Option<Note> {
        if note.reason != Reason::UnresolvedRefs {
            return Some(note);
        }
        let uid = note.regarding.uid.unwrap_or_default();
        let held = (now + HOLD, uid);
        match self.0.get(object) {
            Some((_, life)) if *life == held.1 => {}
            _ => {
                self.0.insert(object.clone(), held);
            }
        }
        None
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|(due, _)| *due).min()
    }

    /// Those whose time has come: the object, and the uid that it had.
    pub(super) fn ripe(&mut self, now: Instant) -> Vec<(StatusRef, String)> {
        let ripe = self.0.extract_if(.., |_, (due, _)| *due <= now);
        ripe.map(|(object, (_, uid))| (object, uid)).collect()
    }

    /// Another process leads.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
