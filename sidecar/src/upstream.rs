//! Where calls go: connections to providers, pooled by everything that may not
//! be shared.
//!
//! An [`Endpoint`] is one scheme, host, port and set of trust anchors with its
//! own pool; the table holds it in an `Arc`, so a request reaches its pool
//! without a lookup, and connections outlive a change of the config that keeps
//! their endpoint. HTTP/1.1 connections are driven by the task of the request
//! that uses them: no task of their own, no channel between two tasks for each
//! chunk, and a request that is dropped takes its connection with it, which is
//! what cancels the call at the provider. HTTP/2 connections are shared, so
//! they do have a task.
//!
//! This room knows no dialect, no retry and no deadline but the one for
//! connecting: what an answer means, and how long to wait for it, belongs to
//! `exchange`. It follows no redirect.

mod address;
mod body;
mod connect;
mod endpoint;
mod error;
mod h1;
mod h2;
mod pool;
mod stream;
mod tls;

pub use body::{RequestBody, Sent, UpstreamBody};
pub use endpoint::{Endpoint, EndpointError, Upstreams};
pub use error::UpstreamError;

#[cfg(test)]
mod tests;
