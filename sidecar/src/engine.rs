//! The composition of the rooms that a call goes through: what the sidecar's
//! binary serves with, and `llmroute run` serves with the very same.
//!
//! Whoever has an engine feeds its [`Config`], from a session with the operator
//! or from within the process, and gives it the listeners. It opens no port,
//! reads no file and installs nothing for the process by itself.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::net::TcpListener;

use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::exchange::Exchange;
use crate::log::LogSwitch;
use crate::metrics::Metrics;
use crate::server::{self, Drain, Limits};
use crate::table::Config;
use crate::upstream::Upstreams;

/// What is decided outside.
pub struct EngineOptions {
    /// Whether host names may lead to loopback addresses.
    pub allow_loopback: bool,
    /// Where calls are taken down.
    pub access_log: AccessLog,
    /// How long open calls may go on once draining has begun.
    pub drain_for: Duration,
    /// Where chance comes from.
    pub rng: Rng,
}

/// One data plane.
pub struct Engine {
    config: Config,
    metrics: Metrics,
    access_log: AccessLog,
    drain: Drain,
    limits: Limits,
    exchange: Arc<Exchange>,
}

// ---------------------------------------------------------------- impl Engine

impl Engine {
    /// An engine without a config: it answers `no_config` until it is fed.
    pub fn new(options: EngineOptions) -> Self {
        let EngineOptions {
            allow_loopback,
            access_log,
            drain_for,
            rng,
        } = options;
        let config = Config::new(Arc::new(Upstreams::new(allow_loopback)));
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        let drain = Drain::default();
        let exchange = Exchange::new(
            config.clone(),
            metrics.clone(),
            access_log.clone(),
            drain.clone(),
            rng,
        );
        Self {
            config,
            metrics,
            access_log,
            drain,
            limits: Limits {
                drain_for,
                ..Limits::default()
            },
            exchange: Arc::new(exchange),
        }
    }

    /// What it serves by: apply changes here.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begin it to end [`Self::serve`]; end it to end that at once.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// What is told about it; `log` where this process's log is to be switched
    /// from there.
    pub fn admin(&self, log: Option<LogSwitch>) -> Admin {
        let (config, metrics) = (self.config.clone(), self.metrics.clone());
        Admin::new(config, metrics, self.drain.clone(), log)
    }

    /// Serves calls on `listeners` (see [`server::bind`]) until it has drained:
    /// idle connections are closed, open calls go on for a while, and what is
    /// left is ended in the words of its dialect. With the last line of the
    /// access log written it returns.
    pub async fn serve(&self, listeners: Vec<TcpListener>) {
        let serve = server::serve(
            listeners,
            self.exchange.clone(),
            self.limits,
            self.drain.clone(),
        );
        tokio::select! {
            () = serve => {}
            () = self.measure_config() => {}
        }
        // Nothing else is left to do: that it blocks the loop is no harm.
        self.access_log.flush();
    }

    async fn measure_config(&self) {
        let mut applied = self.config.applied();
        loop {
            if let Some(applied) = &*applied.borrow_and_update() {
                self.metrics.config_applied(&applied.hash, applied.at);
            }
            if applied.changed().await.is_err() {
                // The config lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }
}
