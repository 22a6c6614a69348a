//! All that a route reads of the world: what became of the providers that it
//! names, and the labels of its own namespace.

use std::collections::BTreeMap;

use crate::controllers::provider::ProviderState;
use crate::world::{Labels, ObjectRef, World};

/// The providers as a route sees them.
pub(crate) struct Providers<'a> {
    pub(super) all: &'a BTreeMap<ObjectRef, ProviderState>,
    /// Of the route's namespace; `None` where it isn't known.
    pub(super) labels: Option<&'a Labels>,
}

// ---------------------------------------------------------- impl Providers

impl<'a> Providers<'a> {
    /// For a route of `namespace`.
    pub(crate) fn fetch(
        world: &'a World,
        all: &'a BTreeMap<ObjectRef, ProviderState>,
        namespace: &str,
    ) -> Self {
        let labels = world.namespaces.get(namespace);
        Self { all, labels }
    }
}
