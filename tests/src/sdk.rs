//! The official OpenAI SDKs as clients, in scripts under `tests/sdk`.
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

/// Runs the Python script `tests/sdk/<script>` against the sidecar at `address`.
pub async fn python(script: &str, address: SocketAddr) -> Result<Value> {
    let mut command = Command::new(assets::python());
    command.arg("-I").env_clear();
    run(command, script, address).await
}

/// Runs the Node script `tests/sdk/<script>` against the sidecar at `address`.
pub async fn node(script: &str, address: SocketAddr) -> Result<Value> {
    let mut command = Command::new("node");
    let parts = assets::node_bin("llmock");
    // node_modules/.bin/llmock: what is required is looked for from there upwards.
    command.env("NODE_PARTS", parts);
    run(command, script, address).await
}

async fn run(mut command: Command, script: &str, address: SocketAddr) -> Result<Value> {
    let out = command
        .arg(assets::repository().join("tests/sdk").join(script))
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
