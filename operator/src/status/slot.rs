//! When one object's status is written: pure, by the caller's clock.
//!
//! A changed spec and the acks that answer it are written at once; everything
//! else (pods that come and go, figures) at most once in [`CALM`]. A write that
//! failed is tried again after a pause of its own, so that one object that the
//! API server refuses holds up no other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Job, StatusRef};

/// Between two writes that nobody waits for.
const CALM: Duration = Duration::from_secs(5);
/// After a failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// A new leader doesn't call sidecars gone that are about to reconnect: longer
/// than the longest pause between their tries, 15 s.
pub(super) const GRACE: Duration = Duration::from_secs(20);

/// What a status should read.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The object's life that it is about.
    pub uid: String,
    /// The generation that it is about.
    pub generation: i64,
    /// All of it.
    pub status: Value,
}

/// One object.
#[derive(Default)]
pub(super) struct Slot {
    wanted: Option<Arc<Wanted>>,
    there: Option<Arc<Value>>,
    /// Of `there`, when it is the response to a write of ours.
    version: Option<u64>,
    /// What we last wrote, and what was there after it.
    written: Option<(Arc<Wanted>, Option<Arc<Value>>)>,
    written_at: Option<Instant>,
    in_flight: Option<Arc<Wanted>>,
    failures: u32,
    paused_until: Option<Instant>,
}

/// Now, and what holds for all objects.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) leading_since: Instant,
    /// The process ends: no waiting for calm.
    pub(super) flush: bool,
}

/// How a write ended.
pub(super) enum Outcome {
    /// The API server answered with the object as it is now.
    Written {
        status: Option<Value>,
        version: Option<u64>,
    },
    /// Another life of the name, or none: the watch will tell.
    Moot,
    /// To be tried again.
    Failed,
}

// ---------------------------------------------------------------- impl Slot

impl Slot {
    pub(super) fn want(&mut self, wanted: Wanted) {
        if self.wanted.as_deref() == Some(&wanted) {
            return;
        }
        if self.wanted.as_ref().is_some_and(|w| w.uid != wanted.uid) {
            *self = Self {
                there: self.there.take(),
                ..Self::default()
            };
        }
        if self
            .wanted
            .as_ref()
            .is_some_and(|w| w.generation != wanted.generation)
        {
            // Perhaps the user mended what the API server refused.
            self.paused_until = None;
        }
        self.wanted = Some(Arc::new(wanted));
    }

    pub(super) fn see(&mut self, status: Option<Value>, version: Option<u64>) {
        if let (Some(own), Some(version)) = (self.version, version)
            && version <= own
        {
            return;
        }
        self.version = None;
        self.there = status.map(Arc::new);
    }

    pub(super) fn there(&self) -> Option<Arc<Value>> {
        self.there.clone()
    }

    pub(super) fn wanted(&self) -> Option<Arc<Wanted>> {
        self.wanted.clone()
    }

    /// Whether there is something to write.
    pub(super) fn differs(&self) -> bool {
        let Some(wanted) = &self.wanted else {
            return false;
        };
        match &self.written {
            // What the API server made of it needn't be equal to the letter.
            Some((written, then)) => written != wanted || *then != self.there,
            None => self.there.as_deref() != Some(&wanted.status),
        }
    }

    /// When to write; `None` while a write is under way.
    pub(super) fn due(&self, moment: Moment) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let wanted = self.wanted.as_ref()?;
        let paused = self.paused_until.unwrap_or(moment.now);
        if moment.flush {
            return Some(paused);
        }
        let calm = match self.written_at {
            _ if self.is_awaited(wanted) => moment.now,
            Some(at) => at + CALM,
            None if self.forgets_sidecars(wanted) => moment.leading_since + GRACE,
            None => moment.now,
        };
        Some(calm.max(paused))
    }

    pub(super) fn start(&mut self, object: &StatusRef) -> Option<Job> {
        let wanted = self.wanted.clone()?;
        self.in_flight = Some(Arc::clone(&wanted));
        Some(Job {
            object: object.clone(),
            wanted,
            before: self.there.clone(),
        })
    }

    pub(super) fn end(&mut self, outcome: Outcome, now: Instant) {
        let Some(sent) = self.in_flight.take() else {
            return;
        };
        match outcome {
            Outcome::Written { status, version } => {
                self.there = status.map(Arc::new);
                self.version = version;
                self.written = Some((sent, self.there.clone()));
                self.written_at = Some(now);
                self.failures = 0;
                self.paused_until = None;
            }
            Outcome::Moot => self.pause(FIRST_PAUSE, now),
            Outcome::Failed => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6));
                self.failures = self.failures.saturating_add(1);
                self.pause(pause.min(LONGEST_PAUSE), now);
            }
        }
    }

    pub(super) fn forget_writes(&mut self) {
        self.written = None;
        self.written_at = None;
        self.version = None;
        self.failures = 0;
        self.paused_until = None;
    }

    fn pause(&mut self, pause: Duration, now: Instant) {
        self.paused_until = Some(now + pause);
    }

    /// A user who changed the spec waits for this.
    fn is_awaited(&self, wanted: &Wanted) -> bool {
        let Some(there) = self.there.as_deref() else {
            return true;
        };
        if there["observedGeneration"].as_i64() != Some(wanted.generation) {
            return true;
        }
        let (before, after) = (programmed(there), programmed(&wanted.status));
        matches!(before, Some("Pending")) && before != after
    }

    /// The last leader has seen sidecars that this one hasn't seen yet.
    fn forgets_sidecars(&self, wanted: &Wanted) -> bool {
        let connected = |status: &Value| status.pointer("/dataplane/connected")?.as_u64();
        let before = self.there.as_deref().and_then(connected).unwrap_or(0);
        connected(&wanted.status).unwrap_or(0) < before
    }
}

