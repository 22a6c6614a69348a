//! One stream, from the token to the goodbye.
//!
//! Order matters: whether this process leads is asked before anything else, so
//! that a standby reviews no token; the token before a frame is read; the epoch
//! before anything is answered. Cancelling (the connection is dropped) frees
//! the seat and forgets the facts.

mod known;
mod looks;
mod serve;

use std::sync::Arc;

use llmroute_protocol::{FromOperator, FromSidecar, Hello, Welcome, from_operator, from_sidecar};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Shared;
use super::accept::Peer;
use super::auth::{Proven, Refusal};
use super::end::End;
use super::registry::{NoSeat, Stream, Taken};
use super::schema::Schema;
use crate::world::PodFacts;
use known::Known;
use serve::Serving;

type Out = mpsc::Sender<Result<FromOperator, Status>>;

/// Who opened a stream, by its own word.
pub(super) struct Caller {
    pub(super) token: Result<Box<str>, Refusal>,
    pub(super) peer: Option<Peer>,
}

/// What a Hello that is welcome led to.
struct Welcomed {
    epoch: u64,
    proven: Proven,
    hello: Hello,
    schema: Option<Schema>,
    seat: Taken,
}

/// No leader ever owns an epoch of 2^48 or above.
const EPOCH_LIMIT: u64 = 1 << 48;
/// More resources than any pod has.
const MAX_HELD: usize = 20_000;

/// Serves the stream to its end and says goodbye.
pub(super) async fn run(
    shared: Arc<Shared>,
    caller: Caller,
    mut inbound: Streaming<FromSidecar>,
    out: Out,
) {
    let mut known = Known {
        peer: caller.peer,
        ..Known::default()
    };
    let end = match welcome(&shared, caller.token, &mut inbound, &mut known).await {
        Ok(welcomed) => {
            let end = Serving::new(&shared, welcomed, &out).run(inbound).await;
            let metrics = &shared.metrics;
            metrics
                .sessions_closed
                .with_label_values(&[end.label()])
                .inc();
            end
        }
        Err(end) => {
            if let End::Refused(refusal) = end {
                let failures = &shared.metrics.auth_failures;
                failures.with_label_values(&[refusal.label()]).inc();
            }
            end
        }
    };
    known.log(end);
    for frame in end.goodbye(shared.facts.sessions()) {
        // One that doesn't read isn't waited for beyond the drain.
        let _ = out.send_timeout(frame, shared.limits.drain).await;
    }
}

async fn welcome(
    shared: &Shared,
    token: Result<Box<str>, Refusal>,
    inbound: &mut Streaming<FromSidecar>,
    known: &mut Known,
) -> Result<Welcomed, End> {
    if shared.drain.is_cancelled() {
        return Err(End::Drain);
    }
    shared.role.borrow().leading().ok_or(End::NotLeader)?;
    let token = token.map_err(End::Refused)?;
    let owner = shared.auth.owner(&token).await;
    let (owner, ends) = owner.map_err(End::Refused)?;
    drop(token);
    let owner = known.owner.insert(owner);
    let proven = shared.auth.prove(owner, ends, &shared.view).await;
    let proven = proven.map_err(End::Refused)?;
    let hello = hello(shared, inbound).await?;
    // It may have changed while the API server was asked.
    let epoch = shared.role.borrow().leading().ok_or(End::NotLeader)?;
    follow(shared, epoch, hello.max_epoch)?;
    let seat = take_seat(shared, &proven.pod, &hello)?;
    Ok(Welcomed {
        epoch,
        proven,
        schema: Schema::of(&hello),
        hello,
        seat,
    })
}

async fn hello(shared: &Shared, inbound: &mut Streaming<FromSidecar>) -> Result<Hello, End> {
    let first = tokio::time::timeout(shared.limits.handshake, inbound.message()).await;
    match first.map_err(|_| End::Refused(Refusal::NoHello))? {
        Ok(Some(FromSidecar {
            frame: Some(from_sidecar::Frame::Hello(hello)),
        })) if hello.held.len() <= MAX_HELD => Ok(hello),
        Ok(Some(_)) => Err(End::Refused(Refusal::NoHello)),
        Ok(None) => Err(End::Gone),
        Err(status) => Err(broken(&status)),
    }
}

/// A sidecar never follows an epoch below the highest that it has seen, so one
/// that has seen a higher one can't be served before it is exceeded.
fn follow(shared: &Shared, epoch: u64, shown: u64) -> Result<(), End> {
    if shown <= epoch {
        return Ok(());
    }
    if shown >= EPOCH_LIMIT {
        return Err(End::Refused(Refusal::WrongEpoch));
    }
    shared.shown.send_if_modified(|highest| {
        let higher = shown > *highest;
        *highest = shown.max(*highest);
        higher
    });
    Err(End::HigherEpoch)
}

fn take_seat(shared: &Shared, pod: &PodFacts, hello: &Hello) -> Result<Taken, End> {
    let life = hello.incarnation.as_ref();
    let stream = Stream {
        born_unix_ms: life.map_or(0, |life| life.born_unix_ms),
        random: life.map_or(0, |life| life.random),
        conn: hello.conn,
    };
    let seat = shared.registry.take(&pod.uid, stream);
    seat.map_err(|why| match why {
        NoSeat::Superseded => End::Superseded,
        NoSeat::Full => End::Refused(Refusal::Full),
    })
}

/// What it means when no further frame can be read.
fn broken(status: &Status) -> End {
    match status.code() {
        // What the decoder says of bytes that are no frame, or too many.
        tonic::Code::Internal | tonic::Code::OutOfRange | tonic::Code::InvalidArgument => {
            tracing::debug!(error = %status.message(), "frame not read");
            End::Malformed
        }
        _ => End::Gone,
    }
}

fn welcome_frame(shared: &Shared, epoch: u64) -> FromOperator {
    FromOperator {
        frame: Some(from_operator::Frame::Welcome(Welcome {
            epoch,
            owner: shared.owner.clone(),
            leader_unix_ms: (shared.clock)().as_millisecond(),
        })),
    }
}
