//! Starts etcd and the API server, and knows when they are ready.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pki::{self, Ca};
use crate::process::Process;
use crate::wait::eventually;
use crate::{assets, ports};

/// On a busy machine of two cores; 2 s on an idle one.
const READY: Duration = Duration::from_secs(90);

/// The API server's process and how to start it again.
#[derive(Debug)]
pub(super) struct ApiServer {
    address: SocketAddr,
    etcd: SocketAddr,
    process: Option<Process>,
}

// ---------------------------------------------------------------- impl ApiServer

impl ApiServer {
    pub(super) async fn start(dir: &Path) -> Result<(Self, Process)> {
        write_pki(dir)?;
        let etcd_at = ports::free();
        let etcd = start_etcd(dir, etcd_at)?;
        let mut server = Self {
            address: ports::free(),
            etcd: etcd_at,
            process: None,
        };
        let admin = format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            encoded(&dir.join("admin.crt"))?,
            encoded(&dir.join("admin.key"))?
        );
        fs::write(
            dir.join("admin.kubeconfig"),
            kubeconfig(dir, server.address, &admin)?,
        )?;
        server.run(dir).await?;
        Ok((server, etcd))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn stop(&mut self) {
        self.process = None;
    }

    /// Starts the process and waits until it is ready.
    pub(super) async fn run(&mut self, dir: &Path) -> Result<()> {
        let mut command = Command::new(assets::kubernetes("kube-apiserver"));
        command.current_dir(dir).args([
            format!("--etcd-servers=http://{}", self.etcd),
            format!("--secure-port={}", self.address.port()),
        ]);
        command.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=tokens.pub",
            "--service-account-signing-key-file=tokens.key",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            // Without a controller manager nobody answers for these.
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=DefaultStorageClass,StorageObjectInUseProtection",
            "--profiling=false",
        ]);
        let mut process = Process::spawn("kube-apiserver", dir, &mut command)?;
        let kubectl = assets::kubernetes("kubectl");
        eventually("the API server", READY, async || {
            process.check_running()?;
            let out = tokio::process::Command::new(&kubectl)
                .arg("--kubeconfig")
                .arg(dir.join("admin.kubeconfig"))
                .args(["get", "--raw", "/readyz"])
                .kill_on_drop(true)
                .output()
                .await?;
            ensure!(
                out.status.success(),
                "{}\n{}",
                String::from_utf8_lossy(&out.stderr),
                process.tail()
            );
            Ok(())
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }
}

fn start_etcd(dir: &Path, at: SocketAddr) -> Result<Process> {
    let peer = ports::free();
    let mut command = Command::new(assets::kubernetes("etcd"));
    command.current_dir(dir).args([
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls=http://{at}"),
        format!("--advertise-client-urls=http://{at}"),
        format!("--listen-peer-urls=http://{peer}"),
        format!("--initial-advertise-peer-urls=http://{peer}"),
        format!("--initial-cluster=default=http://{peer}"),
        // A test cluster needn't survive the machine.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]);
    Process::spawn("etcd", dir, &mut command)
}

fn write_pki(dir: &Path) -> Result<()> {
    let ca = Ca::new("llmroute test cluster")?;
    fs::write(dir.join("ca.crt"), ca.pem())?;
    let names = [
        "127.0.0.1",
        "localhost",
        "kubernetes.default.svc",
        "10.0.0.1",
    ];
    ca.server(&names)?.write(dir, "server")?;
    ca.client("admin", "system:masters")?.write(dir, "admin")?;
    let (private, public) = pki::signing_keys()?;
    fs::write(dir.join("tokens.key"), private)?;
    fs::write(dir.join("tokens.pub"), public)?;
    Ok(())
}

/// A kubeconfig of one cluster and one user, whose `credentials` are given in YAML.
pub(super) fn kubeconfig(dir: &Path, address: SocketAddr, credentials: &str) -> Result<String> {
    let ca = encoded(&dir.join("ca.crt"))?;
    let mut text = String::new();
    write!(
        text,
        "apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: https://{address}
    certificate-authority-data: {ca}
users:
- name: test
  user:
    {credentials}
contexts:
- name: test
  context:
    cluster: test
    user: test
"
    )?;
    Ok(text)
}

/// The credentials of whoever bears `token`.
pub(super) fn bearer(token: &str) -> String {
    format!("token: {token}")
}

fn encoded(path: &PathBuf) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(STANDARD.encode(bytes))
}