fn programmed(status: &Value) -> Option<&str> {
    let conditions = status["conditions"].as_array()?;
    let programmed = conditions.iter().find(|c| c["type"] == "Programmed")?;
    programmed["reason"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(generation: i64, reason: &str, connected: u64) -> Value {
        json!({
            "observedGeneration": generation,
            "conditions": [{ "type": "Programmed", "reason": reason }],
            "dataplane": { "connected": connected },
        })
    }

    fn wanted(generation: i64, reason: &str, connected: u64) -> Wanted {
        Wanted {
            uid: "u1".into(),
            generation,
            status: status(generation, reason, connected),
        }
    }

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Moment {
            Moment {
                now: self.0 + Duration::from_secs(seconds),
                leading_since: self.0,
                flush: false,
            }
        }

        /// Seconds from the start until it is due, asked at `seconds`.
        fn due(&self, slot: &Slot, seconds: u64) -> Option<u64> {
            let due = slot.due(self.at(seconds))?;
            Some((due - self.0).as_secs())
        }

        fn write(&self, slot: &mut Slot, seconds: u64, version: u64) {
            let object = StatusRef {
                kind: super::super::StatusKind::Route,
                id: crate::world::ObjectRef::new("shop", "chat"),
            };
            let job = slot.start(&object).expect("something is wanted");
            let written = Outcome::Written {
                status: Some(job.wanted.status.clone()),
                version: Some(version),
            };
            slot.end(written, self.at(seconds).now);
        }
    }

    fn clock() -> Clock {
        Clock(Instant::now())
    }

    #[test]
    fn what_is_there_already_is_not_written() {
        let mut slot = Slot::default();
        slot.see(Some(status(1, "Programmed", 3)), Some(7));
        slot.want(wanted(1, "Programmed", 3));
        assert!(!slot.differs());
        slot.want(wanted(1, "Programmed", 4));
        assert!(slot.differs());
    }

    #[test]
    fn a_changed_spec_and_the_acks_that_answer_it_are_written_at_once() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Pending", 3));
        assert_eq!(clock.due(&slot, 0), Some(0));
        clock.write(&mut slot, 0, 5);
        slot.want(wanted(1, "Programmed", 3));
        assert_eq!(clock.due(&slot, 0), Some(0));
        clock.write(&mut slot, 0, 6);
        slot.want(wanted(2, "Pending", 3));
        assert_eq!(clock.due(&slot, 1), Some(1));
    }

    #[test]
    fn pods_that_come_and_go_are_written_once_in_five_seconds() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Programmed", 3));
        clock.write(&mut slot, 0, 5);
        slot.want(wanted(1, "Programmed", 4));
        assert_eq!(clock.due(&slot, 1), Some(5));
        slot.want(wanted(1, "Programmed", 3));
        assert!(!slot.differs(), "it went back before it was written");
    }

    #[test]
    fn failures_are_tried_again_after_5_s_doubled_up_to_5_min() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Pending", 0));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            slot.in_flight = slot.wanted.clone();
            slot.end(Outcome::Failed, clock.at(0).now);
            pauses.push(clock.due(&slot, 0).expect("due"));
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        clock.write(&mut slot, 300, 5);
        slot.want(wanted(2, "Pending", 0));
        assert_eq!(clock.due(&slot, 301), Some(301), "a success ends the pause");
    }

    #[test]
    fn an_old_echo_of_the_watch_does_not_undo_a_write() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Pending", 0));
        clock.write(&mut slot, 0, 5);
        slot.want(wanted(1, "Programmed", 1));
        clock.write(&mut slot, 0, 6);
        slot.see(Some(status(1, "Pending", 0)), Some(5));
        slot.see(Some(status(1, "Programmed", 1)), Some(6));
        assert!(!slot.differs());
        slot.see(Some(json!({})), Some(9));
        assert!(slot.differs(), "somebody else wrote it");
    }

    #[test]
    fn what_the_api_server_makes_of_a_write_is_not_written_again() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Programmed", 1));
        slot.in_flight = slot.wanted.clone();
        let mut more = status(1, "Programmed", 1);
        more["defaulted"] = true.into();
        let written = Outcome::Written {
            status: Some(more.clone()),
            version: Some(5),
        };
        slot.end(written, clock.at(0).now);
        slot.see(Some(more), Some(6));
        assert!(!slot.differs());
    }

    #[test]
    fn a_new_leader_gives_sidecars_time_to_reconnect() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.see(Some(status(1, "Programmed", 3)), Some(5));
        slot.want(wanted(1, "NoSidecars", 0));
        assert_eq!(clock.due(&slot, 1), Some(20));
        slot.want(wanted(2, "NoSidecars", 0));
        assert_eq!(
            clock.due(&slot, 1),
            Some(1),
            "but a changed spec is answered"
        );
    }

    #[test]
    fn another_life_of_the_name_starts_anew() {
        let (clock, mut slot) = (clock(), Slot::default());
        slot.want(wanted(1, "Pending", 0));
        slot.in_flight = slot.wanted.clone();
        slot.end(Outcome::Failed, clock.at(0).now);
        slot.want(Wanted {
            uid: "u2".into(),
            ..wanted(1, "Pending", 0)
        });
        assert_eq!(clock.due(&slot, 1), Some(1));
    }
}
