//! What the operator and its sidecars say to each other.
//!
//! `session.proto` is the contract and its comments are the documentation;
//! this crate holds the code generated from it (committed, so that a build
//! needs no protobuf compiler), and the two pieces that both ends must compute
//! alike: the version of a resource and the hash of a set of them. It decides
//! nothing: what a resource means belongs to the sidecar, where it comes from
//! to the operator.

mod debug;
mod resource;
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::pedantic,
    clippy::all,
    reason = "generated from session.proto, whose comments document it"
)]
#[rustfmt::skip]
mod v1;

pub use resource::{Body, DecodeError, Key, set_hash, version_of};
pub use v1::*;

/// The versions of `session.proto` that this build speaks.
pub const SCHEMA_MIN: u32 = 1;
/// The newest of them.
pub const SCHEMA_MAX: u32 = 1;

/// The audience of the token that a sidecar proves itself with.
pub const TOKEN_AUDIENCE: &str = "llmroute.dev";

/// The largest frame either end accepts, in bytes: a chunk of a snapshot stays far below it.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Resources of one snapshot chunk or delta stay below this many bytes.
pub const CHUNK_BYTES: usize = 512 * 1024;
