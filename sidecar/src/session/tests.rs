//! The session against an operator of a few lines, over real TLS on loopback.

use std::pin::Pin;
use std::sync::Mutex;

use llmroute_protocol::from_operator::Frame as Down;
use llmroute_protocol::from_sidecar::Frame as Up;
use llmroute_protocol::session_service_server::{SessionService, SessionServiceServer};
use llmroute_protocol::{
    Auth, Body, Credential, Dialect, FromOperator, FromSidecar, Global, Health, Hello, Notice,
    Provider, Resource, ServingEpochReply, ServingEpochRequest, Snapshot, Welcome, auth, set_hash,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::table::Change;
use crate::upstream::Upstreams;

const PATIENCE: Duration = Duration::from_secs(20);

/// One accepted stream: what came with it, what comes, and a way to answer.
struct Accepted {
    token: String,
    up: Streaming<FromSidecar>,
    down: mpsc::Sender<Result<FromOperator, Status>>,
}

struct FakeOperator {
    accepted: mpsc::Sender<Accepted>,
    refuse: Arc<Mutex<Option<Status>>>,
}

#[tonic::async_trait]
impl SessionService for FakeOperator {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<FromOperator, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<FromSidecar>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if let Some(status) = self.refuse.lock().expect("unpoisoned").take() {
            return Err(status);
        }
        let token = request.metadata().get("authorization").expect("a token");
        let token = token.to_str().expect("text").to_owned();
        let (down, queue) = mpsc::channel(16);
        let up = request.into_inner();
        let accepted = Accepted { token, up, down };
        self.accepted.send(accepted).await.expect("the test waits");
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }

    async fn serving_epoch(
        &self,
        _: Request<ServingEpochRequest>,
    ) -> Result<Response<ServingEpochReply>, Status> {
        Ok(Response::new(ServingEpochReply::default()))
    }
}

struct Setup {
    accepted: mpsc::Receiver<Accepted>,
    refuse: Arc<Mutex<Option<Status>>>,
    options: SessionOptions,
    dir: tempfile::TempDir,
}

async fn operator() -> Setup {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let (sender, accepted) = mpsc::channel(4);
    let refuse = Arc::new(Mutex::new(None));
    let service = SessionServiceServer::new(FakeOperator {
        accepted: sender,
        refuse: refuse.clone(),
    });
    tokio::spawn(serve(listener, tls, service));
    let dir = tempfile::tempdir().expect("a folder");
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "first").expect("writable");
    let options = SessionOptions {
        operator: Address::parse(&address).expect("an address"),
        token_file,
        ca_pem: made.cert.pem(),
    };
    Setup {
        accepted,
        refuse,
        options,
        dir,
    }
}

async fn serve(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    service: SessionServiceServer<FakeOperator>,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), service.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else {
                return;
            };
            let executor = hyper_util::rt::TokioExecutor::new();
            let service = hyper_util::service::TowerToHyperService::new(service);
            let _ = hyper::server::conn::http2::Builder::new(executor)
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Setup {
    fn cache(&self) -> Arc<Cache> {
        Arc::new(Cache::new(Some(self.dir.path().to_owned()), true))
    }

    fn session(&self, config: Config, max_epoch: u64) -> Session {
        let incarnation = Incarnation {
            pod_uid: String::new(),
            born_unix_ms: 1,
            random: 2,
        };
        let options = self.options.clone();
        Session::new(options, config, self.cache(), incarnation, max_epoch)
    }

    async fn accept(&mut self) -> (Accepted, Hello) {
        let accepted = timeout(PATIENCE, self.accepted.recv()).await;
        let mut accepted = accepted.expect("in time").expect("a stream");
        match accepted.next().await {
            Up::Hello(hello) => (accepted, hello),
            other => panic!("{other:?}"),
        }
    }
}

impl Accepted {
    async fn next(&mut self) -> Up {
        let frame = timeout(PATIENCE, self.up.next()).await.expect("in time");
        let frame = frame.expect("open").expect("a frame");
        frame.frame.expect("known")
    }

