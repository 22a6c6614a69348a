//! The operator: watches the kinds of llmroute, builds what each pod needs to
//! know, pushes it to the sidecars and writes back what became of it.
//!
//! The pure middle (`controllers`, `catalog`) knows no client, no clock and no
//! environment; the shell around it (everything else here) decides nothing
//! about routes and providers. It never sees a request or an answer of a model.

pub mod admin;
pub mod args;
pub mod catalog;
pub mod certs;
pub mod controllers;
pub mod epoch;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod kinds;
pub mod kubernetes;
pub mod leader;
pub mod log;
pub mod metrics;
pub mod reconcile;
pub mod run;
pub mod session;
pub mod status;
pub mod tasks;
pub mod watches;
pub mod world;
