//! The provider's connections: HTTP/1.1 and HTTP/2 in clear text.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream::StreamExt;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Ending, Reply, Seen, Shared};

/// Between the last piece and a break.
const FLUSHED: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        // Without it a small chunk waits for the last one's acknowledgement.
        let _ = socket.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&shared), request));
            // A connection that breaks was broken by a reply, or by the client.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let reply = shared.reply(Seen {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        headers: head.headers,
        body,
    });
    let mut guard = Abandoned {
        shared: Arc::clone(&shared),
        ended: false,
    };
    tokio::time::sleep(reply.delay).await;
    if reply.status == 0 {
        guard.ended = true;
        return Err(io::Error::other("told to break"));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.sized && reply.ending == Ending::Proper && reply.gap.is_zero() {
        guard.ended = true;
        Full::new(Bytes::from(reply.pieces.concat()))
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    } else {
        StreamBody::new(frames(reply, guard)).boxed_unsync()
    };
    response.body(body).map_err(io::Error::other)
}

fn frames(
    reply: Reply,
    guard: Abandoned,
) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send {
    let Reply {
        pieces,
        gap,
        ending,
        ..
    } = reply;
    let pieces = futures::stream::iter(pieces.into_iter().enumerate()).then(
        move |(index, piece)| async move {
            if index > 0 {
                // Even without a gap the pieces are to be pieces.
                tokio::time::sleep(gap).await;
                tokio::task::yield_now().await;
            }
            Ok(Frame::data(piece))
        },
    );
    let end = futures::stream::once(async move {
        let mut guard = guard;
        match ending {
            Ending::Proper => guard.ended = true,
            Ending::Broken => {
                // What was sent before is to arrive.
                tokio::time::sleep(FLUSHED).await;
                guard.ended = true;
                return Some(Err(io::Error::other("told to break")));
            }
            Ending::Silent => std::future::pending().await,
        }
        None
    })
    .filter_map(std::future::ready);
    pieces.chain(end)
}

/// Notes a call that was left before its end.
struct Abandoned {
    shared: Arc<Shared>,
    ended: bool,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.note_abandoned();
        }
    }
}