    async fn send(&self, frame: Down) {
        let frame = FromOperator { frame: Some(frame) };
        self.down.send(Ok(frame)).await.expect("open");
    }

    async fn welcome(&self, epoch: u64) {
        let welcome = Welcome {
            epoch,
            owner: "fake".into(),
            leader_unix_ms: 0,
        };
        self.send(Down::Welcome(welcome)).await;
    }

    async fn push(&mut self, epoch: u64, resource: &Resource) {
        let key = llmroute_protocol::Key::new(resource.kind(), resource.name.clone());
        let snapshot = Snapshot {
            epoch,
            seq: 1,
            resources: vec![resource.clone()],
            unchanged: Vec::new(),
            hash: set_hash([(&key, resource.version.as_str())]),
            last: true,
        };
        self.send(Down::Snapshot(snapshot)).await;
        let Up::Ack(ack) = self.next().await else {
            panic!("no ack")
        };
        assert_eq!((ack.epoch, ack.seq), (epoch, 1));
    }
}

fn config() -> Config {
    Config::new(Arc::new(Upstreams::new(true)))
}

fn global() -> Resource {
    let global = Global {
        log_level: "info".into(),
        ..Global::default()
    };
    Body::Global(global).into_resource()
}

#[tokio::test]
async fn what_was_acknowledged_is_held_by_the_next_stream_and_by_the_cache() {
    let mut setup = operator().await;
    let session = tokio::spawn(setup.session(config(), 0).run());
    let (mut first, hello) = setup.accept().await;
    assert_eq!((hello.conn, hello.max_epoch, hello.held.len()), (1, 0, 0));
    first.welcome(5).await;
    first.push(5, &global()).await;
    // Acknowledged means cached.
    let remembered = setup.cache().load();
    assert_eq!(remembered.epoch, 5);
    assert_eq!(remembered.resources, [global()]);
    drop(first);
    let (_, hello) = setup.accept().await;
    assert_eq!((hello.conn, hello.max_epoch), (2, 5));
    assert_eq!(hello.held[0].version, global().version);
    session.abort();
}

#[tokio::test]
async fn the_token_is_read_anew_for_each_stream() {
    let mut setup = operator().await;
    let session = tokio::spawn(setup.session(config(), 0).run());
    let (first, _) = setup.accept().await;
    assert_eq!(first.token, "Bearer first");
    std::fs::write(&setup.options.token_file, "second\n").expect("writable");
    drop(first);
    let (second, _) = setup.accept().await;
    assert_eq!(second.token, "Bearer second");
    session.abort();
}

#[tokio::test]
async fn a_leader_of_the_past_is_left_and_the_next_one_asked() {
    let mut setup = operator().await;
    let session = tokio::spawn(setup.session(config(), 9).run());
    let (old, hello) = setup.accept().await;
    assert_eq!(hello.max_epoch, 9);
    old.welcome(8).await;
    let (new, hello) = setup.accept().await;
    assert_eq!(hello.max_epoch, 9);
    new.welcome(9).await;
    session.abort();
}

