//! What is known of a pod, all of it from the API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Labels, ObjectRef};

/// On a pod that carries our sidecar, with the value `true`.
pub const INJECTED_LABEL: &str = "llmroute.dev/injected";

/// The identity of the workload behind a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Where it runs: only routes of this namespace reach it.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Of this life of the name.
    pub uid: String,
    /// What a route's `workloadSelector` sees.
    pub labels: Labels,
    /// Not part of the metadata: known once a token was reviewed.
    pub service_account: Option<String>,
    /// `<Kind>/<name>` of the controlling owner.
    pub workload: String,
    /// Still reports, but no longer counts.
    pub terminating: bool,
    /// Carries our sidecar.
    pub injected: bool,
}

// ----------------------------------------------------------- impl PodFacts

impl PodFacts {
    /// From a watch of metadata; `None` without a name, which no API server sends.
    pub fn from_metadata(metadata: &ObjectMeta) -> Option<Self> {
        let name = metadata.name.clone()?;
        let labels = metadata.labels.clone().unwrap_or_default();
        Some(Self {
            namespace: metadata.namespace.clone()?,
            uid: metadata.uid.clone().unwrap_or_default(),
            service_account: None,
            workload: workload_of(metadata),
            terminating: metadata.deletion_timestamp.is_some(),
            injected: labels.get(INJECTED_LABEL).is_some_and(|v| v == "true"),
            name,
            labels,
        })
    }

    /// Which pod.
    pub fn id(&self) -> ObjectRef {
        ObjectRef::new(&self.namespace, &self.name)
    }
}

/// `<Kind>/<name>` of the controlling owner: a `ReplicaSet` loses its
/// pod-template-hash and is its Deployment, a Job of a `CronJob` loses its time
/// and is that; without an owner it is `Pod/<name>`.
pub fn workload_of(metadata: &ObjectMeta) -> String {
    let owner = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let Some(owner) = owner else {
        return format!("Pod/{}", metadata.name.as_deref().unwrap_or_default());
    };
    let labels = metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get("pod-template-hash"));
    let (kind, name) = (owner.kind.as_str(), owner.name.as_str());
    let deployment = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    match (kind, deployment, name.rsplit_once('-')) {
        ("ReplicaSet", Some(deployment), _) => format!("Deployment/{deployment}"),
        ("Job", _, Some((cron, minutes))) if is_cron_suffix(minutes) => format!("CronJob/{cron}"),
        _ => format!("{kind}/{name}"),
    }
}

/// Minutes since 1970: what the `CronJob` controller appends.
fn is_cron_suffix(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn owned(kind: &str, name: &str, hash: Option<&str>) -> String {
        workload_of(&ObjectMeta {
            name: Some("the-pod".into()),
            labels: hash.map(|hash| Labels::from([("pod-template-hash".into(), hash.into())])),
            owner_references: Some(vec![OwnerReference {
                kind: kind.into(),
                name: name.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        })
    }

    #[test]
    fn a_replica_set_is_its_deployment() {
        let hash = Some("6d4b75cb6d");
        assert_eq!(
            owned("ReplicaSet", "chat-6d4b75cb6d", hash),
            "Deployment/chat"
        );
        assert_eq!(owned("ReplicaSet", "bare", hash), "ReplicaSet/bare");
    }

    #[test]
    fn a_job_of_a_cron_job_is_that_cron_job() {
        assert_eq!(owned("Job", "nightly-29341440", None), "CronJob/nightly");
        assert_eq!(owned("Job", "migrate-v2", None), "Job/migrate-v2");
    }

    #[test]
    fn other_owners_keep_their_name_and_an_orphan_is_a_pod() {
        assert_eq!(owned("StatefulSet", "db", None), "StatefulSet/db");
        let orphan = ObjectMeta {
            name: Some("alone".into()),
            ..ObjectMeta::default()
        };
        assert_eq!(workload_of(&orphan), "Pod/alone");
    }
}
