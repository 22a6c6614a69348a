//! Who depends on what: kept in step with each rebuild, asked at each change.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::ObjectRef;

/// From a thing that is named to those that name it, whether it exists or not.
#[derive(Default)]
pub(super) struct Index {
    dependants: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    names: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
}

// --------------------------------------------------------------- impl Index

impl Index {
    /// `dependant` names these now; returns what it began or ceased to name.
    pub(super) fn set(
        &mut self,
        dependant: &ObjectRef,
        names: BTreeSet<ObjectRef>,
    ) -> BTreeSet<ObjectRef> {
        let before = self.names.remove(dependant).unwrap_or_default();
        let changed: BTreeSet<_> = before.symmetric_difference(&names).cloned().collect();
        for name in &changed {
            let dependants = self.dependants.entry(name.clone()).or_default();
            if names.contains(name) {
                dependants.insert(dependant.clone());
            } else {
                dependants.remove(dependant);
            }
            if dependants.is_empty() {
                self.dependants.remove(name);
            }
        }
        if !names.is_empty() {
            self.names.insert(dependant.clone(), names);
        }
        changed
    }

    /// Those that name `name`.
    pub(super) fn of(&self, name: &ObjectRef) -> BTreeSet<ObjectRef> {
        self.dependants.get(name).cloned().unwrap_or_default()
    }

    /// How many name `name`.
    pub(super) fn count(&self, name: &ObjectRef) -> usize {
        self.dependants.get(name).map_or(0, BTreeSet::len)
    }

    /// Everything that is named.
    pub(super) fn all(&self) -> impl Iterator<Item = &ObjectRef> {
        self.dependants.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectRef {
        ObjectRef::new("shop", name)
    }

    #[test]
    fn an_index_forgets_what_is_no_longer_named() {
        let mut index = Index::default();
        index.set(&id("chat"), BTreeSet::from([id("a"), id("b")]));
        index.set(&id("code"), BTreeSet::from([id("b")]));
        assert_eq!((index.count(&id("a")), index.count(&id("b"))), (1, 2));
        let changed = index.set(&id("chat"), BTreeSet::from([id("b"), id("c")]));
        assert_eq!(changed, BTreeSet::from([id("a"), id("c")]));
        assert_eq!(index.all().cloned().collect::<Vec<_>>(), [id("b"), id("c")]);
        index.set(&id("chat"), BTreeSet::new());
        assert_eq!(index.of(&id("b")), BTreeSet::from([id("code")]));
    }
}
