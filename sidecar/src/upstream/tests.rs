//! Connections to hosts of both protocols, over TLS and not.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// A host with a certificate of its own authority.
#[derive(Clone)]
struct Host {
    port: u16,
    ca_pem: String,
    connections: Arc<AtomicUsize>,
    left: Arc<Notify>,
}

impl Host {
    /// Speaks `alpn` over TLS. It says which version a call came by, and what
    /// was its body; `/hang` begins an answer and leaves it open.
    async fn new(alpn: &'static [u8]) -> Self {
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("signed");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".into()]).expect("valid");
        let leaf = leaf.signed_by(&key, &issuer).expect("signed");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a pair");
        config.alpn_protocols = vec![alpn.to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let host = Self {
            port: listener.local_addr().expect("bound").port(),
            ca_pem: ca.pem(),
            connections: Arc::default(),
            left: Arc::default(),
        };
        let (acceptor, serving) = (TlsAcceptor::from(Arc::new(config)), host.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, SeqCst);
                tokio::spawn(serving.clone().serve(acceptor.clone(), stream));
            }
        });
        host
    }

    async fn serve(self, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let service = service_fn(move |request| answer(request, self.left.clone()));
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/v1", self.port)
    }

    fn endpoint(&self) -> Endpoint {
        let upstreams = Upstreams::new(true);
        upstreams
            .endpoint(&self.url(), &self.ca_pem)
            .expect("valid")
    }
}

type Answered =
    StreamBody<tokio_stream::wrappers::ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

fn answer(
    request: Request<Incoming>,
    left: Arc<Notify>,
) -> Ready<Result<Response<Answered>, Infallible>> {
    let (send, body) = mpsc::channel(1);
    let version = format!("{:?} ", request.version());
    let hangs = request.uri().path().ends_with("/hang");
    tokio::spawn(async move {
        let body = request
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes();
        let text = [version.as_bytes(), &body].concat();
        let _ = send.send(Ok(Frame::data(text.into()))).await;
        if hangs {
            send.closed().await;
            left.notify_one();
        }
    });
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(body));
    ready(Ok(Response::new(body)))
}

fn post(endpoint: &Endpoint, path: &str) -> Request<RequestBody> {
    let pieces = ["a", "", "b", "c", "d", "e", "f"].map(Bytes::from);
    let mut request = Request::new(RequestBody::from_pieces(pieces));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri(path).expect("a path");
    request
}

async fn call(endpoint: &Endpoint, path: &str) -> Result<Response<UpstreamBody>, UpstreamError> {
    let by = Instant::now() + Duration::from_secs(2);
    timeout(SOON, endpoint.call(|| post(endpoint, path), by))
        .await
        .expect("in time")
}

async fn text(answer: Response<UpstreamBody>) -> String {
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn the_host_chooses_the_protocol() {
    for (alpn, version) in [
        (b"h2".as_slice(), Version::HTTP_2),
        (b"http/1.1", Version::HTTP_11),
    ] {
        let host = Host::new(alpn).await;
        let endpoint = host.endpoint();
        for _ in 0..3 {
            let answer = call(&endpoint, "/x").await.expect("an answer");
            assert_eq!(text(answer).await, format!("{version:?} abcdef"));
        }
        assert_eq!(host.connections.load(SeqCst), 1, "{version:?}");
    }
}

#[tokio::test]
async fn a_burst_to_a_cold_http2_host_opens_one_connection() {
    let host = Host::new(b"h2").await;
    let endpoint = host.endpoint();
    let calls =
        (0..50).map(|_| async { text(call(&endpoint, "/x").await.expect("an answer")).await });
    for text in futures::future::join_all(calls).await {
        assert_eq!(text, "HTTP/2.0 abcdef");
    }
    assert_eq!(host.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_dropped_body_cancels_the_call_at_the_host() {
    for alpn in [b"h2".as_slice(), b"http/1.1"] {
        let host = Host::new(alpn).await;
        let endpoint = host.endpoint();
        let mut answer = call(&endpoint, "/hang").await.expect("an answer");
        answer
            .body_mut()
            .frame()
            .await
            .expect("a frame")
            .expect("whole");
        drop(answer);
        timeout(SOON, host.left.notified())
            .await
            .expect("it is told");
        // The connection of HTTP/2 lives on, that of HTTP/1.1 doesn't.
        text(call(&endpoint, "/x").await.expect("an answer")).await;
        let connections = host.connections.load(SeqCst);
        assert_eq!(connections, if alpn == b"h2" { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_certificate_is_verified_against_the_bundle_and_nothing_else() {
    let (host, other) = (Host::new(b"h2").await, Host::new(b"h2").await);
    let upstreams = Upstreams::new(true);
    for ca_pem in ["", &other.ca_pem] {
        let endpoint = upstreams.endpoint(&host.url(), ca_pem).expect("valid");
        let failed = call(&endpoint, "/x").await.err();
        assert!(matches!(failed, Some(UpstreamError::Tls(_))), "{failed:?}");
    }
    let by_address = format!("https://127.0.0.1:{}", host.port);
    let endpoint = upstreams
        .endpoint(&by_address, &host.ca_pem)
        .expect("valid");
    let failed = call(&endpoint, "/x").await.err();
    assert!(
        matches!(failed, Some(UpstreamError::Tls(_))),
        "another name: {failed:?}"
    );
}

#[test]
fn base_urls_that_cannot_be_called_are_refused() {
    let upstreams = Upstreams::new(true);
    for url in [
        "",
        "/v1",
        "api.openai.com",
        "ftp://a/",
        "http:///v1",
        "https://a b/",
    ] {
        let refused = upstreams.endpoint(url, "").err();
        assert!(
            matches!(refused, Some(EndpointError::Malformed)),
            "{url}: {refused:?}"
        );
    }
    let user = upstreams.endpoint("https://key@a/v1", "").err();
    assert!(matches!(user, Some(EndpointError::UserInfo)), "{user:?}");
    let query = upstreams.endpoint("https://a/v1?key=1", "").err();
    assert!(matches!(query, Some(EndpointError::Query)), "{query:?}");
}

#[test]
fn a_path_is_joined_to_the_base_url() {
    let upstreams = Upstreams::new(true);
    for base in ["https://a/v1", "https://a/v1/", "HTTPS://a/v1"] {
        let endpoint = upstreams.endpoint(base, "").expect("valid");
        assert_eq!(endpoint.uri("/x").expect("valid"), "https://a/v1/x");
    }
}
