//! A sidecar's end of a session in a test's hands: it answers each resource as
//! the test says, and keeps every frame that it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use llmroute_protocol::from_operator::Frame as Down;
use llmroute_protocol::from_sidecar::Frame as Up;
use llmroute_protocol::session_service_client::SessionServiceClient;
use llmroute_protocol::{
    Ack, FromSidecar, Held, Hello, Incarnation, Key, Outcome, Ping, Resource, SCHEMA_MAX,
    SCHEMA_MIN, set_hash,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::wait::eventually;

mod connect;

/// What a sidecar answers about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Applied.
    Ok,
    /// Refused, at this path, with this message.
    Error {
        /// Where in the resource.
        path: String,
        /// Why.
        message: String,
    },
}

type Judge = Arc<dyn Fn(&Resource) -> Answered + Send + Sync>;

/// A running session; it ends when it is dropped.
pub struct SessionClient {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    judge: Judge,
    state: Mutex<State>,
}

/// What came of a session so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The frames in their order.
    pub frames: Vec<Down>,
    /// What it holds now.
    pub held: BTreeMap<Key, String>,
    /// Why the stream ended, if it did.
    pub ended: Option<String>,
}

/// Who opens a session, and with what.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Of the operator, or of what leads to it.
    pub address: SocketAddr,
    /// What its certificate is checked with.
    pub ca_pem: String,
    /// What the caller proves itself with.
    pub token: String,
    /// What it says to hold already.
    pub held: BTreeMap<Key, String>,
    /// The highest epoch that it has followed.
    pub max_epoch: u64,
}

// ---------------------------------------------------------------- impl SessionClient

impl SessionClient {
    /// Opens a session. A refusal is the operator's own status.
    pub async fn open(
        caller: Caller,
        judge: impl Fn(&Resource) -> Answered + Send + Sync + 'static,
    ) -> Result<Result<Self, Status>> {
        let channel = connect::channel(caller.address, &caller.ca_pem).await?;
        let mut client = SessionServiceClient::new(channel);
        let (up, frames) = mpsc::channel(16);
        up.send(hello(&caller)).await?;
        let mut request = tonic::Request::new(ReceiverStream::new(frames));
        let bearer = format!("Bearer {}", caller.token);
        request
            .metadata_mut()
            .insert("authorization", bearer.parse()?);
        let down = tokio::time::timeout(Duration::from_secs(20), client.session(request))
            .await
            .context("the operator did not answer the session")?;
        let down = match down {
            Ok(down) => down.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        let shared = Arc::new(Shared {
            judge: Arc::new(judge),
            state: Mutex::new(State {
                held: caller.held,
                ..State::default()
            }),
        });
        let mut task = JoinSet::new();
        task.spawn(run(down, up, Arc::clone(&shared)));
        Ok(Ok(Self {
            shared,
            _task: task,
        }))
    }

    /// What came of it so far.
    pub fn state(&self) -> State {
        self.shared.state().clone()
    }

    /// Waits until the state is as `wanted` says.
    pub async fn wait<T>(
        &self,
        what: &str,
        cap: Duration,
        wanted: impl Fn(&State) -> Option<T>,
    ) -> Result<T> {
        eventually(what, cap, async || {
            let state = self.state();
            match wanted(&state) {
                Some(found) => Ok(found),
                None => bail!("{}", state.summary()),
            }
        })
        .await
    }

    /// Waits until it holds the resource.
    pub async fn wait_holds(&self, key: &Key, cap: Duration) -> Result<String> {
        self.wait(&format!("{key:?}"), cap, |s| s.held.get(key).cloned())
            .await
    }
}

// ---------------------------------------------------------------- impl State

impl State {
    /// How many resources were sent, whole.
    pub fn sent(&self) -> usize {
        self.frames.iter().map(|f| resources(f).len()).sum()
    }

