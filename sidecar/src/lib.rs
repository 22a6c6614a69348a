//! The sidecar: routes, meters and relays the calls of one pod.
//!
//! It knows nothing of Kubernetes: config comes over `session`, and what it
//! can't learn there it doesn't know. A request meets the rooms in this order:
//! `server`, `table`, `dialect`, `balance`, `upstream`, `exchange`, `meter`.

pub mod access_log;
pub mod admin;
pub mod args;
pub mod balance;
pub mod cache;
pub mod dialect;
pub mod engine;
pub mod error;
pub mod exchange;
pub mod log;
pub mod meter;
pub mod metrics;
pub mod probe;
mod process;
pub mod run;
pub mod server;
pub mod session;
pub mod table;
pub mod upstream;
pub mod watchdog;
