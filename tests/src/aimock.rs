//! `@copilotkit/aimock` as an upstream: a mock of many providers that we did not write.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::Http;
use crate::process::Process;
use crate::wait::eventually;
use crate::{assets, ports};

/// Node starts slowly on a busy machine.
const READY: Duration = Duration::from_mins(1);

/// The running mock.
#[derive(Debug)]
pub struct Aimock {
    address: SocketAddr,
    process: Process,
}

// ---------------------------------------------------------------- impl Aimock

impl Aimock {
    /// Starts it in `dir` with `fixtures` (its JSON format) and further arguments.
    pub async fn start(dir: &Path, fixtures: &str, args: &[&str]) -> Result<Self> {
        let address = ports::free();
        let file = dir.join(format!("aimock-{}.json", address.port()));
        std::fs::write(&file, fixtures)?;
        let mut command = Command::new(assets::node_bin("llmock"));
        command
            .args(["--port", &address.port().to_string(), "--fixtures"])
            .arg(&file)
            .args(args);
        let name = format!("aimock-{}", address.port());
        let mut process = Process::spawn(&name, dir, &mut command)?;
        let http = Http::new();
        eventually("aimock", READY, async || {
            process.check_running()?;
            let answer = http.get(&format!("http://{address}/v1/models")).await?;
            ensure!(answer.status.is_success(), "{}", answer.status);
            Ok(())
        })
        .await?;
        Ok(Self { address, process })
    }

    /// Its base URL, as an LLMProvider has it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What it has to say for itself.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// All requests that it kept, as it tells them.
    pub async fn journal(&self) -> Result<serde_json::Value> {
        let url = format!("http://{}/__aimock/journal", self.address);
        Http::new().get(&url).await?.json()
    }
}
