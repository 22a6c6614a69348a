//! What a frame of the operator leads to: one stream's state, without I/O.
//!
//! It keeps the order (Welcome first, then what belongs to its epoch), gathers
//! the chunks of a snapshot, hands whole changes to the config and answers each
//! with one result a resource. It never follows an epoch below the highest that
//! this sidecar has seen.

use std::time::Duration;

use bytes::Bytes;
use llmroute_protocol::from_operator::Frame;
use llmroute_protocol::notice::Reason;
use llmroute_protocol::{Ack, Delta, Held, Notice, Ping, Resource, Result as Outcome, Snapshot};

use crate::table::{Change, Config};

/// Resources of one snapshot: bounds the memory that a confused operator can take.
const MAX_RESOURCES: usize = 20_000;
/// And their bytes.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// One stream, from its Hello on.
pub(super) struct Follower {
    config: Config,
    /// The highest epoch that this sidecar ever followed.
    max_epoch: u64,
    /// What this stream's leader serves; `None` before its Welcome.
    epoch: Option<u64>,
    last_seq: u64,
    chunks: Chunks,
}

/// The chunks of a snapshot that isn't whole yet.
#[derive(Default)]
struct Chunks {
    seq: u64,
    resources: Vec<Resource>,
    unchanged: Vec<Held>,
    bytes: usize,
}

/// What is to be done after a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing but noticing that the peer lives.
    Alive,
    /// The leader is accepted.
    Welcomed,
    /// Config was applied: cache it, then send this.
    Applied(Ack),
    /// The leader's Lease: whether it goes unrenewed.
    Lease {
        /// True where the Service is to be asked for a newer leader.
        unrenewed: bool,
    },
    /// This stream is over.
    Close(Close),
}

/// Why a stream is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Close {
    /// It was asked for.
    #[error("the operator closed the session: {}", .reason.as_str_name())]
    Told {
        reason: Reason,
        after: Duration,
        message: String,
    },
    /// A leader of the past.
    #[error("epoch {epoch} is below {followed}, which this sidecar has followed")]
    OldEpoch { epoch: u64, followed: u64 },
    /// A frame that has no place here.
    #[error("the operator broke the protocol: {0}")]
    Protocol(&'static str),
    /// Both ends disagree about what is held: the next Hello holds nothing.
    #[error("what is held differs from what the operator means")]
    Differs,
}

// ---------------------------------------------------------------- impl Follower

impl Follower {
    pub(super) fn new(config: Config, max_epoch: u64) -> Self {
        Self {
            config,
            max_epoch,
            epoch: None,
            last_seq: 0,
            chunks: Chunks::default(),
        }
    }

    /// The highest epoch followed: of this stream's leader once it is accepted.
    pub(super) fn max_epoch(&self) -> u64 {
        self.max_epoch
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.epoch.is_some()
    }

    /// Takes one frame. `None` is a frame of a newer operator: nothing is known of it.
    pub(super) fn take(&mut self, frame: Option<Frame>) -> Step {
        match frame {
            None => Step::Alive,
            Some(Frame::Ping(Ping {
                leader_unix_ms: _,
                lease_unrenewed,
            })) => Step::Lease {
                unrenewed: lease_unrenewed,
            },
            Some(Frame::Notice(notice)) => Step::Close(told(notice)),
            Some(Frame::Welcome(welcome)) => self.welcome(welcome.epoch),
            Some(Frame::Snapshot(chunk)) => match self.check(chunk.epoch, chunk.seq) {
                Ok(()) => self.snapshot(chunk),
                Err(close) => Step::Close(close),
            },
            Some(Frame::Delta(delta)) => match self.check(delta.epoch, delta.seq) {
                Ok(()) if self.chunks.is_empty() => self.delta(delta),
                Ok(()) => Step::Close(Close::Protocol("a delta inside a snapshot")),
                Err(close) => Step::Close(close),
            },
        }
    }

    fn welcome(&mut self, epoch: u64) -> Step {
        if self.epoch.is_some() {
            return Step::Close(Close::Protocol("a second Welcome"));
        }
        if epoch < self.max_epoch {
            let followed = self.max_epoch;
            return Step::Close(Close::OldEpoch { epoch, followed });
        }
        self.max_epoch = epoch;
        self.epoch = Some(epoch);
        Step::Welcomed
    }

    fn check(&self, epoch: u64, seq: u64) -> Result<(), Close> {
        match self.epoch {
            None => Err(Close::Protocol("config before Welcome")),
            Some(own) if own != epoch => Err(Close::Protocol("config of another epoch")),
            Some(_) if seq <= self.last_seq => Err(Close::Protocol("a sequence that went back")),
            Some(_) => Ok(()),
        }
    }

    fn snapshot(&mut self, chunk: Snapshot) -> Step {
        let Snapshot {
            epoch,
            seq,
            resources,
            unchanged,
            hash,
            last,
        } = chunk;
        if let Err(close) = self.chunks.add(seq, resources, unchanged) {
            return Step::Close(close);
        }
        if !last {
            return Step::Alive;
        }
        let Chunks {
            resources,
            unchanged,
            ..
        } = std::mem::take(&mut self.chunks);
        let change = Change::Snapshot {
            resources,
            unchanged,
        };
        self.apply(change, epoch, seq, &hash)
    }

    fn delta(&mut self, delta: Delta) -> Step {
        let Delta {
            epoch,
            seq,
            upserts,
            removed,
            hash,
        } = delta;
        self.apply(Change::Delta { upserts, removed }, epoch, seq, &hash)
    }

    fn apply(&mut self, change: Change, epoch: u64, seq: u64, hash: &Bytes) -> Step {
        self.last_seq = seq;
        let results: Vec<Outcome> = self.config.apply(change);
        if self.config.wanted_hash() != *hash {
            return Step::Close(Close::Differs);
        }
        Step::Applied(Ack {
            epoch,
            seq,
            results,
        })
    }
}

// ---------------------------------------------------------------- impl Chunks

impl Chunks {
    fn is_empty(&self) -> bool {
        self.seq == 0
    }

    fn add(
        &mut self,
        seq: u64,
        resources: Vec<Resource>,
        unchanged: Vec<Held>,
    ) -> Result<(), Close> {
        if self.seq != 0 && self.seq != seq {
            return Err(Close::Protocol("chunks of two snapshots"));
        }
        self.seq = seq;
        self.bytes += resources.iter().map(|r| r.body.len()).sum::<usize>();
        self.resources.extend(resources);
        self.unchanged.extend(unchanged);
        let count = self.resources.len() + self.unchanged.len();
        if count > MAX_RESOURCES || self.bytes > MAX_BYTES {
            return Err(Close::Protocol("a snapshot without end"));
        }
        Ok(())
    }
}

fn told(notice: Notice) -> Close {
    let reason = notice.reason();
    let Notice {
        reason: _,
        reconnect_after_ms,
        message,
    } = notice;
    Close::Told {
        reason,
        after: Duration::from_millis(reconnect_after_ms),
        // It goes into a log line: bounded, whoever sent it.
        message: message.chars().take(512).collect(),
    }
}

#[cfg(test)]
mod tests;
