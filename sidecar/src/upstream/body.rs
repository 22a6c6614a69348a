//! What is sent to a provider, and what comes back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::h1::H1;
use super::h2::Slot;
use super::pool::Pool;

/// Pieces of a request: what stands before, between and behind two members that
/// are spliced in, so that a long prompt is never copied.
pub(super) const MAX_PIECES: usize = 5;

/// A request's body: the client's own bytes with a few pieces exchanged. Cloning
/// it, for another attempt, copies no byte of it.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    pieces: [Bytes; MAX_PIECES],
    next: usize,
    sent: Option<Sent>,
}

/// Tells whether a byte of a request was sent: then the provider may charge
/// for it, even if its answer never comes.
#[derive(Clone, Debug, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    /// True once the body, or a copy of it, was begun.
    pub fn began(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl RequestBody {
    /// The concatenation of `pieces`. More than five are joined.
    pub fn from_pieces<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut body = Self::default();
        let mut used = 0;
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            if used < MAX_PIECES {
                body.pieces[used] = piece;
                used += 1;
            } else {
                let last = &mut body.pieces[MAX_PIECES - 1];
                *last = [last.as_ref(), piece.as_ref()].concat().into();
            }
        }
        body
    }

    /// The same body, which tells `sent` when it is begun.
    #[must_use]
    pub fn telling(mut self, sent: Sent) -> Self {
        self.sent = Some(sent);
        self
    }

    /// Bytes that are still to be sent.
    pub fn len(&self) -> usize {
        self.pieces[self.next..].iter().map(Bytes::len).sum()
    }

    /// True where nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.pieces[self.next..].iter().all(Bytes::is_empty)
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::from_pieces([bytes])
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(sent) = this.sent.take() {
            sent.0.store(true, Relaxed);
        }
        // Non-empty pieces come first, so an empty one is the end.
        let piece = this.pieces.get_mut(this.next).map(std::mem::take);
        this.next = (this.next + 1).min(MAX_PIECES);
        Poll::Ready(
            piece
                .filter(|piece| !piece.is_empty())
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.get(self.next).is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

/// An answer's body. Dropping it before its end ends the call at the provider:
/// an HTTP/1.1 connection is closed, an HTTP/2 stream reset.
pub struct UpstreamBody {
    incoming: Incoming,
    carrier: Carrier,
}

enum Carrier {
    /// The connection is ours until the body ends, then the pool's again.
    H1 {
        connection: Box<H1>,
        pool: Arc<Pool>,
    },
    H2(#[expect(dead_code, reason = "held for its drop")] Slot),
    /// The body came to its end.
    Done,
}

impl UpstreamBody {
    pub(super) fn h1(incoming: Incoming, connection: Box<H1>, pool: Arc<Pool>) -> Self {
        Self {
            incoming,
            carrier: Carrier::H1 { connection, pool },
        }
    }

    pub(super) fn h2(incoming: Incoming, slot: Slot) -> Self {
        Self {
            incoming,
            carrier: Carrier::H2(slot),
        }
    }

    /// The body has ended cleanly: the connection may serve another call.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Carrier::H1 {
            mut connection,
            pool,
        } = std::mem::replace(&mut self.carrier, Carrier::Done)
            && connection.poll_usable(cx)
        {
            pool.give_back(connection);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.carrier {
            Carrier::H1 { connection, .. } => connection.poll_frame(&mut this.incoming, cx),
            Carrier::H2(_) => Pin::new(&mut this.incoming).poll_frame(cx),
            Carrier::Done => return Poll::Ready(None),
        };
        match &polled {
            Poll::Ready(None) => this.finish(cx),
            Poll::Ready(Some(Ok(_))) if this.incoming.is_end_stream() => this.finish(cx),
            Poll::Ready(Some(Err(_))) => this.carrier = Carrier::Done,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.carrier, Carrier::Done) || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
