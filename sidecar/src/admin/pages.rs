//! Paths and what they answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::timeout;

use super::{Admin, Surface};
use crate::log::{LogSwitch, NotAFilter};

type Answer = Response<Full<Bytes>>;

/// A list of targets and levels.
const MAX_FILTER_BYTES: usize = 1024;
const FILTER_WITHIN: Duration = Duration::from_secs(5);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EXPOSITION: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Admin {
    /// Answers one request.
    pub(super) async fn answer<B>(&self, surface: Surface, request: Request<B>) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (surface, request.uri().path(), &self.log) {
            (Surface::Local, "/log-level", Some(log)) => change_log(log, request).await,
            (_, path, _) if !reads && self.page(surface, path).is_some() => {
                not_allowed("GET, HEAD")
            }
            (_, path, _) => self.page(surface, path).unwrap_or_else(|| unknown(surface)),
        }
    }

    fn page(&self, surface: Surface, path: &str) -> Option<Answer> {
        let page = match (surface, path) {
            (Surface::Public, "/metrics") => {
                answer(StatusCode::OK, EXPOSITION, self.metrics.render())
            }
            (Surface::Public, "/livez") => text(StatusCode::OK, "ok"),
            (_, "/readyz") => yes_or(self.waits_for()),
            (Surface::Local, "/startup") => {
                yes_or((!self.is_started()).then_some("no config yet: waiting for the operator"))
            }
            (Surface::Local, "/config") => {
                let config = serde_json::to_vec_pretty(&self.config.dump());
                answer(StatusCode::OK, JSON, config.unwrap_or_default())
            }
            _ => return None,
        };
        Some(page)
    }
}

async fn change_log<B>(log: &LogSwitch, request: Request<B>) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match *request.method() {
        Method::GET | Method::HEAD => text(StatusCode::OK, &log.now()),
        Method::PUT => {
            let body = Limited::new(request.into_body(), MAX_FILTER_BYTES).collect();
            let Ok(Ok(body)) = timeout(FILTER_WITHIN, body).await else {
                return text(StatusCode::BAD_REQUEST, "send a filter of at most 1 KiB");
            };
            let body = body.to_bytes();
            let filter = str::from_utf8(&body).map(str::trim).map_err(|_| NotAFilter);
            // An empty one takes an earlier wish back.
            let set = filter.and_then(|f| log.set_local((!f.is_empty()).then_some(f)));
            match set {
                Ok(()) => text(StatusCode::OK, &log.now()),
                Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
            }
        }
        _ => not_allowed("GET, HEAD, PUT"),
    }
}

fn yes_or(waits_for: Option<&str>) -> Answer {
    match waits_for {
        None => text(StatusCode::OK, "ok"),
        Some(what) => text(StatusCode::SERVICE_UNAVAILABLE, what),
    }
}

fn unknown(surface: Surface) -> Answer {
    let known = match surface {
        Surface::Public => "served here: /metrics, /livez, /readyz",
        Surface::Local => "served here: /config, /log-level, /startup, /readyz",
    };
    text(StatusCode::NOT_FOUND, known)
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, allow);
    let allow = HeaderValue::from_static(allow);
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

fn text(status: StatusCode, line: &str) -> Answer {
    answer(status, TEXT, format!("{line}\n"))
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
