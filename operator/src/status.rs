//! Statuses on their way to the API server.
//!
//! The reconciler puts what each object's status should read on the
//! [`Desk`]; the [`Writer`] of the leader takes it from there, by server-side
//! apply, only what differs from what is there. There is one slot an object, so
//! newer replaces older and the queue is as long as there are objects. What a
//! status says is none of this room's business.

mod held;
mod slot;
mod transitions;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use slot::Wanted;
pub use writer::Writer;

use crate::world::ObjectRef;
use slot::{Moment, Outcome, Slot};

/// The kinds that have a status of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusKind {
    /// `LLMProvider`.
    Provider,
    /// `LLMRoute`.
    Route,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusRef {
    /// Of this kind.
    pub kind: StatusKind,
    /// With this name.
    pub id: ObjectRef,
}

/// Shared by the reconciler, which fills it, and the writer, which empties it.
#[derive(Clone, Default)]
pub struct Desk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    slots: Mutex<Slots>,
    touched: Notify,
}

#[derive(Default)]
struct Slots {
    all: BTreeMap<StatusRef, Slot>,
    /// Those that differ from what is there.
    dirty: BTreeSet<StatusRef>,
}

/// What the writer is to send.
struct Job {
    object: StatusRef,
    wanted: Arc<Wanted>,
    before: Option<Arc<Value>>,
}

/// What there is to do.
enum Next {
    /// Send these, now.
    Jobs(Vec<Job>),
    /// Nothing before then; `None`: until something is wanted.
    Wait(Option<Instant>),
}

// ---------------------------------------------------------------- impl StatusKind

impl StatusKind {
    /// As in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "LLMProvider",
            Self::Route => "LLMRoute",
        }
    }
}

impl fmt::Display for StatusRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.id)
    }
}

// ---------------------------------------------------------------- impl Desk

impl Desk {
    /// What the status of `object` should read from now on.
    pub fn want(&self, object: &StatusRef, wanted: Wanted) {
        self.change(object, |slot| slot.want(wanted));
    }

    /// What a watch has seen there. Older than our own last write: ignored.
    pub fn seen(&self, object: &StatusRef, status: Option<Value>, version: Option<u64>) {
        self.change(object, |slot| slot.see(status, version));
    }

    /// The object is gone.
    pub fn gone(&self, object: &StatusRef) {
        let mut slots = self.slots();
        slots.all.remove(object);
        slots.dirty.remove(object);
    }

    /// What is there, as far as is known: the response to our last write, or
    /// what the watch saw since.
    pub fn there(&self, object: &StatusRef) -> Option<Arc<Value>> {
        self.slots().all.get(object)?.there()
    }

    /// What its status should read, as of now.
    fn wanted(&self, object: &StatusRef) -> Option<Arc<Wanted>> {
        self.slots().all.get(object)?.wanted()
    }

    /// How many differ from what is there.
    pub fn backlog(&self) -> usize {
        self.slots().dirty.len()
    }

    /// Up to `room` objects whose time has come; they are in flight from then on.
    fn next(&self, moment: Moment, room: usize) -> Next {
        let mut slots = self.slots();
        let Slots { all, dirty } = &mut *slots;
        let mut jobs = Vec::new();
        let mut earliest: Option<Instant> = None;
        for object in dirty.iter() {
            let Some(slot) = all.get_mut(object) else {
                continue;
            };
            match slot.due(moment) {
                Some(due) if due <= moment.now => {
                    if jobs.len() == room {
                        break;
                    }
                    jobs.extend(slot.start(object));
                }
                Some(due) => earliest = Some(earliest.map_or(due, |e| e.min(due))),
                None => {}
            }
        }
        if jobs.is_empty() {
            Next::Wait(earliest)
        } else {
            Next::Jobs(jobs)
        }
    }

    fn ended(&self, object: &StatusRef, outcome: Outcome, now: Instant) {
        self.change(object, |slot| slot.end(outcome, now));
    }

    /// What we wrote as an earlier leader says nothing any more.
    fn forget_writes(&self) {
        let mut slots = self.slots();
        let Slots { all, dirty } = &mut *slots;
        for (object, slot) in all {
            slot.forget_writes();
            set(dirty, object, slot.differs());
        }
    }

    async fn touched(&self) {
        self.0.touched.notified().await;
    }

    fn change(&self, object: &StatusRef, change: impl FnOnce(&mut Slot)) {
        let mut slots = self.slots();
        let Slots { all, dirty } = &mut *slots;
        let slot = all.entry(object.clone()).or_default();
        change(slot);
        let differs = slot.differs();
        set(dirty, object, differs);
        drop(slots);
        if differs {
            self.0.touched.notify_one();
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(dirty: &mut BTreeSet<StatusRef>, object: &StatusRef, differs: bool) {
    if differs {
        dirty.insert(object.clone());
    } else {
        dirty.remove(object);
    }
}
