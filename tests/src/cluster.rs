//! A real API server with its etcd, alone in the world: no controller, no
//! scheduler, no node. What users and operators do to objects is real (CEL,
//! server-side apply, RBAC, tokens and their reviews); pods never run.
//!
//! [`Cluster::shared`] is one for all tests of a binary, each in a namespace of
//! its own; a test that runs an operator takes [`Cluster::start`], as an
//! installation has its cluster to itself.

mod kubectl;
mod namespace;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use kubectl::Said;
pub use namespace::Namespace;

use crate::assets;
use crate::process::Process;
use crate::reaper;
use server::ApiServer;

/// A test cluster. Dropping it ends it.
#[derive(Debug)]
pub struct Cluster {
    // In the order in which they end.
    server: ApiServer,
    _etcd: Process,
    dir: TempDir,
}

// ---------------------------------------------------------------- impl Cluster

impl Cluster {
    /// The one of this test binary, with our CRDs established.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED
            .get_or_init(async || Self::start().await.expect("the shared cluster starts"))
            .await
    }

    /// A new one, with our CRDs established.
    pub async fn start() -> Result<Self> {
        let cluster = Self::bare().await?;
        cluster.apply_crds().await?;
        Ok(cluster)
    }

    /// A new one, with nothing of ours in it.
    pub async fn bare() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("llmroute-test-")
            .tempdir_in(std::env::temp_dir())?;
        reaper::guard_dir(dir.path());
        let (server, etcd) = ApiServer::start(dir.path()).await?;
        Ok(Self {
            server,
            _etcd: etcd,
            dir,
        })
    }

    /// Our CRDs as they are committed, by the commands of the docs.
    pub async fn apply_crds(&self) -> Result<()> {
        let crds = assets::repository().join("crds");
        self.kubectl(["apply", "-f", &crds.display().to_string()])
            .await?;
        let established = [
            "wait",
            "--for=condition=Established",
            "crd",
            "-l",
            "app.kubernetes.io/part-of=llmroute",
            "--timeout=30s",
        ];
        self.kubectl(established).await?;
        Ok(())
    }

    /// Where files of the test may lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// Where the API server listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// A client for the administrator, of the runtime that asks.
    pub async fn client(&self) -> Result<Client> {
        self.client_of(&self.kubeconfig()).await
    }

    /// A client for whom a kubeconfig names.
    pub async fn client_of(&self, kubeconfig: &Path) -> Result<Client> {
        let config = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig for the bearer of `token`, who finds the API server at `address`.
    pub fn kubeconfig_for(
        &self,
        name: &str,
        token: &str,
        address: std::net::SocketAddr,
    ) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("{name}.kubeconfig"));
        let text = server::kubeconfig(self.dir.path(), address, &server::bearer(token))?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Ends the API server, as an upgrade of the control plane does; etcd stays.
    pub fn stop_api_server(&mut self) {
        self.server.stop();
    }

    /// Starts it again at the same address.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.server.run(self.dir.path()).await
    }

    /// All that the audit of a test may search: the logs under [`Cluster::dir`].
    pub fn logs(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.dir.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "log") {
                let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                found.push((path, text));
            }
        }
        ensure!(
            !found.is_empty(),
            "no log under {}",
            self.dir.path().display()
        );
        Ok(found)
    }
}

/// How long a healthy API server may take for what it does at once.
pub const SOON: Duration = Duration::from_secs(20);
