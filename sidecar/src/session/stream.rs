//! One stream, from Hello to its end.

use std::pin::pin;
use std::time::Duration;

use llmroute_protocol::from_sidecar::Frame;
use llmroute_protocol::{
    CredentialState, FromOperator, FromSidecar, Hello, Ping, SCHEMA_MAX, SCHEMA_MIN,
    ServingEpochRequest, set_hash,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::connect::{self, Client, ConnectError};
use super::follow::{Close, Follower, Step};
use super::trust::{self, TrustError};
use super::{Link, Session};
use crate::table::Config;

const PING_EVERY: Duration = Duration::from_secs(15);
/// Three pings: without a frame for so long the operator is gone.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// For the answer to the call that opens the stream; a review may take its time.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// While the leader's Lease goes unrenewed: how often the Service is asked.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// One un-acked push, news of credentials and a ping: more is never under way.
const OUTBOX: usize = 16;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the operator refused the session: {code}: {message}")]
    Refused { code: tonic::Code, message: String },
    #[error("the operator didn't answer within {} s", OPEN_TIMEOUT.as_secs())]
    Unanswered,
    #[error(transparent)]
    Closed(#[from] Close),
    #[error("the connection to the operator was lost: {0}")]
    Lost(tonic::Code),
    #[error("nothing came from the operator for {} s", DEAD_AFTER.as_secs())]
    Silent,
    #[error("another leader serves epoch {0}")]
    NewerLeader(u64),
}

impl Session {
    /// Opens a stream and follows it to its end.
    pub(super) async fn stream(&mut self) -> Ended {
        match self.open().await {
            Ok((outbox, inbox)) => self.follow(outbox, inbox).await,
            Err(ended) => ended,
        }
    }

    async fn open(
        &mut self,
    ) -> Result<(mpsc::Sender<FromSidecar>, Streaming<FromOperator>), Ended> {
        let mut client = self.connect().await?;
        let token = connect::bearer(&self.options.token_file)?;
        self.conn += 1;
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let hello = framed(Frame::Hello(self.hello()));
        outbox.try_send(hello).expect("the queue is empty");
        let mut request = tonic::Request::new(ReceiverStream::new(queue));
        request.metadata_mut().insert("authorization", token);
        let answer = timeout(OPEN_TIMEOUT, client.session(request)).await;
        let inbox = answer
            .map_err(|_| Ended::Unanswered)?
            .map_err(|status| refused(&status))?;
        Ok((outbox, inbox.into_inner()))
    }

    async fn connect(&self) -> Result<Client, Ended> {
        let pushed = self.config.global().borrow().ca_bundle_pem.clone();
        let tls = trust::client_config(&[&self.options.ca_pem, &*pushed])?;
        Ok(self.options.operator.connect(tls).await?)
    }

    fn hello(&self) -> Hello {
        let held = if self.distrusted {
            Vec::new()
        } else {
            self.config.held()
        };
        let keys: Vec<_> = held.iter().map(llmroute_protocol::Key::from).collect();
        let versions = keys.iter().zip(held.iter().map(|h| h.version.as_str()));
        Hello {
            config_hash: set_hash(versions),
            incarnation: Some(self.incarnation.clone()),
            conn: self.conn,
            max_epoch: self.max_epoch,
            binary_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_min: SCHEMA_MIN,
            schema_max: SCHEMA_MAX,
            held,
        }
    }

    async fn follow(
        &mut self,
        outbox: mpsc::Sender<FromSidecar>,
        mut inbox: Streaming<FromOperator>,
    ) -> Ended {
        let mut follower = Follower::new(self.config.clone(), self.max_epoch);
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ask = interval_at(Instant::now() + ASK_EVERY, ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unrenewed = false;
        let mut news = self.config.credential_news();
        // A new leader knows nothing: the first call tells everything.
        let mut told = Told::default();
        let mut silence = pin!(sleep(DEAD_AFTER));
        loop {
            let answer = tokio::select! {
                frame = inbox.next() => {
                    let frame = match frame {
                        Some(Ok(frame)) => frame,
                        Some(Err(status)) if !follower.is_welcomed() => return refused(&status),
                        Some(Err(status)) => return Ended::Lost(status.code()),
                        None => return Ended::Lost(tonic::Code::Ok),
                    };
                    silence.as_mut().reset(Instant::now() + DEAD_AFTER);
                    match self.take(follower.take(frame.frame), &follower, &mut unrenewed, &mut told) {
                        Ok(answer) => answer,
                        Err(close) => return close.into(),
                    }
                }
                changed = news.changed(), if follower.is_welcomed() => match changed {
                    Ok(()) => told.news(&self.config),
                    // The config ends with the process.
                    Err(_) => return Ended::Lost(tonic::Code::Cancelled),
                },
                _ = ping.tick() => vec![Frame::Ping(Ping::default())],
                _ = ask.tick(), if unrenewed => match self.newer_leader().await {
                    Some(epoch) => return Ended::NewerLeader(epoch),
                    None => Vec::new(),
                },
                () = &mut silence => return Ended::Silent,
            };
            for frame in answer {
                // A full outbox is an operator that doesn't read: it will count as lost.
                if outbox.try_send(framed(frame)).is_err() {
                    return Ended::Lost(tonic::Code::Unavailable);
                }
            }
        }
    }

    /// What one step means for the session, and what is to be sent.
    fn take(
        &mut self,
        step: Step,
        follower: &Follower,
        unrenewed: &mut bool,
        told: &mut Told,
    ) -> Result<Vec<Frame>, Close> {
        self.backoff.reset();
        match step {
            Step::Alive => Ok(Vec::new()),
            Step::Welcomed => {
                self.max_epoch = follower.max_epoch();
                tracing::info!(epoch = self.max_epoch, "session open");
                self.link.send_replace(Link::Connected {
                    epoch: self.max_epoch,
                });
                Ok(told.news(&self.config))
            }
            Step::Applied(ack) => {
                self.distrusted = false;
                self.remember();
                Ok(vec![Frame::Ack(ack)])
            }
            Step::Lease { unrenewed: now } => {
                *unrenewed = now;
                Ok(Vec::new())
            }
            Step::Close(close) => {
                self.distrusted = close == Close::Differs;
                Err(close)
            }
        }
    }

    /// Before the ack: what counts as programmed must survive a restart.
    fn remember(&self) {
        if let Err(error) = self.cache.store(self.max_epoch, self.config.resources()) {
            tracing::warn!(%error, "config not cached: a restart without the operator would lose it");
        }
    }

    /// Asks whoever the Service selects now; a leader above ours is followed.
    async fn newer_leader(&self) -> Option<u64> {
        let asked = async {
            let mut client = self.connect().await.ok()?;
            let reply = client.serving_epoch(ServingEpochRequest {}).await.ok()?;
            let reply = reply.into_inner();
            (reply.leader && reply.epoch > self.max_epoch).then_some(reply.epoch)
        };
        // Beside the open stream, but never long enough to miss a ping.
        timeout(OPEN_TIMEOUT, asked).await.ok().flatten()
    }
}

/// What this stream's leader was told of the credentials.
#[derive(Default)]
struct Told(Vec<CredentialState>);

impl Told {
    /// What it doesn't know yet. Cumulative: one that is told twice changes nothing.
    fn news(&mut self, config: &Config) -> Vec<Frame> {
        let states = config.credential_states();
        let news = states.iter().filter(|state| !self.0.contains(state));
        let news = news.cloned().map(Frame::CredentialState).collect();
        self.0 = states;
        news
    }
}

fn framed(frame: Frame) -> FromSidecar {
    FromSidecar { frame: Some(frame) }
}

fn refused(status: &tonic::Status) -> Ended {
    Ended::Refused {
        code: status.code(),
        message: status.message().chars().take(512).collect(),
    }
}
