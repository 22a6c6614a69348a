//! What a change led to.

use std::collections::BTreeSet;

use llmroute_protocol::Key;

use crate::world::ObjectRef;

/// What a change led to: the shell pushes and writes no more than this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Resources that are new, other or gone. Where a selector changed, the
    /// route's: which pods need it may differ although its bytes don't.
    pub resources: BTreeSet<Key>,
    /// Routes whose status may read differently.
    pub routes: BTreeSet<ObjectRef>,
    /// Providers whose status may read differently.
    pub providers: BTreeSet<ObjectRef>,
}

// ------------------------------------------------------------ impl Effects

impl Effects {
    /// Nothing to push, nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self {
            resources,
            routes,
            providers,
        } = self;
        resources.is_empty() && routes.is_empty() && providers.is_empty()
    }

    /// Joins what several changes led to.
    pub fn merge(&mut self, other: Self) {
        self.resources.extend(other.resources);
        self.routes.extend(other.routes);
        self.providers.extend(other.providers);
    }
}
