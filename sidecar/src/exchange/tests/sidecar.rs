//! The sidecar under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use llmroute_protocol as proto;
use llmroute_protocol::Resource;
use tempfile::TempDir;

use super::{Answer, Client, Upstream};
use crate::access_log::{AccessLog, Destination};
use crate::exchange::Exchange;
use crate::metrics::Metrics;
use crate::server::{Drain, Limits, bind, serve};
use crate::table::Config;
use crate::table::fixture::{
    config, credential, delta, model, of_provider, of_route, provider, route, rule, snapshot,
    target,
};

/// The key that our providers hold. It may be found nowhere but upstream.
pub(super) const KEY: &str = "sk-planted-0123456789";

pub(super) struct Sidecar {
    pub(super) address: SocketAddr,
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) drain: Drain,
    pub(super) served: tokio::task::JoinHandle<()>,
    log: AccessLog,
    dir: TempDir,
}

impl Sidecar {
    pub(super) async fn bare(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = AccessLog::open(&Destination::File(dir.path().join("log"))).expect("opens");
        let (config, metrics, drain) = (config(), Metrics::new("test"), Drain::default());
        let exchange = Exchange::new(
            config.clone(),
            metrics.clone(),
            log.clone(),
            drain.clone(),
            Rng::with_seed(7),
        );
        let listeners = bind("127.0.0.1:0".parse().expect("an address"))
            .await
            .expect("binds");
        let address = listeners[0].local_addr().expect("bound");
        let served = tokio::spawn(serve(listeners, Arc::new(exchange), limits, drain.clone()));
        Self {
            address,
            config,
            metrics,
            drain,
            served,
            log,
            dir,
        }
    }

    pub(super) async fn with(resources: impl IntoIterator<Item = Resource>) -> Self {
        let sidecar = Self::bare(Limits::default()).await;
        sidecar.apply(resources);
        sidecar
    }

    /// One route with one rule over `upstreams`, by ascending priority.
    pub(super) async fn over(upstreams: &[&Upstream]) -> Self {
        Self::ruled(upstreams, |_| {}).await
    }

    /// The same, with another rule than the default.
    pub(super) async fn ruled(
        upstreams: &[&Upstream],
        edit: impl FnOnce(&mut proto::Rule),
    ) -> Self {
        Self::with(resources(upstreams, edit)).await
    }

    fn apply(&self, resources: impl IntoIterator<Item = Resource>) {
        for result in self.config.apply(snapshot(resources)) {
            assert_ne!(result.outcome(), proto::Outcome::Error, "{result:?}");
        }
    }

    /// Another key for `provider`.
    pub(super) fn rotate(&self, provider: &str, key: &str) {
        self.config.apply(delta([credential(provider, key)]));
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(super) async fn chat(&self, body: &str) -> Answer {
        self.client().call(chat(body)).await
    }

    /// The lines of the access log so far.
    pub(super) fn log(&self) -> Vec<serde_json::Value> {
        self.log.flush();
        let text = std::fs::read_to_string(self.dir.path().join("log")).expect("the log");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Waits for the `n`th line.
    pub(super) async fn line(&self, n: usize) -> serde_json::Value {
        for _ in 0..200 {
            if let Some(line) = self.log().get(n) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no line {n} in {:?}", self.log());
    }

    pub(super) fn metrics(&self) -> String {
        String::from_utf8(self.metrics.render()).expect("UTF-8")
    }
}

/// Route `shop/chat` over providers `up0`, `up1`, … with the model `gpt-4o`
/// that costs 2.5 and 10 USD per million tokens.
pub(super) fn resources(
    upstreams: &[&Upstream],
    edit: impl FnOnce(&mut proto::Rule),
) -> Vec<Resource> {
    let name = |n: usize| format!("up{n}");
    let targets = (0..upstreams.len()).map(|n| proto::Target {
        priority: u32::try_from(n).expect("few"),
        model: "gpt-4o".into(),
        ..target(&name(n))
    });
    let mut rule = rule("all", ["chat"], targets);
    rule.retry = Some(proto::Retry {
        attempts: 2,
        on: (1..=5).collect(),
        backoff_base_ms: 1,
        backoff_max_ms: 2000,
    });
    edit(&mut rule);
    let mut resources = vec![of_route(route("chat", [rule]))];
    for (n, upstream) in upstreams.iter().enumerate() {
        resources.push(of_provider(proto::Provider {
            base_url: upstream.base_url(),
            models: vec![priced()],
            ..provider(&name(n))
        }));
        resources.push(credential(&name(n), KEY));
    }
    resources
}

pub(super) fn priced() -> proto::Model {
    let rates = proto::Rates {
        input: 2_500_000,
        output: 10_000_000,
        ..proto::Rates::default()
    };
    proto::Model {
        price: Some(proto::Price {
            rates: Some(rates),
            ..proto::Price::default()
        }),
        ..model("gpt-4o")
    }
}

pub(super) const BODY: &str =
    r#"{"model": "chat", "messages": [{"role": "user", "content": "planted prompt"}]}"#;
pub(super) const STREAM: &str =
    r#"{"model":"chat","stream":true,"messages":[{"role":"user","content":"planted prompt"}]}"#;

/// A chat as an SDK sends it.
pub(super) fn chat(body: &str) -> Request<Full<Bytes>> {
    Request::post("/v1/chat/completions")
        .header("host", "127.0.0.1:15480")
        .header(CONTENT_TYPE, "application/json")
        .header("authorization", "Bearer llmroute-placeholder")
        .header("accept-encoding", "gzip, deflate")
        .body(Full::from(body.to_owned()))
        .expect("a request")
}
