//! One connection and the calls on it.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

use super::io::{Io, Notes, UnderWay};
use super::protocol::Protocol;
use super::{BoxError, Handler, Limits, Shared};

pin_project! {
    /// Ready when the connection has ended, or was ended for a broken limit.
    struct Connection<D> {
        #[pin]
        driver: D,
        notes: Arc<Notes>,
        limits: Limits,
        #[pin]
        draining: Option<OwnedNotified>,
        #[pin]
        timer: Option<Sleep>,
    }
}

pin_project! {
    /// The handler's body; with its end the call has ended.
    struct CallBody<B> {
        #[pin]
        body: B,
        under_way: UnderWay,
    }
}

/// What drives one connection. How it ended is the client's affair: it left,
/// or broke the protocol and was told so.
trait Driver {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
    fn shut_down(self: Pin<&mut Self>);
}

/// Serves one connection until it ends.
pub(super) async fn serve<I, H>(stream: I, protocol: Protocol, shared: &Shared<H>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let notes = Notes::new(protocol);
    let draining = shared.drain.draining();
    // Closing at once what was accepted just now would refuse its call.
    let late = shared.drain.has_begun();
    let io = TokioIo::new(Io::new(stream, notes.clone()));
    let calls = {
        let (handler, notes) = (shared.handler.clone(), notes.clone());
        service_fn(move |request: Request<Incoming>| {
            let under_way = notes.call();
            let answer = handler.clone().handle(request);
            async move {
                let answer = answer.await;
                Ok::<_, Infallible>(answer.map(|body| CallBody { body, under_way }))
            }
        })
    };
    let (limits, draining) = (shared.limits, (!late).then_some(draining));
    match protocol {
        Protocol::Http1 => {
            let driver = http1::Builder::new()
                .keep_alive(!late)
                .max_header_size(super::MAX_HEAD_BYTES)
                .max_buf_size(super::READ_BUFFER_BYTES)
                // The connection's own notes bound the head and the idle time
                // apart; hyper's timer would bound both by one number.
                .header_read_timeout(None)
                .serve_connection(io, calls);
            Connection::new(driver, notes, limits, draining).await;
        }
        Protocol::Http2 => {
            let driver = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(super::MAX_STREAMS)
                .initial_stream_window_size(super::STREAM_WINDOW)
                .initial_connection_window_size(super::CONNECTION_WINDOW)
                .max_send_buf_size(super::SEND_BUFFER_BYTES)
                .max_header_list_size(super::MAX_HEADER_LIST)
                .serve_connection(io, calls);
            Box::pin(Connection::new(driver, notes, limits, draining)).await;
        }
    }
}

// ---------------------------------------------------------------- impl Connection

impl<D> Connection<D> {
    fn new(driver: D, notes: Arc<Notes>, limits: Limits, draining: Option<OwnedNotified>) -> Self {
        Self {
            driver,
            notes,
            limits,
            draining,
            timer: None,
        }
    }
}

impl<D: Driver> Future for Connection<D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(draining) = this.draining.as_mut().as_pin_mut()
            && draining.poll(cx).is_ready()
        {
            this.draining.set(None);
            this.driver.as_mut().shut_down();
        }
        // A defect in one call must not take other connections along.
        let driven = catch_unwind(AssertUnwindSafe(|| this.driver.as_mut().poll(cx)));
        match driven {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => return Poll::Ready(()),
            Err(_) => {
                tracing::error!("a call panicked; its connection is closed");
                return Poll::Ready(());
            }
        }
        loop {
            let Some(deadline) = this.notes.deadline(this.limits) else {
                return Poll::Pending;
            };
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) if timer.deadline() <= deadline => {
                    // Too early is good enough: it looks again when it fires.
                    ready!(timer.poll(cx));
                    if Instant::now() >= deadline {
                        return Poll::Ready(());
                    }
                    this.timer.set(Some(sleep_until(deadline)));
                }
                _ => this.timer.set(Some(sleep_until(deadline))),
            }
        }
    }
}

// ---------------------------------------------------------------- impl Driver

impl<I, S, B> Driver for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self, cx).map(|_| ())
    }

    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B> Driver for http2::Connection<I, S, TokioExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self, cx).map(|_| ())
    }

    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

// ---------------------------------------------------------------- impl CallBody

impl<B: Body> Body for CallBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
