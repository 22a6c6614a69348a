//! The usual scene of a test: a namespace of the shared installation, with what
//! it applies, and one sidecar of a pod `app` with the label `app: shop`.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Namespace;
use crate::operator::Installation;
use crate::sidecar::Sidecar;

/// From a change to what follows from it, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A namespace and a sidecar.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The namespace.
    pub ns: Namespace<'a>,
    /// The sidecar of its pod `app`.
    pub sidecar: Sidecar,
}

// ---------------------------------------------------------------- impl Stage

impl Stage<'static> {
    /// In the shared installation.
    pub async fn shared(name: &str, manifests: &str) -> Result<Self> {
        Self::in_installation(Installation::shared().await, name, manifests).await
    }
}

impl<'a> Stage<'a> {
    /// In an installation of the test's own.
    pub async fn in_installation(
        installation: &Installation<'a>,
        name: &str,
        manifests: &str,
    ) -> Result<Self> {
        let ns = installation.cluster().namespace(name).await?;
        if !manifests.is_empty() {
            ns.apply(manifests).await?;
        }
        let sidecar = Sidecar::start(installation, &ns, "app", "shop").await?;
        let stage = Self { ns, sidecar };
        if manifests.contains("kind: LLMRoute") {
            stage.programmed().await?;
        }
        Ok(stage)
    }

    /// Applies, and waits until the sidecar uses it.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.ns.apply(manifests).await?;
        self.programmed().await
    }

    /// Waits until every route of the namespace is programmed at its present generation.
    pub async fn programmed(&self) -> Result<()> {
        let routes = self.ns.kubectl(&["get", "llmr", "-o", "name"]).await?;
        for route in routes.lines() {
            self.ns
                .wait_condition(route, "Programmed", "True", "Programmed", SOON)
                .await
                .map_err(|error| error.context(self.sidecar.tail()))?;
            // A Secret applied with its provider may be seen a moment later, and is pushed
            // then. A route that is meant to stay unready costs the test this wait.
            let ready = ["wait", "--for=condition=Ready", "--timeout=3s", route];
            self.ns.try_kubectl(&ready, "").await?;
        }
        Ok(())
    }
}
