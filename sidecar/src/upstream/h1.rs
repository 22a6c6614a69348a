//! One HTTP/1.1 connection, driven by whoever uses it.
//!
//! Hyper's client splits a connection into a handle and a driver that is
//! usually spawned. Here both travel together, from the pool through the
//! request into the body of the answer and back: a chunk is read and passed on
//! within one poll of one task. The road not taken is the task for each
//! connection, with two more wake-ups a chunk.
//!
//! The handle is polled with a waker that does nothing: it can only become
//! ready through the driver, which is polled in the same call with the real one.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::coop;

use super::body::RequestBody;
use super::error::UpstreamError;
use super::stream::Stream;

/// Room for the heads of answers; also the most that one read of a body takes.
const BUFFER_BYTES: usize = 64 * 1024;
/// Answers of providers carry some 30 headers.
const MAX_HEADERS: usize = 128;

/// A connection, idle or in use.
pub(super) struct H1 {
    send: SendRequest<RequestBody>,
    driver: Connection<TokioIo<Stream>, RequestBody>,
    /// The driver came to its end and may not be polled again.
    ended: bool,
}

impl H1 {
    /// Takes over a fresh stream.
    pub(super) async fn handshake(stream: Stream) -> Result<Box<Self>, UpstreamError> {
        let (send, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| UpstreamError::from_hyper(&error))?;
        Ok(Box::new(Self {
            send,
            driver,
            ended: false,
        }))
    }

    /// Lets the connection do what it can; afterwards it is known whether the
    /// peer has closed it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    /// True where the connection can take a request now.
    pub(super) fn poll_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.ended && self.send.is_ready()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) fn call(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, UpstreamError>> {
        // Handed over here: an `async fn` would keep room for it to its end.
        let answer = self.send.try_send_request(request);
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        async move {
            let mut answer = pin!(answer);
            poll_fn(|cx| {
                if !*ended {
                    *ended = Pin::new(&mut *driver).poll(cx).is_ready();
                }
                let polled = answer.as_mut().poll(&mut quiet());
                if polled.is_pending() {
                    wake_if_out_of_budget(cx);
                }
                polled
            })
            .await
            .map_err(|failed| UpstreamError::from_hyper(failed.error()))
        }
    }

    /// The next frame of the answer that this connection carries.
    pub(super) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, hyper::Error>>> {
        self.drive(cx);
        let polled = Pin::new(incoming).poll_frame(&mut quiet());
        if polled.is_pending() {
            wake_if_out_of_budget(cx);
        }
        polled
    }
}

fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A channel that gives way to other tasks wakes its own waker, which here does
/// nothing; without this the task would sleep on something that is ready.
fn wake_if_out_of_budget(cx: &Context<'_>) {
    if !coop::has_budget_remaining() {
        cx.waker().wake_by_ref();
    }
}
