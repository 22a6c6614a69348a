//! An HTTP client that hides nothing: no retry, no redirect, no decompression;
//! a body can be read chunk by chunk, and where it broke is seen.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// No answer of a test takes longer.
const CAP: Duration = Duration::from_mins(2);

/// A client with kept connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    headers: HeaderMap,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers, if any came.
    pub trailers: Option<HeaderMap>,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Streaming {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
}

// ---------------------------------------------------------------- impl Http

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// Over HTTP/1.1.
    pub fn new() -> Self {
        Self::over(false)
    }

    /// Over HTTP/2 with prior knowledge.
    pub fn h2c() -> Self {
        Self::over(true)
    }

    fn over(h2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http2_only(h2)
            // A connection that the server closes at once is a failure to be counted.
            .retry_canceled_requests(false)
            .build(connector);
        Self {
            client,
            headers: HeaderMap::new(),
        }
    }

    /// The same client, with one more header in each request.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = value
            .parse()
            .expect("a header value of a test is well formed");
        self.headers.insert(name, value);
        self
    }

    /// GETs `url`.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        self.send(Method::GET, url, None, Bytes::new())
            .await?
            .whole()
            .await
    }

    /// POSTs JSON to `url`.
    pub async fn post(&self, url: &str, body: &Value) -> Result<Answer> {
        self.open(url, body).await?.whole().await
    }

    /// POSTs JSON to `url`; the body of the answer is still to be read.
    pub async fn open(&self, url: &str, body: &Value) -> Result<Streaming> {
        let body = Bytes::from(body.to_string());
        self.send(Method::POST, url, Some("application/json"), body)
            .await
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Streaming> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(content_type) = content_type {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let mut request = request.body(Full::new(body))?;
        request.headers_mut().extend(self.headers.clone());
        let answer = tokio::time::timeout(CAP, self.client.request(request))
            .await
            .map_err(|_| anyhow!("no answer from {url} within {CAP:?}"))?
            .with_context(|| format!("calling {url}"))?;
        let (head, body) = answer.into_parts();
        Ok(Streaming {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

// ---------------------------------------------------------------- impl Streaming

impl Streaming {
    /// The next chunk as it arrives; `None` at a proper end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(CAP, self.body.frame())
                .await
                .map_err(|_| anyhow!("no chunk within {CAP:?}"))?;
            match frame {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.context("the body broke off")?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of it.
    pub async fn whole(self) -> Result<Answer> {
        let collected = tokio::time::timeout(CAP, self.body.collect())
            .await
            .map_err(|_| anyhow!("the body did not end within {CAP:?}"))?
            .context("the body broke off")?;
        let trailers = collected.trailers().cloned();
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// What came until the end or the break, and whether it ended properly.
    pub async fn until_broken(mut self) -> (Bytes, Result<()>) {
        let mut seen = BytesMut::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
                Ok(None) => return (seen.freeze(), Ok(())),
                Err(error) => return (seen.freeze(), Err(error)),
            }
        }
    }
}

// ---------------------------------------------------------------- impl Answer

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// The `code` of an OpenAI-shaped error.
    pub fn code(&self) -> String {
        self.json()
            .ok()
            .and_then(|v| v["error"]["code"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// A chat request of one message.
pub fn chat(model: &str) -> Value {
    serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hello"}]})
}

/// The same, streamed.
pub fn chat_stream(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = true.into();
    body
}
