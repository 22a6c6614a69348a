//! A namespace of a test's own, and the things that a test makes in it.
//!
//! Nobody deletes it: no controller would finish the deletion, and the cluster
//! ends with the tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Cluster, Said};
use crate::wait::eventually;

/// A namespace in a cluster.
#[derive(Clone, Debug)]
pub struct Namespace<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// What it is called.
    pub name: String,
}

// ---------------------------------------------------------------- impl Cluster

impl Cluster {
    /// A new namespace whose name begins with `prefix`, with the service account `default`.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace<'_>> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.named_namespace(&name).await
    }

    /// The namespace `name`, with the service account `default`.
    pub async fn named_namespace(&self, name: &str) -> Result<Namespace<'_>> {
        let namespace = Namespace {
            cluster: self,
            name: name.to_owned(),
        };
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}
        }))
        .await?;
        // There is no controller to make it.
        namespace.service_account("default").await?;
        Ok(namespace)
    }

    /// `kubectl apply` of one object.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.try_kubectl(["apply", "-f", "-"], &object.to_string())
            .await?
            .expect_ok()?;
        Ok(())
    }
}

// ---------------------------------------------------------------- impl Namespace

impl Namespace<'_> {
    /// Runs `kubectl -n <this>`; it must succeed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.try_kubectl(args, "").await?.expect_ok()
    }

    /// Runs `kubectl -n <this>` with `input`, whatever comes of it.
    pub async fn try_kubectl(&self, args: &[&str], input: &str) -> Result<Said> {
        let args = ["-n", &self.name].into_iter().chain(args.iter().copied());
        self.cluster.try_kubectl(args, input).await
    }

    /// `kubectl apply` of manifests in YAML.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.try_apply(yaml).await?.expect_ok()
    }

    /// `kubectl apply` of manifests in YAML, whatever comes of it.
    pub async fn try_apply(&self, yaml: &str) -> Result<Said> {
        self.try_kubectl(&["apply", "-f", "-"], yaml).await
    }

    /// A service account.
    pub async fn service_account(&self, name: &str) -> Result<()> {
        self.cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": self.name}
            }))
            .await
    }

    /// An injected pod that never runs, with the label `app`.
    pub async fn pod(&self, name: &str, app: &str) -> Result<()> {
        self.cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": name, "namespace": self.name,
                    "labels": {"app": app, "llmroute.dev/injected": "true"}
                },
                "spec": {
                    "serviceAccountName": "default",
                    "containers": [{"name": "app", "image": "none"}]
                }
            }))
            .await
    }

    /// A token of `default` for our audience, bound to `pod`, by the command of the docs.
    pub async fn token(&self, pod: &str) -> Result<String> {
        let bound = [
            "--audience",
            "llmroute.dev",
            "--bound-object-kind",
            "Pod",
            "--bound-object-name",
            pod,
        ];
        self.token_with(&bound).await
    }

    /// A token of `default` with these arguments.
    pub async fn token_with(&self, args: &[&str]) -> Result<String> {
        let args: Vec<_> = ["create", "token", "default"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        Ok(self.kubectl(&args).await?.trim().to_owned())
    }

    /// A Secret with the key `api-key`, labelled for the operator.
    pub async fn secret(&self, name: &str, key: &str) -> Result<()> {
        self.secret_with(name, key, &json!({"llmroute.dev/credential": "true"}))
            .await
    }

    /// A Secret with the key `api-key` and these labels.
    pub async fn secret_with(&self, name: &str, key: &str, labels: &Value) -> Result<()> {
        self.cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": self.name, "labels": labels},
                "stringData": {"api-key": key}
            }))
            .await
    }

    /// The object as it is.
    pub async fn get(&self, what: &str) -> Result<Value> {
        let text = self.kubectl(&["get", what, "-o", "json"]).await?;
        serde_json::from_str(&text).context("kubectl's JSON")
    }

    /// The condition `kind` of `what`.
    pub async fn condition(&self, what: &str, kind: &str) -> Result<Value> {
        condition(&self.get(what).await?, kind)
    }

    /// Waits until condition `kind` of `what` has `status` and `reason` at the present generation.
    pub async fn wait_condition(
        &self,
        what: &str,
        kind: &str,
        status: &str,
        reason: &str,
        cap: Duration,
    ) -> Result<Value> {
        let waited = format!("{what} {kind}={status}/{reason} in {}", self.name);
        eventually(&waited, cap, async || {
            let object = self.get(what).await?;
            let found = condition(&object, kind)?;
            ensure!(
                found["status"] == status
                    && found["reason"] == reason
                    && found["observedGeneration"] == object["metadata"]["generation"],
                "generation {}: {found}",
                object["metadata"]["generation"]
            );
            Ok(found)
        })
        .await
    }

    /// `kubectl wait --for=condition=…`, as the docs have it.
    pub async fn wait_for(&self, what: &str, kind: &str) -> Result<()> {
        let condition = format!("--for=condition={kind}");
        let said = self
            .try_kubectl(&["wait", &condition, what, "--timeout=30s"], "")
            .await?;
        if said.ok {
            return Ok(());
        }
        let object = self.get(what).await?;
        bail!("{}{:#}", said.err, object["status"])
    }
}

fn condition(object: &Value, kind: &str) -> Result<Value> {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == kind)
        .cloned()
        .with_context(|| format!("no condition {kind} in {:#}", object["status"]))
}
