//! The port as the operator serves it: TCP, TLS of our own CA, drain.

use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::certs::serve::ServedLeaf;
use crate::certs::{self, Data, Material};

/// A served port.
struct Port {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    material: Material,
}

async fn serve(world: &World) -> Port {
    let made = certs::renew(&Data::new(), &["127.0.0.1".to_owned()], noon());
    let (material, _) = made.expect("issues").expect("there was none");
    let leaf = ServedLeaf::default();
    leaf.replace(&material);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let serving = world.server.clone().serve(listener, leaf, stop.clone());
    Port {
        address,
        serving: tokio::spawn(serving),
        stop,
        material,
    }
}

impl Port {
    async fn client(&self) -> SessionServiceClient<Channel> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(self.material.trusted_pem().as_bytes()) {
            roots.add(ca.expect("PEM")).expect("a CA");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(self.address).await.expect("open");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        http2(tls.await.expect("our own CA")).await
    }
}

#[tokio::test]
async fn a_session_over_tls_ends_with_the_server_and_the_server_in_time() {
    let world = World::new();
    let port = serve(&world).await;
    let mut sidecar = open(port.client().await, &token(&web_claims())).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
    sidecar.snapshot().await;
    port.stop.cancel();
    let (notice, _) = sidecar.notice().await;
    assert_eq!(notice.reason(), Reason::Drain);
    let ended = tokio::time::timeout(Duration::from_secs(4), port.serving).await;
    ended.expect("in time").expect("no panic");
    assert!(TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_harms_nobody() {
    let world = World::new();
    let port = serve(&world).await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", b""] {
        let mut peer = TcpStream::connect(port.address).await.expect("open");
        peer.write_all(bytes).await.expect("written");
        peer.shutdown().await.expect("shut down");
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(30), peer.read_to_end(&mut answer));
        // Reset or closed.
        assert!(closed.await.is_ok(), "{bytes:?}");
    }
    let mut sidecar = open(port.client().await, &token(&web_claims())).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refused_session_is_logged_with_its_peer_and_whose_it_is_and_never_its_token() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let port = serve(&world).await;
    let token = token(&json!({"namespace": "shop", "pod": "web-9", "uid": "u-9"}));
    let mut sidecar = open(port.client().await, &token).await;
    let (notice, _) = sidecar.notice().await;
    assert_eq!(notice.message, Refusal::PodGone.to_string());
    let text = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
    for part in [
        "session refused",
        "peer=127.0.0.1:",
        "namespace=\"shop\"",
        "pod=shop/web-9",
        "service_account=\"web\"",
        "code=\"pod_gone\"",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains(&token), "{text}");
}
