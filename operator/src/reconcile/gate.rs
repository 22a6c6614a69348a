//! Whether what is known is whole enough to be published.
//!
//! At first every source must have been listed. Later only `ConfigMap`s that a
//! provider names for the first time are waited for, and not for long: without
//! that a new reference would look broken for the blink of an eye, to sidecars
//! and in the status.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::watches::Source;
use crate::world::ObjectRef;

/// The name of the readiness gate.
pub const GATE: &str = "config";

/// A `ConfigMap` that isn't told of by then is taken as absent.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Gate {
    readiness: Readiness,
    unlisted: BTreeSet<Source>,
    named: BTreeSet<ObjectRef>,
    awaited: BTreeSet<ObjectRef>,
    until: Option<Instant>,
    opened: bool,
}

// ---------------------------------------------------------------- impl Gate

impl Gate {
    pub(super) fn new(readiness: Readiness) -> Self {
        readiness.wait_for(GATE, "every cache to be listed");
        Self {
            readiness,
            unlisted: Source::LISTED.into(),
            named: BTreeSet::new(),
            awaited: BTreeSet::new(),
            until: None,
            opened: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.unlisted.is_empty() && self.awaited.is_empty()
    }

    pub(super) fn synced(&mut self, source: Source) {
        self.unlisted.remove(&source);
        self.note();
    }

    /// These are named now; wait for those that are new.
    pub(super) fn await_config_maps(&mut self, named: &BTreeSet<ObjectRef>, now: Instant) {
        if *named != self.named {
            let new: Vec<_> = named.difference(&self.named).cloned().collect();
            if !new.is_empty() {
                self.awaited.extend(new);
                self.until = Some(now + PATIENCE);
            }
            self.awaited.retain(|id| named.contains(id));
            self.named.clone_from(named);
        }
        self.note();
    }

    pub(super) fn answered(&mut self, id: &ObjectRef) {
        self.awaited.remove(id);
    }

    /// Gives up waiting when the time has come.
    pub(super) fn look(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.awaited.clear();
            self.until = None;
            self.note();
        }
    }

    fn note(&mut self) {
        if self.is_open() && !self.opened {
            self.opened = true;
            self.readiness.reached(GATE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> BTreeSet<ObjectRef> {
        names.iter().map(|n| ObjectRef::new("shop", *n)).collect()
    }

    fn listed() -> Gate {
        let mut gate = Gate::new(Readiness::default());
        for source in Source::LISTED {
            gate.synced(source);
        }
        gate
    }

    #[test]
    fn nothing_is_published_before_every_source_was_listed() {
        let readiness = Readiness::default();
        let mut gate = Gate::new(readiness.clone());
        for source in &Source::LISTED[1..] {
            gate.synced(*source);
        }
        assert!(!gate.is_open());
        assert_eq!(readiness.missing().len(), 1);
        gate.synced(Source::LISTED[0]);
        assert!(gate.is_open());
        assert_eq!(readiness.missing(), []);
    }

    #[test]
    fn a_config_map_that_is_named_for_the_first_time_is_waited_for() {
        let (mut gate, now) = (listed(), Instant::now());
        gate.await_config_maps(&ids(&["ca"]), now);
        assert!(!gate.is_open());
        gate.answered(&ObjectRef::new("shop", "ca"));
        assert!(gate.is_open());
        gate.await_config_maps(&ids(&["ca"]), now);
        assert!(gate.is_open(), "it is known");
    }

    #[test]
    fn nobody_waits_for_ever_nor_for_what_is_no_longer_named() {
        let (mut gate, now) = (listed(), Instant::now());
        gate.await_config_maps(&ids(&["ca"]), now);
        gate.look(now + Duration::from_secs(1));
        assert!(!gate.is_open());
        gate.look(now + PATIENCE);
        assert!(gate.is_open());
        gate.await_config_maps(&ids(&["ca", "other"]), now);
        gate.await_config_maps(&ids(&["ca"]), now);
        assert!(gate.is_open());
    }
}
