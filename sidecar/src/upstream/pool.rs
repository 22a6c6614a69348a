//! The connections of one endpoint that wait for their next call.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::connect::Destination;
use super::error::UpstreamError;
use super::h1::H1;
use super::h2::{H2, Slot};

/// Below the 60 s after which load balancers commonly close an idle connection.
const IDLE_FOR: Duration = Duration::from_secs(50);
/// Idle HTTP/1.1 connections that one endpoint keeps.
const MAX_IDLE: usize = 256;

/// The pool.
pub(super) struct Pool {
    destination: Destination,
    waiting: Mutex<Waiting>,
    /// Held while a connection is opened that may turn out to be shared: a
    /// burst of calls to a cold HTTP/2 host opens one connection, not a hundred.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct Waiting {
    /// Newest last: the newest is used first, so that the surplus grows old.
    h1: Vec<IdleH1>,
    h2: Vec<SharedH2>,
    speaks: Speaks,
    sweeping: bool,
}

struct IdleH1 {
    connection: Box<H1>,
    since: Instant,
}

struct SharedH2 {
    connection: Arc<H2>,
    used: Instant,
}

/// What the host chose at the last handshake.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Speaks {
    #[default]
    Unknown,
    Http1,
    Http2,
}

/// A connection for one call.
pub(super) enum Lease {
    /// Its own, and whether another call used it before.
    H1 { connection: Box<H1>, reused: bool },
    /// A place on a shared one.
    H2(Slot),
}

impl Pool {
    pub(super) fn new(destination: Destination) -> Self {
        Self {
            destination,
            waiting: Mutex::default(),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every section leaves the lists whole, so a poisoned lock is usable.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was used before and still lives, or a new one.
    pub(super) async fn lease(&self, by: Instant) -> Result<Lease, UpstreamError> {
        if let Some(lease) = self.reuse().await {
            return Ok(lease);
        }
        // Rare, and large: what waits for a chunk shouldn't carry it along.
        Box::pin(self.fresh(by)).await
    }

    /// A new connection; also for the call whose reused one had just been closed.
    pub(super) async fn fresh(&self, by: Instant) -> Result<Lease, UpstreamError> {
        let surely_http1 = self.destination.tls.is_none() || self.waiting().speaks == Speaks::Http1;
        if surely_http1 {
            return self.open(by).await;
        }
        let Ok(_opening) = tokio::time::timeout_at(by, self.opening.lock()).await else {
            return Err(UpstreamError::ConnectTimeout);
        };
        match self.shared() {
            Some(slot) => Ok(Lease::H2(slot)),
            None => self.open(by).await,
        }
    }

    async fn open(&self, by: Instant) -> Result<Lease, UpstreamError> {
        let stream = self.destination.connect(by).await?;
        if !stream.is_h2() {
            self.waiting().speaks = Speaks::Http1;
            let connection = H1::handshake(stream).await?;
            return Ok(Lease::H1 {
                connection,
                reused: false,
            });
        }
        let connection = H2::handshake(stream).await?;
        let slot = connection.slot().ok_or(UpstreamError::Closed)?;
        let mut waiting = self.waiting();
        waiting.speaks = Speaks::Http2;
        waiting.h2.push(SharedH2 {
            connection,
            used: Instant::now(),
        });
        Ok(Lease::H2(slot))
    }

    async fn reuse(&self) -> Option<Lease> {
        if let Some(slot) = self.shared() {
            return Some(Lease::H2(slot));
        }
        loop {
            let mut connection = self.waiting().h1.pop()?.connection;
            // One poll finds a connection that the peer has closed meanwhile.
            if poll_fn(|cx| Poll::Ready(connection.poll_usable(cx))).await {
                return Some(Lease::H1 {
                    connection,
                    reused: true,
                });
            }
        }
    }

    fn shared(&self) -> Option<Slot> {
        let mut waiting = self.waiting();
        if waiting.h2.is_empty() {
            return None;
        }
        waiting.h2.retain(|shared| !shared.connection.is_closed());
        let now = Instant::now();
        waiting.h2.iter_mut().find_map(|shared| {
            let slot = shared.connection.slot()?;
            shared.used = now;
            Some(slot)
        })
    }

    /// Takes back a connection that is ready for another call.
    pub(super) fn give_back(self: &Arc<Self>, connection: Box<H1>) {
        let mut waiting = self.waiting();
        if waiting.h1.len() < MAX_IDLE {
            waiting.h1.push(IdleH1 {
                connection,
                since: Instant::now(),
            });
        }
        self.sweep_later(&mut waiting);
    }

    /// Starts the sweep where none runs. It holds the pool weakly and ends with
    /// the last idle connection, so an unused endpoint costs no wake-up.
    pub(super) fn sweep_later(self: &Arc<Self>, waiting: &mut Waiting) {
        if !std::mem::replace(&mut waiting.sweeping, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

async fn sweep(pool: Weak<Pool>) {
    let mut next = Instant::now() + IDLE_FOR;
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut waiting = pool.waiting();
        let Some(oldest) = waiting.drop_stale(Instant::now()) else {
            waiting.sweeping = false;
            return;
        };
        next = oldest + IDLE_FOR;
    }
}

impl Waiting {
    /// Drops what was idle for too long; when the oldest of the rest was used.
    fn drop_stale(&mut self, now: Instant) -> Option<Instant> {
        self.h1.retain(|idle| now - idle.since < IDLE_FOR);
        self.h2.retain(|shared| {
            !shared.connection.is_closed()
                && (!shared.connection.is_idle() || now - shared.used < IDLE_FOR)
        });
        let h1 = self.h1.iter().map(|idle| idle.since).min();
        // A connection in use may have been taken long ago: look again later.
        let h2 = self.h2.iter().map(|s| s.used.max(now - IDLE_FOR / 2)).min();
        h1.into_iter().chain(h2).min()
    }
}
