//! What the open sessions have said: who answered what to which version.
//!
//! Streams write, the status writer reads; it is told which statuses may read
//! differently and asks for those. Nothing is kept of a stream that ended: the
//! sidecar says it all again on its next one.

mod open;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use llmroute_protocol::{CredentialState, Key, Kind};
use tokio::sync::Notify;

pub(super) use open::OpenFacts;

use super::push::Answered;
use crate::controllers::{Built, CredentialFacts, Dataplane, PodConfig, Rejection};
use crate::world::{ObjectRef, PodFacts};

/// Shared by all streams and the status writer.
#[derive(Clone, Default)]
pub struct Facts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    touched: Notify,
}

/// Statuses that may read differently now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Their sidecars came, went or answered.
    pub routes: BTreeSet<ObjectRef>,
    /// Their credential was accepted or rejected somewhere.
    pub providers: BTreeSet<ObjectRef>,
}

type SessionId = u64;

#[derive(Default)]
struct State {
    last_id: SessionId,
    /// By the pod's namespace, as a route reaches no other.
    sessions: BTreeMap<String, BTreeMap<SessionId, Session>>,
    touched: Touched,
}

struct Session {
    pod: Arc<PodFacts>,
    /// What was last sent, in force or not.
    config: Arc<PodConfig>,
    waiting: Waiting,
    answers: HashMap<Key, Answer>,
    /// By the provider's name; what was said of one that it doesn't get doesn't count.
    credentials: BTreeMap<String, CredentialState>,
}

/// For what a session waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Everything sent was answered.
    Nothing,
    /// A push went out and has no answer yet.
    Ack,
    /// And it has none for too long.
    LateAck,
    /// No version of the protocol is common: nothing is pushed.
    NewerSidecar,
}

struct Answer {
    version: String,
    error: Option<Box<(String, String)>>,
    at: Timestamp,
}

/// How one sidecar stands to what a route needs.
enum Standing {
    Acked,
    Rejected(Vec<Rejection>),
    Pending,
    Stale,
}

// ---------------------------------------------------------------- impl Facts

impl Facts {
    /// Waits until statuses may read differently, and tells which. For one
    /// reader; cancelling loses nothing.
    pub async fn touched(&self) -> Touched {
        loop {
            let notified = self.0.touched.notified();
            let touched = std::mem::take(&mut self.state().touched);
            if touched != Touched::default() {
                return touched;
            }
            notified.await;
        }
    }

    /// The sidecars of a route, against what is built now.
    pub fn route(&self, built: &Built, route: &ObjectRef) -> Dataplane {
        let selects = |pod: &PodFacts| built.selects(route, pod);
        self.count(&route.namespace, &built.needs(route), selects)
    }

    pub(super) fn count(
        &self,
        namespace: &str,
        needs: &[(Key, String)],
        selects: impl Fn(&PodFacts) -> bool,
    ) -> Dataplane {
        let state = self.state();
        let sessions = state.sessions.get(namespace);
        let mut dataplane = Dataplane::default();
        for session in sessions.into_iter().flat_map(BTreeMap::values) {
            if session.pod.terminating || !selects(&session.pod) {
                continue;
            }
            dataplane.connected += 1;
            match session.standing(needs) {
                Standing::Acked => dataplane.acked += 1,
                Standing::Pending => {}
                Standing::Stale => dataplane.stale += 1,
                Standing::Rejected(why) => {
                    dataplane.rejected += 1;
                    dataplane.rejections.extend(why);
                }
            }
        }
        let samples = &mut dataplane.rejections;
        samples.sort_by(|a, b| (&a.pod, &a.path).cmp(&(&b.pod, &b.path)));
        samples.truncate(Dataplane::SAMPLES);
        dataplane
    }

    /// What sidecars learned of the credential with this hash.
    pub fn credential(&self, provider: &ObjectRef, hash8: &str) -> CredentialFacts {
        let key = Key::new(Kind::Credential, provider.to_string());
        let state = self.state();
        let sessions = state.sessions.values().flat_map(BTreeMap::values);
        let mut facts = CredentialFacts::default();
        for session in sessions.filter(|session| session.config.resources.contains_key(&key)) {
            let said = session.credentials.get(&key.name);
            let Some(said) = said.filter(|said| said.hash8 == hash8) else {
                continue;
            };
            facts.accepting += u32::from(said.accepted);
            facts.rejecting += u32::from(!said.accepted && said.rejected401 > 0);
            facts.rejected401 = facts.rejected401.saturating_add(said.rejected401);
        }
        facts
    }

    /// Streams that are open.
    pub fn sessions(&self) -> usize {
        self.state().sessions.values().map(BTreeMap::len).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---------------------------------------------------------------- impl Session

impl Session {
    fn standing(&self, needs: &[(Key, String)]) -> Standing {
        let answers = needs.iter().map(|(key, version)| {
            let answer = self.answers.get(key);
            (key, answer.filter(|answer| answer.version == *version))
        });
        let mut rejections = Vec::new();
        let mut unanswered = false;
        for (key, answer) in answers {
            match answer {
                None => unanswered = true,
                Some(Answer { error: None, .. }) => {}
                Some(Answer {
                    error: Some(why),
                    at,
                    ..
                }) => rejections.push(Rejection {
                    pod: self.pod.name.clone(),
                    resource: key.clone(),
                    path: why.0.clone(),
                    message: why.1.clone(),
                    at: *at,
                }),
            }
        }
        match (rejections.is_empty(), unanswered, self.waiting) {
            (false, _, _) => Standing::Rejected(rejections),
            (true, false, _) => Standing::Acked,
            (true, true, Waiting::LateAck | Waiting::NewerSidecar) => Standing::Stale,
            (true, true, Waiting::Ack | Waiting::Nothing) => Standing::Pending,
        }
    }
}

// ---------------------------------------------------------------- impl State

impl State {
    /// What was said of credentials that only `than` or only `config` has counts otherwise now.
    fn touch_credentials(&mut self, session: &Session, than: &PodConfig) {
        for provider in session.credentials.keys() {
            let key = Key::new(Kind::Credential, provider.clone());
            let had = than.resources.contains_key(&key);
            if had != session.config.resources.contains_key(&key) {
                self.touched.providers.extend(ObjectRef::parse(provider));
            }
        }
    }

    fn touch(&mut self, config: &PodConfig) {
        self.touched.routes.extend(config.routes.iter().cloned());
    }
}

#[cfg(test)]
mod tests;
