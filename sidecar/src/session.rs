//! The stream to the operator's leader: config comes in, acknowledgements go out.
//!
//! One stream at a time, opened by the sidecar, reopened for ever with growing
//! waits. No request ever waits for it: it hands whole changes to the config
//! and stays away from the way of a call. It knows frames and epochs; what a
//! resource means belongs to `table`, and whose config it gets is decided by
//! the operator from the token alone.

mod backoff;
mod connect;
mod follow;
mod stream;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llmroute_protocol::Incarnation;
use llmroute_protocol::notice::Reason;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Level;

pub use connect::Address;
pub use trust::TrustError;

use crate::cache::Cache;
use crate::table::Config;
use backoff::Backoff;
use follow::Close;
use stream::Ended;

/// The same warning is given once in so much time.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// How the operator is reached and who we are.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where the leader is reached.
    pub operator: Address,
    /// The projected token, audience `llmroute.dev`.
    pub token_file: PathBuf,
    /// CA certificates that came with the pod, PEM.
    pub ca_pem: String,
}

/// How the session stands; for metrics, readiness and the config's age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No stream; what is held serves on.
    Disconnected,
    /// A leader was accepted.
    Connected {
        /// Its epoch.
        epoch: u64,
    },
}

/// A running session.
pub struct Session {
    options: SessionOptions,
    config: Config,
    cache: Arc<Cache>,
    link: watch::Sender<Link>,
    incarnation: Incarnation,
    conn: u64,
    max_epoch: u64,
    /// Both ends disagreed about what is held: hold nothing in the next Hello.
    distrusted: bool,
    backoff: Backoff,
    /// The last warning, and when it was given.
    told: Option<(String, Instant)>,
}

// ---------------------------------------------------------------- impl Session

impl Session {
    /// A session that isn't open yet. `max_epoch` is what the cache remembers;
    /// `incarnation` names this process's counters.
    pub fn new(
        options: SessionOptions,
        config: Config,
        cache: Arc<Cache>,
        incarnation: Incarnation,
        max_epoch: u64,
    ) -> Self {
        Self {
            options,
            config,
            cache,
            link: watch::channel(Link::Disconnected).0,
            incarnation,
            conn: 0,
            max_epoch,
            distrusted: false,
            backoff: Backoff::new(),
            told: None,
        }
    }

    /// How the session stands, from now on.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Runs until dropped. Cancel safe: a change is applied whole or not at all.
    pub async fn run(mut self) {
        loop {
            let ended = self.stream().await;
            self.link.send_replace(Link::Disconnected);
            let wait = self.wait_after(&ended, fastrand::f64());
            self.tell(&ended, wait);
            tokio::time::sleep(wait).await;
        }
    }

    fn tell(&mut self, ended: &Ended, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let reason = ended.to_string();
        let message = match ended {
            Ended::Closed(Close::Told { message, .. }) => message.as_str(),
            _ => "",
        };
        match self.level(ended, Instant::now()) {
            Level::WARN => tracing::warn!(reason, message, wait_ms, "session ended"),
            Level::INFO => tracing::info!(reason, message, wait_ms, "session ended"),
            _ => tracing::debug!(reason, message, wait_ms, "session ended"),
        }
    }

    /// How loud an end is. An outage of hours is one line a minute, and a new
    /// reason is told at once.
    fn level(&mut self, ended: &Ended, now: Instant) -> Level {
        let mut text = ended.to_string();
        if let Ended::Closed(Close::Told {
            reason, message, ..
        }) = ended
        {
            // A rollout of the operator sends every sidecar one, and so does each
            // life of a token; one that isn't renewed is refused next.
            if matches!(
                reason,
                Reason::Drain | Reason::NotLeader | Reason::TokenExpired
            ) {
                return Level::INFO;
            }
            // It stays so until somebody mends it, and only the message says how.
            text.push_str(message);
        }
        let repeats = |(told, at): &(String, Instant)| *told == text && now - *at < TOLD_EVERY;
        if self.told.as_ref().is_some_and(repeats) {
            return Level::DEBUG;
        }
        self.told = Some((text, now));
        Level::WARN
    }

    fn wait_after(&mut self, ended: &Ended, random: f64) -> Duration {
        match ended {
            Ended::Closed(Close::Told {
                reason: Reason::Drain | Reason::NotLeader | Reason::Superseded | Reason::Refused,
                after,
                ..
            }) if !after.is_zero() => self.backoff.told(*after, random),
            // Another leader waits for us.
            Ended::NewerLeader(_) => Duration::ZERO,
            _ => self.backoff.next(random),
        }
    }
}

#[cfg(test)]
mod tests;
