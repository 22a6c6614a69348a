//! Manifests in a folder, read as an API server would take them: the schema's
//! bounds, patterns and CEL rules refuse an object, its defaults fill it in,
//! and an update that is refused leaves the last good object in place.
//!
//! It knows files and objects. It doesn't know what an object means: that is
//! the operator's own validate and build.

mod document;
mod environment;
mod folder;
mod schema;

pub(crate) use document::{Kind, ObjectKey, is_dns_name};
pub(crate) use environment::Environment;
pub(crate) use folder::{Folder, Object, Problem};
pub(crate) use schema::Schemas;
