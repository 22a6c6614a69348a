//! One HTTP/2 connection, shared by many calls and therefore driven by a task
//! of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::body::RequestBody;
use super::error::UpstreamError;
use super::stream::Stream;

/// Calls at once on one connection, where the peer allows more; a further call
/// opens a further connection instead of waiting behind streams of minutes.
const MAX_STREAMS: usize = 100;
/// What a stream that its client reads slowly may hold.
const STREAM_WINDOW: u32 = 128 * 1024;
/// Room for every stream's window, so that one slow client can't stop the rest.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;
const MAX_HEADER_LIST: u32 = 64 * 1024;
/// A connection that died without a word is noticed within the sum of the two.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A shared connection.
pub(super) struct H2 {
    send: SendRequest<RequestBody>,
    streams: AtomicUsize,
}

/// One place among the streams of a connection; given back on drop.
pub(super) struct Slot(Arc<H2>);

impl H2 {
    /// Takes over a fresh stream.
    pub(super) async fn handshake(stream: Stream) -> Result<Arc<Self>, UpstreamError> {
        let (send, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_ANSWER_WITHIN)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| UpstreamError::from_hyper(&error))?;
        // Ends by itself once every handle is gone and the last stream is done.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Arc::new(Self {
            send,
            streams: AtomicUsize::new(0),
        }))
    }

    /// True where the peer or we have closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    /// True while no call uses it.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.load(Relaxed) == 0
    }

    /// A place for one more call, if there is one.
    pub(super) fn slot(self: &Arc<Self>) -> Option<Slot> {
        // Below a peer's limit that is lower still, hyper queues the call.
        if self.is_closed() || self.streams.load(Relaxed) >= MAX_STREAMS {
            return None;
        }
        self.streams.fetch_add(1, Relaxed);
        Some(Slot(self.clone()))
    }
}

impl Slot {
    /// Sends a request and waits for the head of its answer.
    pub(super) async fn call(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let answer = self.0.send.clone().send_request(request).await;
        answer.map_err(|error| UpstreamError::from_hyper(&error))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}
