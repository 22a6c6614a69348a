//! The few lines of HTTP that the surfaces need.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Admin, Surface};

/// Scrapers and people, no crowd.
const MAX_CONNECTIONS: usize = 32;
/// A client that sends no head for so long is dropped; also between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// No connection is older: whoever reads nothing holds a place no longer.
const CONNECTION_FOR: Duration = Duration::from_mins(10);
/// A scraper's head is some 300 bytes.
const BUFFER_BYTES: usize = 8 * 1024;
/// After a failed accept (no file descriptors, mostly) the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, admin: Admin, surface: Surface) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    connection(stream, admin, surface).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "an admin connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, admin: Admin, surface: Surface) {
    let service = service_fn(|request| {
        let admin = admin.clone();
        async move {
            let answer: Response<Full<Bytes>> = admin.answer(surface, request).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // A client that went away, or stayed too long, is no event.
    let _ = timeout(CONNECTION_FOR, connection).await;
}
