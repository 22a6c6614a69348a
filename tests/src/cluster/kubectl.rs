//! `kubectl` as the hand: what a user would type, and what they would read.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Cluster;
use crate::assets;

/// No command of a test takes longer, its own `--timeout` included.
const CAP: Duration = Duration::from_secs(90);

/// What a command said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it ended with 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

// ---------------------------------------------------------------- impl Said

impl Said {
    /// The output of a command that must succeed.
    pub fn expect_ok(self) -> Result<String> {
        ensure!(self.ok, "kubectl: {}{}", self.err, self.out);
        Ok(self.out)
    }

    /// The message of a command that must be refused.
    pub fn expect_refusal(self) -> Result<String> {
        ensure!(!self.ok, "not refused: {}", self.out);
        Ok(self.err)
    }
}

// ---------------------------------------------------------------- impl Cluster

impl Cluster {
    /// Runs `kubectl` as the administrator; it must succeed.
    pub async fn kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        self.try_kubectl(args, "").await?.expect_ok()
    }

    /// Runs `kubectl` with `input`, whatever comes of it.
    pub async fn try_kubectl<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<Said> {
        let mut command = Command::new(assets::kubernetes("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(args)
            // Its discovery cache would be shared between clusters, by port.
            .env("KUBECACHEDIR", self.dir().join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("starting kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl's standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let out = tokio::time::timeout(CAP, child.wait_with_output())
            .await
            .context("kubectl did not end")??;
        Ok(Said {
            ok: out.status.success(),
            out: String::from_utf8_lossy(&out.stdout).into_owned(),
            err: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }
}
