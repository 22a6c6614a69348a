//! What a sidecar holds when it has nothing to do: its session to a real
//! operator open, the quickstart applied, no call under way.
//!
//! ```sh
//! cargo build --release -p llmroute-sidecar && make build assets
//! LLMROUTE_SIDECAR=$PWD/target/release/llmroute-sidecar cargo run -p llmroute-tests --example idle-memory
//! ```

use llmroute_tests::assets;
use llmroute_tests::prelude::*;

/// Long enough for what start-up allocated to be given back.
const REST: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let stage = Stage::shared("idle", "").await?;
    for file in ["secret.yaml", "providers.yaml", "route.yaml"] {
        let path = assets::repository().join("examples/quickstart").join(file);
        stage.apply(&std::fs::read_to_string(path)?).await?;
    }
    tokio::time::sleep(REST).await;
    let connected = stage
        .sidecar
        .metric("llmroute_control_plane_connected", &[]);
    ensure!(connected.await? == 1, "{}", stage.sidecar.tail());
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.sidecar.pid()))?;
    for line in status
        .lines()
        .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM"))
    {
        report!("{line}");
    }
    Ok(())
}
