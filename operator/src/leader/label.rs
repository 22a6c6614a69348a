//! The label by which Service `llmroute-session` finds the leader.
//!
//! A new leader takes it from every other pod of its namespace before it wears
//! it, so the Service never selects two that both can reach the API server. It
//! touches no other label and no pod elsewhere.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};

use crate::kubernetes::{CallError, call, is_not_found};

/// Worn by the leading operator pod and no other.
pub const LEADER_LABEL: &str = "llmroute.dev/leader";

/// The label in one namespace, for one pod.
pub(super) struct LeaderLabel {
    pods: Api<Pod>,
    own: String,
}

impl LeaderLabel {
    pub(super) fn new(client: Client, namespace: &str, pod: &str) -> Self {
        Self {
            pods: Api::namespaced(client, namespace),
            own: pod.to_owned(),
        }
    }

    /// Removes it from the others, then wears it. Repeating changes nothing.
    pub(super) async fn take(&self) -> Result<(), CallError> {
        let selector = format!("{LEADER_LABEL}=true");
        let wearers = call(
            self.pods
                .list_metadata(&ListParams::default().labels(&selector)),
        )
        .await?;
        let mut worn = false;
        for pod in wearers {
            if pod.name_any() == self.own {
                worn = true;
                continue;
            }
            self.set(&pod.name_any(), serde_json::Value::Null).await?;
        }
        if !worn {
            self.set(&self.own, "true".into()).await?;
        }
        Ok(())
    }

    /// Takes it off our own pod: a leader that ends is found no more.
    pub(super) async fn drop_own(&self) -> Result<(), CallError> {
        self.set(&self.own, serde_json::Value::Null).await
    }

    async fn set(&self, pod: &str, value: serde_json::Value) -> Result<(), CallError> {
        let mut labels = serde_json::Map::new();
        labels.insert(LEADER_LABEL.to_owned(), value);
        let patch = Patch::Merge(serde_json::json!({ "metadata": { "labels": labels } }));
        let params = PatchParams::default();
        match call(self.pods.patch_metadata(pod, &params, &patch)).await {
            Ok(_) => Ok(()),
            // A pod that has gone wears nothing.
            Err(error) if is_not_found(&error) => {
                tracing::warn!(pod, "no such pod to label");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
