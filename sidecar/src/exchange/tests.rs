//! Whole calls: a real client, the server, a table, and upstreams on loopback
//! that do on purpose what networks do by accident.

mod client;
mod credentials;
mod faults;
mod limits;
mod refusals;
mod relaying;
mod retries;
mod sidecar;
mod upstream;

use client::{Answer, Client};
use upstream::{Reply, Upstream};