    /// For a failure message.
    pub fn summary(&self) -> String {
        let held: Vec<_> = self
            .held
            .keys()
            .map(|k| format!("{:?} {}", k.kind, k.name))
            .collect();
        format!(
            "{} frames, holds {held:?}, ended: {:?}",
            self.frames.len(),
            self.ended
        )
    }
}

// ---------------------------------------------------------------- impl Shared

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame in and gives what must be answered.
    fn take(&self, frame: Down) -> Option<Up> {
        let results: Vec<_> = resources(&frame).iter().map(|r| self.result(r)).collect();
        let mut state = self.state();
        let ack = match &frame {
            Down::Snapshot(s) => {
                if first_chunk(&state.frames) {
                    state.held.clear();
                }
                for held in &s.unchanged {
                    state.held.insert(held.into(), held.version.clone());
                }
                Some((s.epoch, s.seq))
            }
            Down::Delta(d) => {
                for gone in &d.removed {
                    let key = Key::new(gone.kind(), gone.name.clone());
                    state.held.remove(&key);
                }
                Some((d.epoch, d.seq))
            }
            Down::Welcome(_) | Down::Notice(_) | Down::Ping(_) => None,
        };
        for r in resources(&frame) {
            state
                .held
                .insert(Key::new(r.kind(), r.name.clone()), r.version.clone());
        }
        let answer = match (&frame, ack) {
            (_, Some((epoch, seq))) => Some(Up::Ack(Ack {
                epoch,
                seq,
                results,
            })),
            (Down::Ping(_), None) => Some(Up::Ping(Ping::default())),
            (_, None) => None,
        };
        state.frames.push(frame);
        answer
    }

    fn result(&self, resource: &Resource) -> llmroute_protocol::Result {
        let (outcome, path, message) = match (self.judge)(resource) {
            Answered::Ok => (Outcome::Ok, String::new(), String::new()),
            Answered::Error { path, message } => (Outcome::Error, path, message),
        };
        llmroute_protocol::Result {
            kind: resource.kind,
            name: resource.name.clone(),
            version: resource.version.clone(),
            outcome: outcome.into(),
            path,
            message,
        }
    }
}

/// A snapshot of several chunks replaces what was held with its first.
fn first_chunk(frames: &[Down]) -> bool {
    !matches!(frames.last(), Some(Down::Snapshot(s)) if !s.last)
}

fn resources(frame: &Down) -> &[Resource] {
    match frame {
        Down::Snapshot(s) => &s.resources,
        Down::Delta(d) => &d.upserts,
        Down::Welcome(_) | Down::Notice(_) | Down::Ping(_) => &[],
    }
}

fn hello(caller: &Caller) -> FromSidecar {
    let held = &caller.held;
    frame(Up::Hello(Hello {
        incarnation: Some(Incarnation {
            pod_uid: String::new(),
            born_unix_ms: 1,
            random: fastrand::u64(..),
        }),
        conn: 1,
        max_epoch: caller.max_epoch,
        binary_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_min: SCHEMA_MIN,
        schema_max: SCHEMA_MAX,
        held: held
            .iter()
            .map(|(key, version)| Held {
                kind: key.kind.into(),
                name: key.name.clone(),
                version: version.clone(),
            })
            .collect(),
        config_hash: set_hash(held.iter().map(|(k, v)| (k, v.as_str()))),
    }))
}

fn frame(frame: Up) -> FromSidecar {
    FromSidecar { frame: Some(frame) }
}

async fn run(
    mut down: tonic::Streaming<llmroute_protocol::FromOperator>,
    up: mpsc::Sender<FromSidecar>,
    shared: Arc<Shared>,
) {
    let ended = loop {
        match down.message().await {
            Ok(Some(message)) => {
                let answer = message.frame.and_then(|f| shared.take(f));
                if let Some(answer) = answer
                    && up.send(frame(answer)).await.is_err()
                {
                    break "the operator stopped reading".to_owned();
                }
            }
            Ok(None) => break "properly".to_owned(),
            Err(status) => break status.to_string(),
        }
    };
    shared.state().ended = Some(ended);
}

/// Opens a session that must be refused, and gives the reason.
pub async fn refused(caller: Caller) -> Result<Status> {
    match SessionClient::open(caller, |_| Answered::Ok).await? {
        Err(status) => Ok(status),
        Ok(session) => {
            // A refusal may also come as the end of a stream that was opened.
            let what = "the session to be refused";
            let text = session
                .wait(what, Duration::from_secs(20), |s| s.ended.clone())
                .await?;
            ensure!(session.state().sent() == 0, "it was sent config: {text}");
            Ok(Status::unknown(text))
        }
    }
}
