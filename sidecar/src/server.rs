//! Where the app's calls come in: accepting, limits, draining.
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge, told apart by the first bytes of
//! a connection before anything is buffered for it. Everything that a client
//! can hold open is bounded in time: the head of a request, an idle
//! connection, an answer that it doesn't take; and in number and size:
//! connections, streams, headers. What a request means is none of this room's
//! business: it hands it to a [`Handler`].

mod connection;
mod drain;
mod io;
mod protocol;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

pub use drain::{Drain, Ending};

use drain::Open;
use protocol::Protocol;

#[cfg(test)]
mod tests;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The body of its answers. Dropped early where the client leaves.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request. Dropped where the client leaves before that.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

/// Why a body broke off.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue until one ends.
    pub connections: usize,
    /// From the first byte of a head to its last.
    pub head_within: Duration,
    /// How long a connection may be open with no call on it. Longer than the
    /// pools of common clients keep one, so that it is the client who closes.
    pub idle_for: Duration,
    /// How long the client may not take a byte of what is ready for it.
    pub write_stall: Duration,
    /// How long open calls may go on once draining has begun.
    pub drain_for: Duration,
}

/// Heads larger than this are answered with 431. An SDK sends some 1.5 KiB.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// The same for HTTP/2.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// Also the most that one read of a body takes.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// HTTP/2: calls at once on one connection.
const MAX_STREAMS: u32 = 256;
/// HTTP/2: what a call's body may have in flight.
const STREAM_WINDOW: u32 = 256 * 1024;
/// HTTP/2: room for four bodies at full speed.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// HTTP/2: what waits in memory for a client that takes it slowly.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// After a failed accept (no file descriptors, mostly) the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// For the last bytes of answers that were ended when the drain's time was up.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            head_within: Duration::from_secs(10),
            idle_for: Duration::from_mins(10),
            write_stall: Duration::from_mins(1),
            drain_for: Duration::from_secs(20),
        }
    }
}

struct Shared<H> {
    handler: Arc<H>,
    limits: Limits,
    drain: Drain,
    open: Open,
}

/// Serves until `drain` has begun and every call has ended.
///
/// 1. Idle connections are closed, open calls go on, new ones are still
///    accepted: on a restart of the container the app is alive.
/// 2. Once no connection is open, or `drain_for` has passed, it stops
///    accepting. Calls that are still open are told to end ([`Drain::ending`]).
/// 3. A second later it returns, whatever is left.
///
/// [`Drain::end`] leads to 2 at once.
pub async fn serve<H: Handler>(
    listeners: Vec<TcpListener>,
    handler: Arc<H>,
    limits: Limits,
    drain: Drain,
) {
    let shared = Arc::new(Shared {
        handler,
        limits,
        drain,
        open: Open::default(),
    });
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, shared.clone()));
    }
    shared.drain.begun().await;
    // Within it, a burst of a restarting client may still come and be served.
    tokio::select! {
        _ = timeout(limits.drain_for, shared.open.none()) => {}
        () = shared.drain.ending() => {}
    }
    accepting.shutdown().await;
    shared.drain.end();
    let _ = timeout(LAST_WORDS, shared.open.none()).await;
}

async fn accept<H: Handler>(listener: TcpListener, shared: Arc<Shared<H>>) {
    loop {
        shared.open.below(shared.limits.connections).await;
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it a chunk can wait 40 ms for the acknowledgement of the last.
                let _ = stream.set_nodelay(true);
                start(stream, shared.clone());
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start<H: Handler>(stream: TcpStream, shared: Arc<Shared<H>>) {
    let open = shared.open.enter();
    tokio::spawn(async move {
        let _open = open;
        if let Some(protocol) = Protocol::peek(&stream, &shared).await {
            connection::serve(stream, protocol, &shared).await;
        }
    });
}

/// Binds `address`; with a loopback IPv4 address also `::1` at the same port,
/// where it exists: clients that resolve `localhost` may try it first.
pub async fn bind(address: SocketAddr) -> std::io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(address).await?;
    let mut listeners = Vec::with_capacity(2);
    if address.ip() == std::net::Ipv4Addr::LOCALHOST {
        let port = first.local_addr()?.port();
        let twin = SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), port);
        listeners.extend(TcpListener::bind(twin).await.ok());
    }
    listeners.insert(0, first);
    Ok(listeners)
}