#[tokio::test]
async fn a_refusal_and_a_notice_are_survived() {
    let mut setup = operator().await;
    let status = Status::unauthenticated("the token is bound to no pod");
    *setup.refuse.lock().expect("unpoisoned") = Some(status);
    let session = tokio::spawn(setup.session(config(), 0).run());
    let (stream, hello) = setup.accept().await;
    assert_eq!(hello.conn, 2, "the first was refused");
    let notice = Notice {
        reason: Reason::Drain.into(),
        reconnect_after_ms: 1,
        message: String::new(),
    };
    stream.send(Down::Notice(notice)).await;
    let (_, hello) = setup.accept().await;
    assert_eq!(hello.conn, 3);
    session.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_warning_once_a_minute_and_a_drain_never_is() {
    let setup = operator().await;
    let mut session = setup.session(config(), 0);
    let told = |reason, message: &str| {
        Ended::Closed(Close::Told {
            reason,
            after: Duration::from_secs(1),
            message: message.to_owned(),
        })
    };
    let mut level = |ended| session.level(&ended, Instant::now());
    assert_eq!(level(told(Reason::Drain, "ends")), Level::INFO);
    assert_eq!(level(told(Reason::NotLeader, "stands by")), Level::INFO);
    assert_eq!(level(told(Reason::Refused, "no pod")), Level::WARN);
    assert_eq!(level(told(Reason::Refused, "no pod")), Level::DEBUG);
    assert_eq!(level(told(Reason::Refused, "no version")), Level::WARN);
    assert_eq!(level(told(Reason::TokenExpired, "renew")), Level::INFO);
    assert_eq!(level(told(Reason::Refused, "no version")), Level::DEBUG);
    tokio::time::advance(TOLD_EVERY).await;
    assert_eq!(level(told(Reason::Refused, "no version")), Level::WARN);
}

#[tokio::test]
async fn the_link_says_whether_a_leader_is_there() {
    let mut setup = operator().await;
    let session = setup.session(config(), 0);
    let mut link = session.link();
    let running = tokio::spawn(session.run());
    let (stream, _) = setup.accept().await;
    assert_eq!(*link.borrow(), Link::Disconnected, "not welcomed yet");
    stream.welcome(4).await;
    let connected = link.wait_for(|l| *l == Link::Connected { epoch: 4 });
    timeout(PATIENCE, connected)
        .await
        .expect("in time")
        .expect("runs");
    drop(stream);
    let gone = link.wait_for(|l| *l == Link::Disconnected);
    timeout(PATIENCE, gone)
        .await
        .expect("in time")
        .expect("runs");
    running.abort();
}

#[tokio::test]
async fn another_ca_is_not_trusted() {
    let mut setup = operator().await;
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    setup.options.ca_pem = other.cert.pem();
    let mut session = setup.session(config(), 0);
    let ended = timeout(PATIENCE, session.stream()).await.expect("ends");
    assert!(ended.to_string().contains("TLS"), "{ended}");
    assert!(setup.accepted.try_recv().is_err());
}

#[tokio::test]
async fn rejected_credentials_are_told_and_told_again_to_the_next_leader() {
    let mut setup = operator().await;
    let config = config();
    config.apply(Change::Snapshot {
        resources: vec![provider(), credential()],
        unchanged: Vec::new(),
    });
    let running = tokio::spawn(setup.session(config.clone(), 0).run());
    for rejections in 1..=2 {
        let provider = config.table().providers()[0].clone();
        let credential = provider.credential().expect("was pushed");
        credential.reject(Instant::now());
        let (mut stream, _) = setup.accept().await;
        stream.welcome(4).await;
        let Up::CredentialState(state) = stream.next().await else {
            panic!("not told")
        };
        assert_eq!(state.provider, "shop/openai");
        assert_eq!((state.rejected401, state.accepted), (rejections, false));
    }
    running.abort();
}

fn provider() -> Resource {
    let auth = Auth {
        r#type: auth::Type::Credential.into(),
        header: "authorization".into(),
        prefix: "Bearer ".into(),
    };
    let provider = Provider {
        namespace: "shop".into(),
        name: "openai".into(),
        r#type: "openai".into(),
        dialect: Dialect::Openai.into(),
        base_url: "https://api.openai.com/v1".into(),
        auth: Some(auth),
        health: Some(Health {
            consecutive_failures: 5,
            eject_for_ms: 10_000,
            max_eject_for_ms: 300_000,
        }),
        ..Provider::default()
    };
    Body::Provider(provider).into_resource()
}

fn credential() -> Resource {
    let credential = Credential {
        provider: "shop/openai".into(),
        value: "sk-1".into(),
        hash8: "aaaa0000".into(),
    };
    Body::Credential(credential).into_resource()
}
