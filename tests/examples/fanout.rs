//! How long until one change has reached every sidecar: the operator's own
//! session server and the sidecar's own client code in one process, over TLS
//! on loopback. The clock starts with the changed object, as a watch delivers
//! it: validate, build and encode are included. It ends when the last ack is
//! back, after each sidecar has decoded the route, compiled a table and swapped it.
//!
//! `cargo run --release -p llmroute-tests --example fanout -- [SIDECARS] [ROUNDS] [RULES]`
//!
//! The server runs on one thread and all sidecars on another, so that the CPU of
//! either is told by itself. What a sidecar does with a change grows with the rules
//! of the route; a thousand on one thread do it one after the other, with cold
//! caches. Needs two file descriptors a sidecar.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::BoxFuture;
use jiff::Timestamp;
use llmroute_operator::certs::serve::ServedLeaf;
use llmroute_operator::certs::{self, Data};
use llmroute_operator::controllers::{Engine, Options};
use llmroute_operator::kubernetes::CallError;
use llmroute_operator::leader::{LeaseHealth, Role};
use llmroute_operator::metrics::Metrics;
use llmroute_operator::session::{
    Cluster, Deps, Facts, Limits, PodLookup, PodStore, Published, Refusal, Reviewed, Reviewer,
    SessionServer, View,
};
use llmroute_operator::world::{Change, Labels, Object, ObjectRef, PodFacts, SecretFacts};
use llmroute_protocol::Incarnation;
use llmroute_sidecar::cache::Cache;
use llmroute_sidecar::session::{Address, Session, SessionOptions};
use llmroute_sidecar::table::Config;
use llmroute_sidecar::upstream::Upstreams;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "shop";
const TOO_LONG: Duration = Duration::from_mins(1);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let sidecars = args.next().map_or(Ok(1000), |n| n.parse())?;
    let rounds = args.next().map_or(Ok(20), |n| n.parse())?;
    let rules = args.next().map_or(Ok(4), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::start(sidecars, rules, folder.path())?;
    let opened = Instant::now();
    bench.wait_for_acks(sidecars, opened)?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{sidecars} sessions open and configured in {} ms, resident {} MiB in all",
        opened.elapsed().as_millis(),
        resident_kib()? / 1024,
    )?;
    // The first rounds grow buffers.
    for round in 0..3 {
        bench.change(round)?;
    }
    let mut took = Vec::new();
    let (before, sent) = (cpu()?, bench.metrics.push_bytes.get());
    for round in 0..rounds {
        took.push(bench.change(1000 + round)?);
    }
    let after = cpu()?;
    let sent = bench.metrics.push_bytes.get() - sent;
    let pushes = rounds * sidecars;
    took.sort_unstable();
    writeln!(
        out,
        "one change of {} bytes to {sidecars} sidecars and back, {rounds} rounds: \
         median {:.0} ms, best {:.0}, worst {:.0}",
        sent / u64::from(pushes),
        ms(took[took.len() / 2]),
        ms(took[0]),
        ms(took[took.len() - 1]),
    )?;
    for (thread, used) in &after {
        let used = used.saturating_sub(before.get(thread).copied().unwrap_or_default());
        let per_push = used.as_secs_f64() * 1e6 / f64::from(pushes);
        writeln!(out, "  CPU of {thread}: {per_push:.0} us a push")?;
    }
    Ok(())
}

/// Both ends, on a thread each; the World is here.
struct Bench {
    engine: Engine,
    pods: PodStore,
    view: watch::Sender<Option<Arc<dyn View>>>,
    /// Dropped, the sessions would end.
    _role: watch::Sender<Role>,
    metrics: Metrics,
    sidecars: u32,
    rules: u32,
}

