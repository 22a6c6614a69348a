//! The client's side of a connection, with notes about when what happened.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

use super::Limits;
use super::protocol::Protocol;

/// What is known of one connection. Times are milliseconds since it began, and
/// 0 is never: the connection's task looks at them, so that neither a read nor
/// a write ever touches a timer.
#[derive(Debug)]
pub(super) struct Notes {
    began: Instant,
    /// HTTP/2 has frames that begin no call: what comes says nothing of a head.
    heads: bool,
    /// Calls whose answer hasn't ended.
    under_way: AtomicU32,
    /// The first byte of a head that isn't complete.
    head_since: AtomicU64,
    idle_since: AtomicU64,
    /// A write that the client's side doesn't take.
    blocked_since: AtomicU64,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Notes>);

/// The stream itself.
pub(super) struct Io<I> {
    stream: I,
    notes: Arc<Notes>,
}

// ---------------------------------------------------------------- impl Notes

impl Notes {
    pub(super) fn new(protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            heads: protocol == Protocol::Http1,
            under_way: AtomicU32::new(0),
            head_since: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            blocked_since: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        let elapsed = self.began.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
    }

    /// A head is complete: its call begins.
    pub(super) fn call(self: &Arc<Self>) -> UnderWay {
        self.head_since.store(0, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }

    /// Bytes came.
    fn read(&self) {
        if self.heads && self.is_idle() && self.head_since.load(Relaxed) == 0 {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// True while no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.load(Relaxed) == 0
    }

    /// When the client's patience with us, or ours with it, is over.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let blocked = self.blocked_since.load(Relaxed);
        let head = self.head_since.load(Relaxed);
        let (since, patience) = if blocked != 0 {
            (blocked, limits.write_stall)
        } else if !self.is_idle() {
            // Bounded by the timeouts of the call.
            return None;
        } else if head != 0 {
            (head, limits.head_within)
        } else {
            (self.idle_since.load(Relaxed), limits.idle_for)
        };
        Some(self.began + Duration::from_millis(since) + patience)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Relaxed) == 1 {
            self.0.idle_since.store(self.0.now(), Relaxed);
        }
    }
}

// ---------------------------------------------------------------- impl Io

impl<I> Io<I> {
    pub(super) fn new(stream: I, notes: Arc<Notes>) -> Self {
        Self { stream, notes }
    }

    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        let blocked = &self.notes.blocked_since;
        if polled.is_pending() {
            if blocked.load(Relaxed) == 0 {
                blocked.store(self.notes.now(), Relaxed);
            }
        } else if blocked.load(Relaxed) != 0 {
            blocked.store(0, Relaxed);
        }
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Io<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.notes.read();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Io<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
