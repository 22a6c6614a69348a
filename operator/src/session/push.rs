//! What is sent next, and what an answer means: pure, without a clock or a stream.
//!
//! At most one push is unanswered; what changes meanwhile coalesces into the
//! next one. What was sent once isn't sent again, whatever was answered: the
//! same bytes would get the same answer.

mod delta;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use llmroute_protocol::{Ack, FromOperator, Held, Outcome, Resource};
use tokio::time::Instant;

use super::limits::{MAX_MESSAGE, MAX_PATH};
use super::schema::{Fitted, Schema};
use crate::controllers::PodConfig;

/// The pushing side of one stream.
pub(super) struct Push {
    epoch: u64,
    schema: Schema,
    seq: u64,
    /// What the sidecar was told to have, as it was built.
    sent: Arc<PodConfig>,
    unanswered: Option<Unanswered>,
}

struct Unanswered {
    seq: u64,
    since: Instant,
    resources: Vec<Sent>,
}

/// A resource of a push.
struct Sent {
    /// As it was built.
    built: Arc<Resource>,
    /// As it was sent, where that differs.
    fitted: Option<Arc<Resource>>,
}

/// The frames of one push.
pub(super) struct Pushed {
    pub(super) frames: Vec<FromOperator>,
    /// What the sidecar has once it took them.
    pub(super) config: Arc<PodConfig>,
    /// Bytes of bodies.
    pub(super) bytes: usize,
    /// The metric label.
    pub(super) kind: &'static str,
}

/// A push has its answer.
pub(super) struct Acked {
    pub(super) since: Instant,
    pub(super) answers: Vec<Answered>,
    /// Results, by outcome: ok, warn, error.
    pub(super) outcomes: [u64; 3],
}

/// What a sidecar made of one resource.
pub(super) struct Answered {
    /// As it was built.
    pub(super) resource: Arc<Resource>,
    /// Path and message, if it wasn't applied.
    pub(super) error: Option<(String, String)>,
}

// ---------------------------------------------------------------- impl Push

impl Push {
    /// Nothing was sent yet.
    pub(super) fn new(epoch: u64, schema: Schema) -> Self {
        Self {
            epoch,
            schema,
            seq: 0,
            sent: Arc::default(),
            unanswered: None,
        }
    }

    /// The next push that leads to `wanted`: a snapshot first, of what isn't in
    /// `held`, deltas then. `None` when there is nothing to say, or an answer is due.
    pub(super) fn next(
        &mut self,
        wanted: &Arc<PodConfig>,
        held: &[Held],
        now: Instant,
    ) -> Option<Pushed> {
        if self.unanswered.is_some() || (self.seq > 0 && Arc::ptr_eq(wanted, &self.sent)) {
            return None;
        }
        let (pushed, resources) = if self.seq == 0 {
            self.snapshot(wanted, held)
        } else {
            self.delta(wanted)?
        };
        self.seq += 1;
        self.sent = pushed.config.clone();
        self.unanswered = Some(Unanswered {
            seq: self.seq,
            since: now,
            resources,
        });
        Some(pushed)
    }

    /// Takes an answer; `None` for one to anything but the unanswered push.
    ///
    /// A resource that isn't mentioned was taken with the rest. A result for
    /// another version than was sent answers nothing.
    pub(super) fn ack(&mut self, ack: &Ack) -> Option<Acked> {
        let answers_it = |push: &mut Unanswered| ack.epoch == self.epoch && ack.seq == push.seq;
        let Unanswered {
            since, resources, ..
        } = self.unanswered.take_if(answers_it)?;
        let results: HashMap<_, _> = ack
            .results
            .iter()
            .map(|result| ((result.kind, result.name.as_str()), result))
            .collect();
        let mut outcomes = [0; 3];
        let mut answers = Vec::with_capacity(resources.len());
        for sent in resources {
            let wire = sent.wire();
            let result = results.get(&(wire.kind, wire.name.as_str()));
            let error = match result {
                None => None,
                Some(r) if !r.version.is_empty() && r.version != wire.version => continue,
                Some(r) => match r.outcome() {
                    Outcome::Unspecified => continue,
                    Outcome::Ok => None,
                    Outcome::Warn => {
                        outcomes[1] += 1;
                        None
                    }
                    Outcome::Error => Some((cut(&r.path, MAX_PATH), cut(&r.message, MAX_MESSAGE))),
                },
            };
            outcomes[if error.is_some() { 2 } else { 0 }] += 1;
            answers.push(Answered {
                resource: sent.built,
                error,
            });
        }
        // A warning was taken, too; it is counted once.
        outcomes[0] -= outcomes[1];
        Some(Acked {
            since,
            answers,
            outcomes,
        })
    }

    /// A resource as this sidecar can read it; `None` if it can't.
    fn fit(&self, built: &Arc<Resource>) -> Option<Sent> {
        let fitted = match self.schema.fit(built) {
            Fitted::Whole => None,
            Fitted::Stripped(fitted) => Some(fitted),
            Fitted::Withheld => return None,
        };
        Some(Sent {
            built: built.clone(),
            fitted,
        })
    }

    /// `set_hash` of what the sidecar then has.
    fn hash(&self, config: &PodConfig) -> Bytes {
        let fits: Vec<_> = config
            .resources
            .iter()
            .map(|(key, built)| (key, self.schema.fit(built)))
            .collect();
        if fits.iter().all(|(_, fit)| *fit == Fitted::Whole) && !config.hash.is_empty() {
            return config.hash.clone();
        }
        let versions = fits.iter().filter_map(|(key, fit)| match fit {
            Fitted::Whole => Some((*key, config.resources[*key].version.as_str())),
            Fitted::Stripped(fitted) => Some((*key, fitted.version.as_str())),
            Fitted::Withheld => None,
        });
        llmroute_protocol::set_hash(versions)
    }
}

// ---------------------------------------------------------------- impl Sent

impl Sent {
    fn wire(&self) -> &Resource {
        self.fitted.as_ref().unwrap_or(&self.built)
    }

    /// Its share of a frame, about: names are short.
    fn size(&self) -> usize {
        let wire = self.wire();
        wire.body.len() + wire.name.len() + 64
    }
}

/// The beginning of what a sidecar wrote: it ends up in a status.
fn cut(text: &str, bytes: usize) -> String {
    let text = text.replace(char::is_control, " ");
    let end = text.floor_char_boundary(bytes);
    text[..end].to_owned()
}
