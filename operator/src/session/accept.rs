//! Connections: taken, bounded, given up.
//!
//! hyper serves each one as HTTP/2; nothing of gRPC is known here but that a
//! session is a request. A connection whose session ended is closed, so that
//! the next try is routed anew instead of ending at the same replica.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use llmroute_protocol::session_service_server::SessionServiceServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

use super::SessionServer;
use super::limits::{MAX_HEAD_BYTES, MAX_INBOUND_BYTES, MAX_STREAMS, WINDOW_BYTES};
use crate::certs::serve::ServedLeaf;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Held by a stream while it is open.
#[derive(Clone)]
pub(super) struct Open(#[expect(dead_code, reason = "counts by being dropped")] Arc<OpenGuard>);

struct OpenGuard(Arc<Streams>);

/// The sessions of one connection.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    ended: Notify,
}

pub(super) async fn serve(
    server: SessionServer,
    listener: TcpListener,
    leaf: ServedLeaf,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(leaf.tls_config());
    let slots = Arc::new(Semaphore::new(server.0.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (
                listener.accept().await,
                slot.expect("the semaphore is never closed"),
            )
        };
        let (accepted, slot) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                connections.spawn(async move {
                    secured(server, acceptor, stream, Peer(peer)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: wait instead of spinning.
                tracing::warn!(%error, "session accept failed");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    server.0.drain.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(server.0.limits.drain, ended).await.is_err() {
        tracing::warn!(left = connections.len(), "connections didn't end in time");
    }
}

async fn secured(server: SessionServer, acceptor: TlsAcceptor, stream: TcpStream, peer: Peer) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay not set");
    }
    let handshake = timeout(server.0.limits.handshake, acceptor.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => connection(server, stream, Some(peer)).await,
        Ok(Err(error)) => tracing::debug!(peer = %peer.0, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %peer.0, "TLS handshake not finished in time"),
    }
}

/// Serves HTTP/2 until the peer leaves, its session has ended, or it had none.
pub(super) async fn connection<S>(server: SessionServer, stream: S, peer: Option<Peer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (idle, drain) = (server.0.limits.idle, server.0.limits.drain);
    let stop = server.0.drain.clone();
    let streams = Arc::new(Streams::default());
    let service = SessionServiceServer::new(server).max_decoding_message_size(MAX_INBOUND_BYTES);
    let of_connection = streams.clone();
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let open = Open(Arc::new(OpenGuard::new(&of_connection)));
        request.extensions_mut().insert(open);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        service.clone().call(request)
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let over = async {
        tokio::select! {
            () = streams.over(idle) => {}
            () = stop.cancelled() => {}
        }
    };
    tokio::select! {
        // However it ended: a peer that went away is no event.
        _ = &mut connection => return,
        () = over => connection.as_mut().graceful_shutdown(),
    }
    // What is open says its goodbye; a peer that doesn't read isn't waited for.
    let _ = timeout(drain, connection).await;
}

// ---------------------------------------------------------------- impl Streams

impl Streams {
    /// Returns once no stream was open for `idle`, or soon after one ended.
    async fn over(&self, idle: Duration) {
        /// For the answer to the question for the epoch on the same connection.
        const AFTER_A_STREAM: Duration = Duration::from_millis(100);
        let mut at = Instant::now() + idle;
        loop {
            tokio::select! {
                () = sleep_until(at) => {
                    if self.open.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                    at = Instant::now() + idle;
                }
                () = self.ended.notified() => at = Instant::now() + AFTER_A_STREAM,
            }
        }
    }
}

impl OpenGuard {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(streams.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify_one();
    }
}
