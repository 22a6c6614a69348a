//! The official OpenAI SDK for Python as a client, in scripts under `tests/sdk`.
//!
//! A script prints one JSON value, which the test judges; whatever the SDK
//! raises unexpectedly is the failure message.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::assets;

/// No script takes longer.
const CAP: Duration = Duration::from_mins(2);

/// Runs `tests/sdk/<script>` against the sidecar at `address`, with arguments.
pub async fn python(script: &str, address: SocketAddr, args: &[&str]) -> Result<Value> {
    let path = assets::repository().join("tests/sdk").join(script);
    let out = Command::new(assets::python())
        .arg("-I")
        .arg(&path)
        .args(args)
        .env_clear()
        .env("OPENAI_BASE_URL", format!("http://{address}/v1"))
        .env("OPENAI_API_KEY", "llmroute-placeholder")
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(CAP, out)
        .await
        .with_context(|| format!("{script} did not end"))??;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(
        out.status.success(),
        "{script}: {}{text}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_str(&text).with_context(|| format!("{script} printed {text}"))
}
