//! The server through its own protocol: a generated client, an in-memory
//! connection, paused time. Each module holds the rules of one room.

mod epochs;
mod fakes;
mod lifecycle;
mod looks;
mod malformed;
mod pushes;
mod secured;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use llmroute_protocol::from_operator::Frame as Down;
use llmroute_protocol::from_sidecar::Frame as Up;
use llmroute_protocol::notice::Reason;
use llmroute_protocol::session_service_client::SessionServiceClient;
use llmroute_protocol::{
    Ack, Body, Delta, FromOperator, FromSidecar, Hello, Incarnation, Key, Notice, Outcome,
    Result as Answer, Route, Snapshot, Welcome, set_hash,
};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body as GrpcBody;
use tonic::{Code, Status, Streaming};
use tower::util::BoxCloneService;

use fakes::{FakePods, FakeReviewer, FakeView};

use super::{
    Deps, Facts, Limits, PodLookup, Refusal, Reviewed, Reviewer, SessionServer, View, accept,
};
use crate::controllers::PodConfig;
use crate::kubernetes::CallError;
use crate::leader::{LeaseHealth, Role};
use crate::metrics::Metrics;
use crate::world::{Labels, ObjectRef, PodFacts};

type Channel =
    BoxCloneService<http::Request<GrpcBody>, http::Response<hyper::body::Incoming>, hyper::Error>;

const EPOCH: u64 = 7;

fn noon() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

/// The server and everything around it.
struct World {
    server: SessionServer,
    view: watch::Sender<Option<Arc<dyn View>>>,
    role: watch::Sender<Role>,
    shown: watch::Receiver<u64>,
    reviewer: Arc<FakeReviewer>,
    pods: Arc<FakePods>,
    health: LeaseHealth,
    facts: Facts,
    metrics: Metrics,
}

/// A sidecar as the test plays it.
struct Sidecar {
    out: mpsc::Sender<FromSidecar>,
    inbound: Streaming<FromOperator>,
}

// ---------------------------------------------------------------- impl World

impl World {
    /// A leader whose view knows the pod `shop/web-1` (uid `u-1`, `app: web`),
    /// which needs the route `shop/chat`.
    fn new() -> Self {
        let world = Self::bare(Limits::default());
        world.publish(&FakeView::with_web("one"));
        world
    }

    /// A leader that has read nothing yet.
    fn bare(limits: Limits) -> Self {
        let (view, published) = watch::channel(None);
        let (role, role_seen) = watch::channel(Role::Leading { epoch: EPOCH });
        let (shown, shown_seen) = watch::channel(0);
        let reviewer = Arc::new(FakeReviewer::default());
        let pods = Arc::new(FakePods::default());
        let (health, facts, metrics) = (LeaseHealth::new(), Facts::default(), Metrics::new());
        let server = SessionServer::new(Deps {
            view: published,
            pods: pods.clone(),
            reviewer: reviewer.clone(),
            role: role_seen,
            shown,
            health: health.clone(),
            owner: "op-1/abc".into(),
            facts: facts.clone(),
            metrics: metrics.clone(),
            clock: noon,
            limits,
        });
        Self {
            server,
            view,
            role,
            shown: shown_seen,
            reviewer,
            pods,
            health,
            facts,
            metrics,
        }
    }

    /// The review of this token gives that.
    fn refuse(&self, token: &str, refusal: Refusal) {
        let mut says = self.reviewer.says.lock().expect("no panic");
        says.insert(token.into(), refusal);
    }

    fn publish(&self, view: &FakeView) {
        self.view.send_replace(Some(Arc::new(view.clone())));
    }

    fn connection(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        tokio::spawn(accept::connection(self.server.clone(), theirs, None));
        ours
    }

    async fn client(&self) -> SessionServiceClient<Channel> {
        http2(self.connection()).await
    }

    /// Opens a stream; nothing is said yet.
    async fn open(&self, token: &str) -> Sidecar {
        open(self.client().await, token).await
    }

    /// Opens a stream of `shop/web-1` and says hello.
    async fn hello(&self, hello: Hello) -> Sidecar {
        let sidecar = self.open(&token(&web_claims())).await;
        // A server that refuses may have said so already.
        let frame = Some(Up::Hello(hello));
        let _ = sidecar.out.send(FromSidecar { frame }).await;
        sidecar
    }

    /// A welcomed stream that holds nothing, before its snapshot.
    async fn welcomed(&self) -> Sidecar {
        let mut sidecar = self.hello(first_hello()).await;
        sidecar.welcome().await;
        sidecar
    }

    /// A welcomed stream that has acknowledged its snapshot.
    async fn settled(&self) -> Sidecar {
        let mut sidecar = self.welcomed().await;
        let snapshot = sidecar.snapshot().await;
        sidecar.ack(snapshot.epoch, snapshot.seq, vec![]).await;
        self.until(|facts| facts.acked == 1).await;
        sidecar
    }

