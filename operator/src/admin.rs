//! The admin port: `GET /metrics`, `/livez` and `/readyz`.
//!
//! Liveness says only that this process answers; it knows nothing of the API
//! server, the Lease or the sidecars, whose absence a restart wouldn't cure.
//! Readiness names each thing it still waits for. Nothing here can change
//! anything.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Connections at a time: scrapers and the kubelet, no crowd.
const MAX_CONNECTIONS: usize = 64;

/// A client that sends no head for so long is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What must be true before this replica is Ready, each by a name for people.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Gate>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Closed { why: String },
}

// ---------------------------------------------------------------- impl Readiness

impl Readiness {
    /// Waits for `name`, because of `why`.
    pub fn wait_for(&self, name: &str, why: impl Into<String>) {
        self.set(name, Gate::Closed { why: why.into() });
    }

    /// `name` is as it should be.
    pub fn reached(&self, name: &str) {
        self.set(name, Gate::Open);
    }

    /// What is missing: name and reason, in order of the names.
    pub fn missing(&self) -> Vec<(String, String)> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = gates.iter().filter_map(|(name, gate)| match gate {
            Gate::Open => None,
            Gate::Closed { why } => Some((name.clone(), why.clone())),
        });
        closed.collect()
    }

    fn set(&self, name: &str, gate: Gate) {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.insert(name.to_owned(), gate);
    }
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics, readiness: Readiness) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: wait instead of spinning.
                tracing::warn!(%error, "admin accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (metrics, readiness) = (metrics.clone(), readiness.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let response = answer(request.method(), request.uri().path(), &metrics, &readiness);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that went away is no event.
            let _ = connection.await;
            drop(slot);
        });
    }
}

fn answer(
    method: &Method,
    path: &str,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/metrics" => text(StatusCode::OK, metrics.render()),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let missing = readiness.missing();
            if missing.is_empty() {
                return text(StatusCode::OK, "ok\n");
            }
            let lines = missing.iter().map(|(name, why)| format!("{name}: {why}\n"));
            let body: String = std::iter::once("waiting for\n".to_owned())
                .chain(lines)
                .collect();
            text(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        _ => text(StatusCode::NOT_FOUND, "/metrics, /livez or /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn get(path: &str, readiness: &Readiness) -> (StatusCode, String) {
        let response = answer(&Method::GET, path, &Metrics::new(), readiness);
        let status = response.status();
        let body = response.into_body().collect().await.expect("in memory");
        (
            status,
            String::from_utf8(body.to_bytes().to_vec()).expect("text"),
        )
    }

    #[tokio::test]
    async fn readiness_names_what_it_waits_for_and_liveness_says_nothing_about_others() {
        let readiness = Readiness::default();
        readiness.wait_for("crds", "llmroutes.llmroute.dev is not served");
        readiness.wait_for("cache secrets", "first list");
        let (status, body) = get("/readyz", &readiness).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("crds: llmroutes.llmroute.dev is not served"),
            "{body}"
        );
        assert!(body.contains("cache secrets: first list"), "{body}");
        assert_eq!(get("/livez", &readiness).await.0, StatusCode::OK);

        readiness.reached("crds");
        readiness.reached("cache secrets");
        assert_eq!(get("/readyz", &readiness).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn an_unknown_path_says_what_there_is() {
        let (status, body) = get("/config", &Readiness::default()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("/metrics"), "{body}");
    }
}
