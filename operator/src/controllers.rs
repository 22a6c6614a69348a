//! The pure middle: objects in, resources and statuses out. It names no client,
//! no clock and no environment; what it needs of them is passed in.
//!
//! One folder a kind: `fetch` (all reads of the [`World`](crate::world::World)),
//! `validate` (an object to newtypes, or refusals with a path), `build` (newtypes
//! to resources), `status` (conditions). The [`Engine`] runs the first three for
//! whatever a [`Change`](crate::world::Change) concerns, and for nothing else.

mod built;
mod conditions;
mod conflicts;
mod dataplane;
mod engine;
mod index;
mod provider;
mod refusal;
mod route;

pub use built::{Built, PodConfig};
pub use dataplane::{CredentialFacts, Dataplane, Rejection};
pub use engine::{Effects, Engine, Options};