impl Bench {
    fn start(sidecars: u32, rules: u32, folder: &Path) -> anyhow::Result<Self> {
        let names = ["127.0.0.1".to_owned()];
        let made = certs::renew(&Data::new(), &names, Timestamp::now())?;
        let (material, _) = made.context("there was no certificate")?;
        let leaf = ServedLeaf::default();
        leaf.replace(&material);
        let (view, published) = watch::channel(None);
        let metrics = Metrics::new();
        let (role, leading) = watch::channel(Role::Leading { epoch: 1 });
        let server = server(published, leading, metrics.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        on_a_thread("operator", async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            server.serve(listener, leaf, CancellationToken::new()).await;
        })?;
        let mut bench = Self {
            engine: Engine::new(Options::default()),
            pods: PodStore::default(),
            view,
            _role: role,
            metrics,
            sidecars,
            rules,
        };
        bench.create_objects();
        bench.change_route(0);
        let ca_pem = material.trusted_pem();
        let tokens = (0..sidecars)
            .map(|n| {
                let file = folder.join(n.to_string());
                std::fs::write(&file, format!("web-{n}")).map(|()| file)
            })
            .collect::<Result<Vec<_>, _>>()?;
        on_a_thread("sidecars", async move {
            let all = tokens.into_iter().zip(0..).map(|(token_file, n)| {
                // As pods come up, not all in one millisecond.
                let ca_pem = ca_pem.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(n)).await;
                    sidecar(address, token_file, ca_pem, n).run().await;
                }
            });
            let tasks: Vec<_> = all.map(tokio::spawn).collect();
            futures::future::join_all(tasks).await;
        })?;
        Ok(bench)
    }

    /// Publishes another route and waits until every sidecar has acknowledged it.
    fn change(&mut self, round: u32) -> anyhow::Result<Duration> {
        // What is under way from the last one ends first.
        std::thread::sleep(Duration::from_millis(50));
        let acked = self.acks();
        let start = Instant::now();
        self.change_route(round + 1);
        self.wait_for_acks(acked + self.sidecars, start)
    }

    fn create_objects(&mut self) {
        for n in 0..self.sidecars {
            self.pods.put(pod(n));
        }
        let id = ObjectRef::new(NAMESPACE, "openai");
        let value = ("api-key".to_owned(), b"sk-of-a-benchmark".to_vec());
        self.engine
            .apply(Change::Secret(SecretFacts::new(id, [value])));
        self.engine.apply(Change::Provider(object(&provider(), 1)));
    }

    /// As the operator's own task does with what a watch delivers.
    fn change_route(&mut self, round: u32) {
        let route = object(&route(round, self.rules), i64::from(round) + 1);
        self.engine.apply(Change::Route(route));
        let view = Cluster::new(self.engine.built(), self.pods.clone());
        self.view.send_replace(Some(Arc::new(view)));
    }

    fn wait_for_acks(&self, count: u32, start: Instant) -> anyhow::Result<Duration> {
        loop {
            if self.acks() >= count {
                return Ok(start.elapsed());
            }
            let acks = self.acks();
            ensure!(start.elapsed() < TOO_LONG, "{acks} of {count} acks came");
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Pushes that were answered.
    fn acks(&self) -> u32 {
        let answered = self.metrics.push_ack_seconds.get_sample_count();
        u32::try_from(answered).unwrap_or(u32::MAX)
    }
}

fn on_a_thread(name: &str, task: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(move || runtime.block_on(task))?;
    Ok(())
}

// ---------------------------------------------------------------- the operator's end

fn server(view: Published, role: watch::Receiver<Role>, metrics: Metrics) -> SessionServer {
    SessionServer::new(Deps {
        view,
        pods: Arc::new(NoPods),
        reviewer: Arc::new(Tokens),
        role,
        shown: watch::Sender::new(0),
        health: LeaseHealth::new(),
        owner: "bench".into(),
        facts: Facts::default(),
        metrics,
        clock: Timestamp::now,
        limits: Limits {
            reviews_per_second: 1_000_000,
            ..Limits::default()
        },
    })
}

/// A token is the name of its pod.
struct Tokens;

impl Reviewer for Tokens {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, Refusal>> {
        Box::pin(async move {
            Ok(Reviewed {
                namespace: NAMESPACE.into(),
                service_account: "web".into(),
                pod: Some((token.into(), token.into())),
            })
        })
    }
}

/// The view knows every pod.
struct NoPods;

impl PodLookup for NoPods {
    fn get<'a>(
        &'a self,
        _: &'a ObjectRef,
    ) -> BoxFuture<'a, Result<Option<Arc<PodFacts>>, CallError>> {
        Box::pin(async { Ok(None) })
    }
}

fn pod(n: u32) -> PodFacts {
    let name = format!("web-{n}");
    PodFacts {
        namespace: NAMESPACE.into(),
        uid: name.clone(),
        name,
        labels: Labels::from([("app".into(), "web".into())]),
        service_account: None,
        workload: "Deployment/web".into(),
        terminating: false,
        injected: true,
    }
}

fn object(manifest: &Value, generation: i64) -> Object {
    Object::from_manifest(manifest, generation, Timestamp::UNIX_EPOCH).expect("it has a name")
}

/// Rules of 4 models and 2 targets, one weight of which differs. 16 are 3.3 KB on the wire.
fn route(round: u32, rules: u32) -> Value {
    let rule = |n: u32| {
        let models: Vec<_> = (0..4).map(|m| format!("a-model-of-rule-{n}-{m}")).collect();
        json!({
            "name": format!("rule-{n}"),
            "matches": [{"models": models}],
            "targets": [
                {"name": "a", "providerRef": {"name": "openai"}, "model": "gpt-4o-mini", "weight": 1 + round},
                {"name": "b", "providerRef": {"name": "openai"}, "model": "gpt-4o", "priority": 1},
            ],
        })
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    json!({
        "metadata": {"namespace": NAMESPACE, "name": "chat"},
        "spec": {"rules": rules},
    })
}

fn provider() -> Value {
    json!({
        "metadata": {"namespace": NAMESPACE, "name": "openai"},
        "spec": {
            "type": "openai",
            "auth": {"type": "SecretRef", "secretRef": {"name": "openai"}},
        },
    })
}

// ---------------------------------------------------------------- the sidecars' end

fn sidecar(
    operator: SocketAddr,
    token_file: std::path::PathBuf,
    ca_pem: String,
    n: u64,
) -> Session {
    let options = SessionOptions {
        operator: Address::parse(&operator.to_string()).expect("a socket address"),
        token_file,
        ca_pem,
    };
    let incarnation = Incarnation {
        pod_uid: String::new(),
        born_unix_ms: 1,
        random: n,
    };
    let config = Config::new(Arc::new(Upstreams::new(false)));
    Session::new(
        options,
        config,
        Arc::new(Cache::new(None, false)),
        incarnation,
        0,
    )
}

// ---------------------------------------------------------------- figures

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// CPU time of the two threads, by name.
fn cpu() -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut used = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?;
        let on_cpu = std::fs::read_to_string(task.join("schedstat"))?;
        let ns = on_cpu.split_whitespace().next().context("no schedstat")?;
        if let name @ ("operator" | "sidecars") = name.trim() {
            used.insert(name.to_owned(), Duration::from_nanos(ns.parse()?));
        }
    }
    Ok(used)
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(figure.context("no VmRSS")?.parse()?)
}
