//! The house of the suites that need more than one crate: a real API server
//! and etcd, the real binaries as processes, upstreams that misbehave on
//! demand, official SDKs as clients.
//!
//! A suite under `tests/` says what must hold; this library only starts things,
//! waits for them with an end, and shows their logs when a wait was in vain.
//! It asserts nothing about llmroute itself. Whatever it starts ends with the
//! test process, however that ends.

pub mod aimock;
pub mod assets;
pub mod cluster;
pub mod crd_cases;
pub mod http;
pub mod manifests;
pub mod operator;
pub mod pki;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod reaper;
pub mod sdk;
pub mod session_client;
pub mod sidecar;
pub mod stage;
pub mod upstream;
pub mod wait;

/// The runtime of what outlives a test: each test has a runtime of its own, and
/// what it spawned there ends with it.
pub fn background() -> &'static tokio::runtime::Handle {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime")
        })
        .handle()
}

/// A line that `cargo test` shows of a test that passes, too: figures that it measured.
pub fn tell(line: &str) {
    use std::io::Write;
    // A closed terminal is no reason to fail. One write: tests run side by side.
    let _ = std::io::stderr().write_all(format!("measured: {line}\n").as_bytes());
}

/// [`tell`], with the arguments of `format!`.
#[macro_export]
macro_rules! report {
    ($($text:tt)*) => { $crate::tell(&format!($($text)*)) };
}

/// What every suite begins with.
pub mod prelude {
    pub use std::time::Duration;

    pub use anyhow::{Context as _, Result, anyhow, bail, ensure};
    pub use serde_json::{Value, json};

    pub use crate::cluster::{Cluster, Namespace};
    pub use crate::http::{Answer, Http};
    pub use crate::manifests;
    pub use crate::operator::{Installation, Operator};
    pub use crate::report;
    pub use crate::sidecar::Sidecar;
    pub use crate::stage::{SOON, Stage};
    pub use crate::upstream::{Reply, Upstream};
    pub use crate::wait::eventually;
}
