//! A client that sees what others hide: chunks, trailers, a body that breaks off.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing in these tests takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Client {
    address: SocketAddr,
    http2: bool,
}

/// All of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) chunks: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// The body ended as HTTP says it must.
    pub(super) whole: bool,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            http2: false,
        }
    }

    pub(super) fn http2(address: SocketAddr) -> Self {
        Self {
            address,
            http2: true,
        }
    }

    /// Sends a request on a connection of its own; the head of its answer.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let call = async {
            let stream = TcpStream::connect(self.address).await.expect("connects");
            let io = TokioIo::new(stream);
            if self.http2 {
                let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                let (mut send, driver) = builder.handshake(io).await.expect("h2");
                tokio::spawn(driver);
                send.send_request(request).await
            } else {
                let (mut send, driver) =
                    hyper::client::conn::http1::handshake(io).await.expect("h1");
                tokio::spawn(driver);
                send.send_request(request).await
            }
        };
        timeout(PATIENCE, call)
            .await
            .expect("in time")
            .expect("an answer")
    }

    pub(super) async fn call(&self, request: Request<Full<Bytes>>) -> Answer {
        Answer::read(self.send(request).await).await
    }
}

impl Answer {
    pub(super) async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut answer = Self {
            status: parts.status,
            headers: parts.headers,
            chunks: Vec::new(),
            trailers: None,
            whole: true,
        };
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.expect("in time") {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => answer.chunks.push(data),
                Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
                Err(_) => answer.whole = false,
            }
        }
        answer
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.chunks.concat()).expect("UTF-8")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).expect("JSON")
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// Sends bytes as they are and reads until the other side closes.
pub(super) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(PATIENCE, talk).await.expect("in time")
}