    /// Waits until the sidecars of `shop/chat` are counted so.
    async fn until(&self, holds: impl Fn(&crate::controllers::Dataplane) -> bool) {
        let counted = async {
            while !holds(&self.counted()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(5), counted).await;
        assert!(waited.is_ok(), "{:?}", self.counted());
    }

    /// The sidecars of `shop/chat` against the newest view.
    fn counted(&self) -> crate::controllers::Dataplane {
        let view = self.view.borrow().clone().expect("published");
        let pod = web_pod();
        let config = view.config(&pod);
        let needs: Vec<_> = config
            .resources
            .iter()
            .map(|(key, r)| (key.clone(), r.version.clone()))
            .collect();
        self.facts.count("shop", &needs, |_| true)
    }
}

async fn http2<S>(stream: S) -> SessionServiceClient<Channel>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (send, connection) = handshake.await.expect("HTTP/2");
    // Ends with the last handle.
    tokio::spawn(connection);
    let service = tower::service_fn(move |request: http::Request<GrpcBody>| {
        send.clone().send_request(request)
    });
    let origin = http::Uri::from_static("http://operator.test");
    SessionServiceClient::with_origin(BoxCloneService::new(service), origin)
}

async fn open(mut client: SessionServiceClient<Channel>, token: &str) -> Sidecar {
    let (out, frames) = mpsc::channel(16);
    let mut request = tonic::Request::new(ReceiverStream::new(frames));
    if !token.is_empty() {
        let header = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
    }
    let answer = client.session(request).await;
    Sidecar {
        out,
        inbound: answer.expect("an answer").into_inner(),
    }
}

// ---------------------------------------------------------------- impl Sidecar

impl Sidecar {
    async fn say(&self, frame: Up) {
        let frame = FromSidecar { frame: Some(frame) };
        self.out.send(frame).await.expect("the stream is open");
    }

    async fn ack(&self, epoch: u64, seq: u64, results: Vec<Answer>) {
        let ack = Ack {
            epoch,
            seq,
            results,
        };
        self.say(Up::Ack(ack)).await;
    }

    /// The next frame, pings included; `None` at the end.
    async fn frame(&mut self) -> Option<Result<Down, Status>> {
        let frame = tokio::time::timeout(Duration::from_mins(2), self.inbound.message());
        let frame = frame.await.expect("pings come every 15 s").transpose()?;
        Some(frame.map(|frame| frame.frame.expect("a frame of ours")))
    }

    /// The next frame but pings.
    async fn next(&mut self) -> Option<Result<Down, Status>> {
        loop {
            match self.frame().await {
                Some(Ok(Down::Ping(_))) => {}
                other => return other,
            }
        }
    }

    async fn welcome(&mut self) -> Welcome {
        match self.next().await {
            Some(Ok(Down::Welcome(welcome))) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    async fn snapshot(&mut self) -> Snapshot {
        match self.next().await {
            Some(Ok(Down::Snapshot(snapshot))) => snapshot,
            other => panic!("no snapshot but {other:?}"),
        }
    }

    async fn delta(&mut self) -> Delta {
        match self.next().await {
            Some(Ok(Down::Delta(delta))) => delta,
            other => panic!("no delta but {other:?}"),
        }
    }

    /// Skips what was pushed before; then nothing but the end may follow.
    async fn notice(&mut self) -> (Notice, Option<Status>) {
        loop {
            match self.next().await {
                Some(Ok(Down::Notice(notice))) => {
                    return match self.next().await {
                        None => (notice, None),
                        Some(Err(status)) => (notice, Some(status)),
                        Some(Ok(frame)) => panic!("after the notice: {frame:?}"),
                    };
                }
                Some(Ok(_)) => {}
                other => panic!("no notice but {other:?}"),
            }
        }
    }

    /// Nothing but pings for so long.
    async fn is_quiet(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.next()).await.is_err()
    }
}

// ---------------------------------------------------------------- fixtures

fn web_pod() -> PodFacts {
    PodFacts {
        namespace: "shop".into(),
        name: "web-1".into(),
        uid: "u-1".into(),
        labels: Labels::from([("app".into(), "web".into())]),
        service_account: None,
        workload: "Deployment/web".into(),
        terminating: false,
        injected: true,
    }
}

fn web_claims() -> Value {
    let exp = noon().as_second() + 3600;
    json!({"namespace": "shop", "pod": "web-1", "uid": "u-1", "exp": exp})
}

fn token(claims: &Value) -> String {
    format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A route whose bytes depend on `body`.
fn route(name: &str, body: &str) -> Body {
    Body::Route(Route {
        namespace: "shop".into(),
        name: name.into(),
        rules: vec![llmroute_protocol::Rule {
            name: body.into(),
            ..llmroute_protocol::Rule::default()
        }],
        ..Route::default()
    })
}

fn first_hello() -> Hello {
    Hello {
        incarnation: Some(Incarnation {
            pod_uid: "u-1".into(),
            born_unix_ms: 5,
            random: 9,
        }),
        conn: 1,
        binary_version: "0.1.0".into(),
        schema_min: 1,
        schema_max: 1,
        ..Hello::default()
    }
}

fn answer(resource: &llmroute_protocol::Resource, outcome: Outcome) -> Answer {
    Answer {
        kind: resource.kind,
        name: resource.name.clone(),
        version: resource.version.clone(),
        outcome: outcome.into(),
        path: "spec.rules[0].targets[1].model".into(),
        message: "no such model".into(),
    }
}
