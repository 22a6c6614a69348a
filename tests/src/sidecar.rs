//! The sidecar as a process beside a pod that never runs.
//!
//! Its ports, token and state folder stay the same over a restart, as those of
//! a container in its pod do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Namespace;
use crate::http::{self, Answer, Http};
use crate::operator::Installation;
use crate::process::Process;
use crate::wait::eventually;
use crate::{assets, ports};

/// Between start and answering at all.
const READY: Duration = Duration::from_secs(30);

/// The sidecar of one pod.
#[derive(Debug)]
pub struct Sidecar {
    /// Namespace and pod.
    pub name: String,
    /// Where apps call.
    pub data: SocketAddr,
    /// Where /metrics, /livez and /readyz are.
    pub admin: SocketAddr,
    /// Where /config is.
    pub local: SocketAddr,
    operator: SocketAddr,
    ca_pem: String,
    dir: PathBuf,
    process: Option<Process>,
    http: Http,
}

// ---------------------------------------------------------------- impl Sidecar

impl Sidecar {
    /// Makes the pod with the label `app`, and starts the sidecar with a token bound to it.
    pub async fn start(
        installation: &Installation<'_>,
        namespace: &Namespace<'_>,
        pod: &str,
        app: &str,
    ) -> Result<Self> {
        namespace.pod(pod, app).await?;
        let token = namespace.token(pod).await?;
        let ca_pem = installation.ca_pem().await?;
        let mut sidecar = Self::new(namespace, pod, installation.address(), ca_pem)?;
        sidecar.set_token(&token)?;
        sidecar.run()?;
        sidecar.wait_up().await?;
        Ok(sidecar)
    }

    /// The sidecar of a pod that is there, not yet started and without a token.
    pub fn new(
        namespace: &Namespace<'_>,
        pod: &str,
        operator: SocketAddr,
        ca_pem: String,
    ) -> Result<Self> {
        let name = format!("{}-{pod}", namespace.name);
        let dir = namespace.cluster.dir().to_owned();
        std::fs::create_dir_all(dir.join(&name).join("state"))?;
        Ok(Self {
            name,
            data: ports::free(),
            admin: ports::free(),
            local: ports::free(),
            operator,
            ca_pem,
            dir,
            process: None,
            http: Http::new(),
        })
    }

    /// The token that it shows from the next connection on.
    pub fn set_token(&self, token: &str) -> Result<()> {
        Ok(std::fs::write(self.token_file(), token)?)
    }

    /// Starts the process, again if it ran before.
    pub fn run(&mut self) -> Result<()> {
        let mut command = Command::new(assets::own("llmroute-sidecar"));
        command
            .args(["--operator", &self.operator.to_string(), "--token-file"])
            .arg(self.token_file())
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(["--listen", &self.data.to_string()])
            .args(["--admin-listen", &self.admin.to_string()])
            .args(["--local-listen", &self.local.to_string()])
            .arg("--access-log")
            .arg(self.access_log_file())
            .env("LLMROUTE_CA_PEM", &self.ca_pem)
            .env("LLMROUTE_LOG_LEVEL", "debug")
            .env("RUST_BACKTRACE", "1");
        let name = format!("sidecar-{}", self.name);
        self.process = Some(Process::spawn(&name, &self.dir, &mut command)?);
        Ok(())
    }

    /// Kills it and starts it again, as after a crash.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run()?;
        self.wait_up().await
    }

    /// Ends it at once.
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
        self.process.as_mut().expect("the sidecar was started")
    }

    /// The number of its process.
    ///
    /// # Panics
    /// Where it was never started.
    pub fn pid(&self) -> u32 {
        self.process
            .as_ref()
            .expect("the sidecar was started")
            .pid()
    }

    /// Waits until its admin port answers.
    pub async fn wait_up(&mut self) -> Result<()> {
        let what = format!("sidecar {} to be up", self.name);
        let url = self.admin_url("/livez");
        eventually(&what, READY, async || {
            self.process().check_running()?;
            let answer = self.http.get(&url).await.with_context(|| self.tail())?;
            ensure!(
                answer.status.is_success(),
                "{}\n{}",
                answer.status,
                self.tail()
            );
            Ok(())
        })
        .await
    }

    /// Waits until a call for `model` gives 200, and gives that answer.
    pub async fn wait_serves(&self, model: &str, cap: Duration) -> Result<Answer> {
        let what = format!("sidecar {} to serve {model}", self.name);
        eventually(&what, cap, async || {
            let answer = self.chat(model).await?;
            ensure!(
                answer.status.is_success(),
                "{} {}\n{}",
                answer.status,
                answer.text(),
                self.tail()
            );
            Ok(answer)
        })
        .await
    }

    /// One call of one message.
    pub async fn chat(&self, model: &str) -> Result<Answer> {
        self.post("/v1/chat/completions", &http::chat(model)).await
    }

    /// One call.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.http.post(&self.url(path), body).await
    }

    /// Where an app finds `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.data)
    }

    /// A page of the admin port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.http.get(&self.admin_url("/metrics")).await?.text())
    }

    /// The sum of a metric's samples whose labels contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<i64> {
        sum(&self.metrics().await?, name, labels)
    }

    /// Its redacted config.
    pub async fn config(&self) -> Result<Answer> {
        self.http
            .get(&format!("http://{}/config", self.local))
            .await
    }

    /// The lines of its access log.
    pub fn access_log(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.access_log_file()).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("access log: {line}")))
            .collect()
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// Where it keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        self.own_dir().join("state")
    }

    fn own_dir(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn token_file(&self) -> PathBuf {
        self.own_dir().join("token")
    }

    fn access_log_file(&self) -> PathBuf {
        Path::new(&self.dir).join(format!("access-{}.log", self.name))
    }
}

/// The sum of the samples of `name` whose labels contain all of `labels`: whole numbers.
pub fn sum(metrics: &str, name: &str, labels: &[&str]) -> Result<i64> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter(|rest| labels.iter().all(|l| rest.contains(l)))
        .map(|rest| {
            let value = rest.rsplit(' ').next().unwrap_or_default();
            value
                .parse::<i64>()
                .with_context(|| format!("{name}{rest}"))
        })
        .sum()
}
