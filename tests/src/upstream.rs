//! A provider of our own: OpenAI-shaped, on a loopback port, that answers as a
//! test says and keeps what it was asked.

mod reply;
mod serve;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::wait::eventually;

pub use reply::{Ending, Reply};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// All of them.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// The provider; it ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct Shared {
    handler: Mutex<Handler>,
    seen: Mutex<Vec<Seen>>,
    /// Bodies whose client went away before their end.
    abandoned: Mutex<usize>,
}

// ---------------------------------------------------------------- impl Upstream

impl Upstream {
    /// A provider that answers chats, streamed or not, with the reply `hello`.
    pub async fn start() -> Result<Self> {
        Self::with(|seen| Reply::ordinary(seen, "hello")).await
    }

    /// A provider that answers with what `handler` says.
    pub async fn with(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Mutex::new(Arc::new(handler)),
            seen: Mutex::default(),
            abandoned: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _tasks: tasks,
        })
    }

    /// From now on it answers with what `handler` says.
    pub fn answer(&self, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.handler) = Arc::new(handler);
    }

    /// Its base URL, as an LLMProvider has it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
    }

    /// Waits until so many bodies were left before their end.
    pub async fn abandoned(&self, count: usize, cap: Duration) -> Result<()> {
        eventually("the upstream call to be cancelled", cap, async || {
            let now = *lock(&self.shared.abandoned);
            ensure!(now >= count, "{now} of {count} were");
            Ok(())
        })
        .await
    }
}

// ---------------------------------------------------------------- impl Seen

impl Seen {
    /// The body as JSON; null where it isn't.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The key that it was called with.
    pub fn bearer(&self) -> &str {
        self.header("authorization")
            .strip_prefix("Bearer ")
            .unwrap_or_default()
    }

    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }
}

// ---------------------------------------------------------------- impl Shared

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn reply(&self, seen: Seen) -> Reply {
        let handler = Arc::clone(&lock(&self.handler));
        let reply = handler(&seen);
        lock(&self.seen).push(seen);
        reply
    }

    fn note_abandoned(&self) {
        *lock(&self.abandoned) += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
