//! What is asked about the sidecar itself, apart from the calls.
//!
//! Two surfaces. The one on the pod's IP is for scrapers: metrics, and whether
//! it lives and is ready; nothing there changes anything or shows config. The
//! one on loopback is for whoever is in the pod: the config without secrets,
//! how much is logged, and whether it has started. Liveness says only that the
//! loop turns: it knows nothing of the operator, whose absence no restart cures.

mod http;
mod pages;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::log::LogSwitch;
use crate::metrics::Metrics;
use crate::server::Drain;
use crate::table::Config;

/// A pod that has no config after so long is started anyway: its app must not
/// wait for ever for an operator that isn't there.
const STARTED_AFTER: Duration = Duration::from_secs(10);

/// What the surfaces tell. Cloned freely.
#[derive(Clone)]
pub struct Admin {
    config: Config,
    metrics: Metrics,
    drain: Drain,
    /// `None`: how much is logged is somebody else's affair, as under `llmroute run`.
    log: Option<LogSwitch>,
    since: Instant,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// On the pod's IP: `/metrics`, `/livez`, `/readyz`.
    Public,
    /// On loopback: `/config`, `/log-level`, `/startup`, `/readyz`.
    Local,
}

// ---------------------------------------------------------------- impl Admin

impl Admin {
    /// Surfaces of a sidecar that starts now.
    pub fn new(config: Config, metrics: Metrics, drain: Drain, log: Option<LogSwitch>) -> Self {
        Self {
            config,
            metrics,
            drain,
            log,
            since: Instant::now(),
        }
    }

    /// Serves one of them until dropped.
    pub async fn serve(self, listeners: Vec<TcpListener>, surface: Surface) {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners {
            accepting.spawn(http::serve(listener, self.clone(), surface));
        }
        accepting.join_all().await;
    }

    fn has_config(&self) -> bool {
        self.config.applied().borrow().is_some()
    }

    /// Config was applied, or the wait for it is over. That the port of the
    /// calls is bound goes without saying: it is, before anything is served here.
    fn is_started(&self) -> bool {
        self.has_config() || self.since.elapsed() >= STARTED_AFTER
    }

    /// What is missing until calls are served.
    fn waits_for(&self) -> Option<&'static str> {
        match (self.drain.has_begun(), self.has_config()) {
            (true, _) => Some("ending: open streams are being finished"),
            (false, false) => Some("no config yet: waiting for the operator"),
            (false, true) => None,
        }
    }
}

#[cfg(test)]
mod tests;
