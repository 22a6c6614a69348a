//! Whose stream it is: a token, the API server's word on it, and its pod.
//!
//! Everything that is known of a client comes from the API server; of the token
//! itself only the end of its life is read here, after it was reviewed. A
//! positive review is remembered by the token's hash for a minute, a negative
//! one never. The pod is looked at each time.

mod cache;
mod pace;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

pub use refusal::Refusal;

use super::limits::Limits;
use super::lookup::PodLookup;
use super::view::Published;
use crate::metrics::Metrics;
use crate::world::{ObjectRef, PodFacts};
use cache::Cache;
use pace::Pace;

/// What the API server says of a token that is good and ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Of the service account.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
    /// Name and UID of the pod that the token is bound to; `None` for one that isn't.
    pub pod: Option<(String, String)>,
}

/// Asks somebody who knows whose token it is.
pub trait Reviewer: Send + Sync + 'static {
    /// One review; it ends within seconds.
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Reviewed, Refusal>>;
}

/// A client whose word need not be taken for anything.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) pod: Arc<PodFacts>,
    /// A stream lives no longer.
    pub(super) ends: Instant,
}

pub(super) struct Authenticator {
    reviewer: Arc<dyn Reviewer>,
    pods: Arc<dyn PodLookup>,
    clock: fn() -> Timestamp,
    cache: Cache,
    cached_for: Duration,
    pace: Pace,
    metrics: Metrics,
}

/// A longer one isn't a token of an API server; request heads are bounded as well.
const MAX_TOKEN: usize = 12 * 1024;
/// For a token whose end can't be read: as kubelets project ours.
const DEFAULT_LIFE: Duration = Duration::from_hours(1);
/// However clocks differ, a stream that was just let in lives so long.
const LEAST_LIFE: Duration = Duration::from_secs(10);
/// A review that would have to wait longer is refused.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// The token of a request.
pub(super) fn bearer(metadata: &MetadataMap) -> Result<Box<str>, Refusal> {
    let header = metadata.get("authorization").ok_or(Refusal::NoToken)?;
    let text = header.to_str().map_err(|_| Refusal::NoToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(Refusal::NoToken)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_TOKEN {
        return Err(Refusal::NoToken);
    }
    Ok(token.into())
}

// ---------------------------------------------------------------- impl Authenticator

impl Authenticator {
    pub(super) fn new(
        reviewer: Arc<dyn Reviewer>,
        pods: Arc<dyn PodLookup>,
        clock: fn() -> Timestamp,
        metrics: Metrics,
        limits: &Limits,
    ) -> Self {
        Self {
            reviewer,
            pods,
            clock,
            cache: Cache::default(),
            cached_for: limits.review_cache,
            pace: Pace::new(limits.reviews_per_second, LONGEST_WAIT),
            metrics,
        }
    }

    /// Where pods are asked for that no watch shows.
    pub(super) fn pods(&self) -> Arc<dyn PodLookup> {
        self.pods.clone()
    }

    /// Whose token it is, and when a stream under it ends.
    pub(super) async fn owner(&self, token: &str) -> Result<(Arc<Reviewed>, Instant), Refusal> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        match self.cache.get(&hash) {
            Some(known) => Ok(known),
            None => self.review(token, hash).await,
        }
    }

    /// The owner's pod, as of now.
    pub(super) async fn prove(
        &self,
        reviewed: &Reviewed,
        ends: Instant,
        view: &Published,
    ) -> Result<Proven, Refusal> {
        let (name, uid) = reviewed.pod.as_ref().ok_or(Refusal::NotBound)?;
        let id = ObjectRef::new(&reviewed.namespace, name);
        let known = view.borrow().as_ref().and_then(|view| view.pod(&id));
        let pod = match known.filter(|pod| pod.uid == *uid) {
            Some(pod) => pod,
            // The watch may be behind, or not cover the pod.
            None => self.look_up(&id, uid).await?,
        };
        let pod = Arc::new(PodFacts {
            service_account: Some(reviewed.service_account.clone()),
            ..PodFacts::clone(&pod)
        });
        Ok(Proven { pod, ends })
    }

    async fn review(
        &self,
        token: &str,
        hash: [u8; 32],
    ) -> Result<(Arc<Reviewed>, Instant), Refusal> {
        self.pace
            .turn()
            .await
            .map_err(|_| Refusal::TooManyReviews)?;
        let answer = self.reviewer.review(token).await;
        let outcome = match &answer {
            Ok(_) => "authenticated",
            Err(refusal) if refusal.is_ours() => "error",
            Err(_) => "denied",
        };
        self.metrics
            .token_reviews
            .with_label_values(&[outcome])
            .inc();
        let reviewed = Arc::new(answer?);
        let now = Instant::now();
        let life = life(token, (self.clock)()).unwrap_or(DEFAULT_LIFE);
        let ends = now + life.max(LEAST_LIFE);
        let remembered_until = now + self.cached_for.min(life);
        self.cache
            .put(hash, reviewed.clone(), ends, remembered_until);
        Ok((reviewed, ends))
    }

    async fn look_up(&self, id: &ObjectRef, uid: &str) -> Result<Arc<PodFacts>, Refusal> {
        match self.pods.get(id).await {
            Ok(Some(pod)) if pod.uid == uid => Ok(pod),
            Ok(Some(_)) => Err(Refusal::PodReplaced),
            Ok(None) => Err(Refusal::PodGone),
            Err(error) => {
                tracing::warn!(pod = %id, %error, "pod not read");
                Err(Refusal::Unavailable)
            }
        }
    }
}

/// What is left of the life of a reviewed JWT.
fn life(token: &str, now: Timestamp) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: i64,
    }
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let Claims { exp } = serde_json::from_slice(&payload).ok()?;
    let left = exp.saturating_sub(now.as_second());
    // A day is longer than any token of ours: whatever is said, it ends.
    Some(Duration::from_secs(
        u64::try_from(left).unwrap_or(0).min(86_400),
    ))
}
