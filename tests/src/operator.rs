//! The operator as installed: its namespace, its identity under the RBAC that
//! is shipped, its replicas as processes, and a stand-in for the Service that
//! leads sidecars to the leading one.

mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::http::Http;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::eventually;
use crate::{assets, ports};
use service::Service;

/// Where the shipped RBAC puts it.
pub const NAMESPACE: &str = "llmroute-system";

/// A Lease that must run out first takes 15 s of it.
const READY: Duration = Duration::from_mins(1);

/// What replicas share.
#[derive(Debug)]
pub struct Installation<'a> {
    cluster: &'a Cluster,
    service: Service,
}

/// One replica.
#[derive(Debug)]
pub struct Operator {
    /// Its pod.
    pub pod: String,
    session: SocketAddr,
    admin: SocketAddr,
    kubeconfig: PathBuf,
    to_api: Proxy,
    dir: PathBuf,
    process: Option<Process>,
}

// ---------------------------------------------------------------- impl Installation

impl Installation<'static> {
    /// The one of this test binary in its shared cluster, with one ready replica that leads.
    pub async fn shared() -> &'static Self {
        &Self::shared_pair().await.0
    }

    /// Its replica.
    pub async fn shared_operator() -> &'static Operator {
        &Self::shared_pair().await.1
    }

    async fn shared_pair() -> &'static (Self, Operator) {
        static SHARED: OnceCell<(Installation<'static>, Operator)> = OnceCell::const_new();
        let start = async || {
            let installation = Self::new(Cluster::shared().await).await?;
            let operator = installation.ready("shared").await?;
            installation.wait_leader(&operator, READY).await?;
            anyhow::Ok((installation, operator))
        };
        let start = async || {
            // Blocks a thread of its own: what is started lives on the other runtime.
            let started =
                tokio::task::spawn_blocking(move || crate::background().block_on(start()));
            started
                .await
                .expect("no panic")
                .expect("the shared operator starts")
        };
        SHARED.get_or_init(start).await
    }
}

impl<'a> Installation<'a> {
    /// Applies the shipped RBAC and puts up the Service.
    pub async fn new(cluster: &'a Cluster) -> Result<Self> {
        let rbac = assets::repository().join("operator/deploy/rbac.yaml");
        cluster
            .kubectl(["apply", "-f", &rbac.display().to_string()])
            .await?;
        let service = Service::start(cluster.client().await?, NAMESPACE).await?;
        Ok(Self { cluster, service })
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Where sidecars find the leader.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Starts the replica in pod `llmroute-operator-<name>`; it may not be ready yet.
    pub async fn start(&self, name: &str) -> Result<Operator> {
        let pod = format!("llmroute-operator-{name}");
        self.cluster.apply(&operator_pod(&pod)).await?;
        let token = [
            "-n",
            NAMESPACE,
            "create",
            "token",
            "llmroute-operator",
            "--duration=2h",
        ];
        let token = self.cluster.kubectl(token).await?;
        let to_api = Proxy::start(Some(self.cluster.address())).await?;
        let kubeconfig = self
            .cluster
            .kubeconfig_for(&pod, token.trim(), to_api.address())?;
        let mut operator = Operator {
            pod: pod.clone(),
            session: ports::free(),
            admin: ports::free(),
            kubeconfig,
            to_api,
            dir: self.cluster.dir().to_owned(),
            process: None,
        };
        operator.run()?;
        self.service.add(&pod, operator.session);
        Ok(operator)
    }

    /// Starts the replica and waits until it is ready.
    pub async fn ready(&self, name: &str) -> Result<Operator> {
        let operator = self.start(name).await?;
        operator.wait_ready().await?;
        Ok(operator)
    }

    /// Waits until the Service leads to the replica.
    pub async fn wait_leader(&self, operator: &Operator, cap: Duration) -> Result<()> {
        eventually(&format!("{} to lead", operator.pod), cap, async || {
            let leader = self.service.leader();
            ensure!(
                leader.as_deref() == Some(&operator.pod),
                "the leader is {leader:?}\n{}",
                operator.tail()
            );
            Ok(())
        })
        .await
    }

    /// The CA of the session port, as the docs have it read.
    pub async fn ca_pem(&self) -> Result<String> {
        let encoded = eventually("Secret llmroute-certs", READY, async || {
            let get = [
                "-n",
                NAMESPACE,
                "get",
                "secret",
                "llmroute-certs",
                "-o",
                r"jsonpath={.data.ca\.crt}",
            ];
            self.cluster.kubectl(get).await
        })
        .await?;
        Ok(String::from_utf8(STANDARD.decode(encoded)?)?)
    }

    /// The epoch that is written.
    pub async fn epoch(&self) -> Result<u64> {
        let get = [
            "-n",
            NAMESPACE,
            "get",
            "configmap",
            "llmroute-epoch",
            "-o",
            "json",
        ];
        let map: Value = serde_json::from_str(&self.cluster.kubectl(get).await?)?;
        map["data"]["epoch"]
            .as_str()
            .and_then(|e| e.parse().ok())
            .with_context(|| format!("no epoch in {map}"))
    }
}

// ---------------------------------------------------------------- impl Operator

impl Operator {
    /// Starts the process, again in the same pod if it ran before.
    pub fn run(&mut self) -> Result<()> {
        let mut command = Command::new(assets::own("llmroute-operator"));
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", NAMESPACE, "--pod-name", &self.pod])
            .args(["--session-listen", &self.session.to_string()])
            .args(["--admin-listen", &self.admin.to_string()])
            .args(["--log-level", "debug", "--allow-loopback-upstreams"])
            .env("RUST_BACKTRACE", "1");
        self.process = Some(Process::spawn(&self.pod, &self.dir, &mut command)?);
        Ok(())
    }

    /// Waits until /readyz says so.
    pub async fn wait_ready(&self) -> Result<()> {
        let (http, url) = (Http::new(), self.admin_url("/readyz"));
        eventually(&format!("{} to be ready", self.pod), READY, async || {
            let answer = http.get(&url).await.with_context(|| self.tail())?;
            ensure!(
                answer.status.is_success(),
                "{}\n{}",
                answer.text(),
                self.tail()
            );
            Ok(())
        })
        .await
    }

    /// A page of the admin port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// The sum of a metric's samples whose labels contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<i64> {
        let answer = Http::new().get(&self.admin_url("/metrics")).await?;
        crate::sidecar::sum(&answer.text(), name, labels)
    }

    /// Where its sessions are.
    pub fn session(&self) -> SocketAddr {
        self.session
    }

    /// Between it and the API server.
    pub fn to_api(&self) -> &Proxy {
        &self.to_api
    }

    /// Ends it at once, as a node that dies does.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Its process.
    ///
    /// # Panics
    /// Where it was never started.
    pub fn process(&mut self) -> &mut Process {
        self.process
            .as_mut()
            .expect("an operator is started when it is made")
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }
}

fn operator_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "llmroute-operator"}
        },
        "spec": {
            "serviceAccountName": "llmroute-operator",
            // The namespace enforces the restricted standard.
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "operator", "image": "none",
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}
                }
            }]
        }
    })
}
