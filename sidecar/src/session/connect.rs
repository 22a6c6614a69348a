//! One connection to the operator: TCP, TLS, HTTP/2, and the token that proves
//! who is calling.
//!
//! tonic's own channel is the road not taken: it reconnects, balances and
//! buffers by itself, none of which a single stream wants, at twice the code.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use llmroute_protocol::MAX_FRAME_BYTES;
use llmroute_protocol::session_service_client::SessionServiceClient;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

/// For name, TCP, TLS and HTTP/2 together: a leader that was cut off is given up soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Tokens of an API server are about 1 KiB.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;
/// Room for one chunk on the way; the default of 64 KiB would stall each one.
const WINDOW: u32 = 1024 * 1024;

/// A gRPC client over one connection, which ends with it.
pub(super) type Client = SessionServiceClient<Connection>;

/// Where the operator's leader is reached.
#[derive(Clone, Debug)]
pub struct Address {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// A connection as tonic wants it.
pub(super) struct Connection {
    send: SendRequest<Body>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the token can't be read: {0}")]
    Token(std::io::ErrorKind),
    #[error("the token file holds no token")]
    NoToken,
    #[error("no connection to the operator: {0}")]
    Tcp(std::io::Error),
    #[error("TLS with the operator failed: {0}")]
    Tls(std::io::Error),
    #[error("HTTP/2 with the operator failed: {0}")]
    Http(hyper::Error),
    #[error("connecting to the operator took longer than {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

// ---------------------------------------------------------------- impl Address

impl Address {
    /// Reads `host:port`, `[v6]:port` or `host` (port 15443).
    pub fn parse(text: &str) -> Result<Self, String> {
        let cure = || {
            format!(
                "{text:?} is no address: write HOST:PORT, such as llmroute-session.llmroute-system.svc:15443"
            )
        };
        let authority: http::uri::Authority = text.parse().map_err(|_| cure())?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(cure());
        }
        // "host:" and "host:99999" parse as an authority without a port.
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err(cure());
        }
        Ok(Self {
            name: ServerName::try_from(host.to_owned()).map_err(|_| cure())?,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(15443),
        })
    }

    /// A client over a new connection.
    pub(super) async fn connect(&self, tls: Arc<ClientConfig>) -> Result<Client, ConnectError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open(tls))
            .await
            .unwrap_or(Err(ConnectError::Timeout))
    }

    async fn open(&self, tls: Arc<ClientConfig>) -> Result<Client, ConnectError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(ConnectError::Tcp)?;
        // Acks are small and awaited.
        let _ = tcp.set_nodelay(true);
        let tls = TlsConnector::from(tls)
            .connect(self.name.clone(), tcp)
            .await
            .map_err(ConnectError::Tls)?;
        let (send, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(ConnectError::Http)?;
        // Ends with the last handle; the stream reports what went wrong.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        let origin = http::Uri::builder()
            .scheme("https")
            .authority(format!("{}:{}", bracketed(&self.host), self.port))
            .path_and_query("/")
            .build()
            .expect("the parts were parsed before");
        let client = SessionServiceClient::with_origin(Connection { send }, origin);
        Ok(client.max_decoding_message_size(MAX_FRAME_BYTES))
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

// ---------------------------------------------------------------- impl Connection

impl tower::Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.send.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.send.send_request(request))
    }
}

/// The token as a header. Read at each connect: the kubelet replaces the file.
pub(super) fn bearer(path: &Path) -> Result<MetadataValue<Ascii>, ConnectError> {
    use std::io::Read;

    let file = std::fs::File::open(path).map_err(|e| ConnectError::Token(e.kind()))?;
    let mut text = Zeroizing::new(String::from("Bearer "));
    file.take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| ConnectError::Token(e.kind()))?;
    if text.trim() == "Bearer" {
        return Err(ConnectError::NoToken);
    }
    let mut value = MetadataValue::try_from(text.trim_end()).map_err(|_| ConnectError::NoToken)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port_and_the_cure_is_named() {
        for (text, host, port) in [
            ("op.ns.svc:15443", "op.ns.svc", 15443),
            ("op.ns.svc", "op.ns.svc", 15443),
            ("127.0.0.1:9", "127.0.0.1", 9),
            ("[::1]:9", "::1", 9),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, port));
        }
        for text in ["", ":1", "a b:1", "https://x:1", "x:99999", "x:", "u@x:1"] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn the_token_is_read_anew_trimmed_and_never_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "eyJ.planted.x\n").expect("writable");
        let value = bearer(file.path()).expect("a token");
        assert_eq!(value.to_str().expect("text"), "Bearer eyJ.planted.x");
        assert!(!format!("{value:?}").contains("planted"));
        std::fs::write(file.path(), " \n").expect("writable");
        assert!(matches!(bearer(file.path()), Err(ConnectError::NoToken)));
    }
}
