//! Keeps the Secret and the served leaf in step.
//!
//! Every replica watches the Secret and swaps what it serves; only the leader
//! writes it, with the resourceVersion that it read. The wall clock is looked
//! at each minute, so a suspended node or a clock that jumped is noticed soon.
//! It never writes any other Secret.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use super::serve::ServedLeaf;
use super::{CertError, Data, Material, Renewal, SECRET, renew};
use crate::admin::Readiness;
use crate::events::{Events, Note, Reason, Severity};
use crate::kubernetes::{CallError, call, is_conflict};
use crate::leader::Role;
use crate::metrics::Metrics;
use crate::watches::{Source, told};

/// Renewed at half its life; below this share somebody should look.
const LATE: f64 = 0.25;

const CHECKED_EVERY: Duration = Duration::from_mins(1);

/// The name of the readiness gate.
pub const GATE: &str = "certificates";

/// What the keeper works with.
pub struct CertKeeper {
    /// The API server.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// Names and addresses of the leaf.
    pub names: Vec<String>,
    /// Only the leader writes.
    pub role: watch::Receiver<Role>,
    /// What handshakes serve.
    pub leaf: ServedLeaf,
    /// The CA certificates that sidecars are told to trust, PEM; empty at first.
    pub trusted: watch::Sender<String>,
    /// Where the expiry is shown.
    pub metrics: Metrics,
    /// Where it is told that they aren't renewed.
    pub events: Events,
    /// Gate `certificates`.
    pub readiness: Readiness,
}

/// Why the Secret wasn't written.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Certificate(#[from] CertError),
    #[error(transparent)]
    Call(#[from] CallError),
}

// ---------------------------------------------------------------- impl CertKeeper

impl CertKeeper {
    /// Runs until dropped. Cancel safe: a write that was cut is seen by the watch.
    pub async fn run(mut self) {
        self.readiness.wait_for(GATE, "a leader that issues them");
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let stream = watcher::watch_object(api.clone(), SECRET).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut minute = tokio::time::interval(CHECKED_EVERY);
        let mut secret: Option<Option<Secret>> = None;
        loop {
            tokio::select! {
                seen = stream.next() => match seen {
                    Some(Ok(object)) => {
                        self.swap(object.as_ref());
                        secret = Some(object);
                    }
                    Some(Err(error)) => {
                        self.metrics.watch_errors.with_label_values(&["certificates"]).inc();
                        let error = told(Source::Secrets, &error);
                        tracing::warn!(error, "watch of the certificates failed");
                    }
                    None => return,
                },
                _ = minute.tick() => self.show_age(secret.as_ref()),
                // Without an election the process is about to end, and says why by itself.
                changed = self.role.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            }
            let holds = self.role.borrow().holds_lease();
            // Unknown is not absent: before the first list nothing is written.
            if let (true, Some(known)) = (holds, &secret)
                && let Err(error) = self.keep(&api, known.as_ref()).await
            {
                tracing::warn!(%error, "certificates not renewed");
            }
        }
    }

    async fn keep(&self, api: &Api<Secret>, known: Option<&Secret>) -> Result<(), KeepError> {
        let now = Timestamp::now();
        let Some((material, renewal)) = renew(&data(known), &self.names, now)? else {
            return Ok(());
        };
        let secret = self.secret(known, &material);
        let params = PostParams::default();
        let written = match known {
            None => call(api.create(&params, &secret)).await,
            Some(_) => call(api.replace(SECRET, &params, &secret)).await,
        };
        match written {
            Ok(_) => {}
            // Somebody else wrote: the watch brings what they wrote.
            Err(error) if is_conflict(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if renewal == Renewal::NewCa {
            let until = material.signer().not_after;
            tracing::warn!(%until, "a new CA was made: sidecars need its certificate");
        } else {
            let until = material.leaf().not_after;
            tracing::info!(?renewal, %until, "certificates renewed");
        }
        Ok(())
    }

    fn secret(&self, known: Option<&Secret>, material: &Material) -> Secret {
        let metadata = match known {
            Some(secret) => ObjectMeta {
                managed_fields: None,
                ..secret.metadata.clone()
            },
            None => ObjectMeta {
                name: Some(SECRET.to_owned()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
        };
        let data = material.to_data().into_iter();
        Secret {
            metadata,
            data: Some(data.map(|(k, v)| (k, ByteString(v))).collect()),
            ..Secret::default()
        }
    }

    fn swap(&self, secret: Option<&Secret>) {
        match Material::read(&data(secret)) {
            Ok(material) => {
                self.leaf.replace(&material);
                let pem = material.trusted_pem();
                self.trusted.send_if_modified(|old| {
                    let changed = *old != pem;
                    *old = pem;
                    changed
                });
                self.readiness.reached(GATE);
                self.show(&material);
            }
            // What is served goes on being served until its own end.
            Err(error) if secret.is_some() => {
                tracing::warn!(%error, "the certificates can't be read");
            }
            Err(_) => {}
        }
    }

    fn show_age(&self, secret: Option<&Option<Secret>>) {
        let data = data(secret.and_then(Option::as_ref));
        if let Ok(material) = Material::read(&data) {
            self.show(&material);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds, shown in a gauge")]
    fn show(&self, material: &Material) {
        let leaf = material.leaf();
        let life = leaf.not_before.duration_until(leaf.not_after).as_secs_f64();
        let left = Timestamp::now()
            .duration_until(leaf.not_after)
            .as_secs_f64();
        self.metrics
            .certificate_not_after
            .set(leaf.not_after.as_second() as f64);
        let share = (left / life).clamp(0.0, 1.0);
        self.metrics.certificate_left.set(share);
        if share < LATE && self.role.borrow().holds_lease() {
            self.tell_late(material);
        }
    }

    fn tell_late(&self, material: &Material) {
        let secret = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(SECRET.to_owned()),
            ..ObjectReference::default()
        };
        let until = material.leaf().not_after;
        let text = format!("the certificate of the session port ends at {until} and isn't renewed");
        let reason = Reason::CertificateLate;
        self.events
            .publish(Note::new(secret, Severity::Warning, reason, &text));
    }
}

fn data(secret: Option<&Secret>) -> Data {
    let data = secret.and_then(|s| s.data.as_ref());
    data.map(|d| d.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect())
        .unwrap_or_default()
}
