//! One stream's part of the facts, gone with the stream.

use super::{
    Answer, Answered, Arc, BTreeMap, CredentialState, Facts, HashMap, Key, Kind, ObjectRef,
    PodConfig, PodFacts, Session, SessionId, State, Timestamp, Waiting,
};

/// Owned by the stream; dropping it forgets everything that was said on it.
pub(in crate::session) struct OpenFacts {
    facts: Facts,
    namespace: String,
    id: SessionId,
}

/// More credentials than any pod gets.
const MAX_CREDENTIALS: usize = 1024;
/// `namespace/name`, with room.
const MAX_NAME: usize = 512;

impl Facts {
    /// A sidecar was welcomed.
    pub(in crate::session) fn open(&self, pod: Arc<PodFacts>) -> OpenFacts {
        let namespace = pod.namespace.clone();
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        let session = Session {
            pod,
            config: Arc::default(),
            waiting: Waiting::Nothing,
            answers: HashMap::new(),
            credentials: BTreeMap::new(),
        };
        let of_namespace = state.sessions.entry(namespace.clone()).or_default();
        of_namespace.insert(id, session);
        drop(state);
        OpenFacts {
            facts: self.clone(),
            namespace,
            id,
        }
    }
}

// ---------------------------------------------------------------- impl OpenFacts

impl OpenFacts {
    /// What the API server says of the pod has changed.
    pub(in crate::session) fn pod(&self, pod: Arc<PodFacts>) {
        self.change(|state, session| {
            session.pod = pod;
            state.touch(&session.config);
        });
    }

    /// A push that leads to `config` went out, or can't go out at all.
    pub(in crate::session) fn waits(&self, config: Arc<PodConfig>, waiting: Waiting) {
        self.change(|state, session| {
            if session.config.routes != config.routes {
                state.touch(&session.config);
                state.touch(&config);
            }
            session
                .answers
                .retain(|key, _| config.resources.contains_key(key));
            let old = std::mem::replace(&mut session.config, config);
            session.waiting = waiting;
            state.touch_credentials(session, &old);
        });
    }

    /// The push that went out has waited for its answer for too long.
    pub(in crate::session) fn stale(&self) {
        self.change(|state, session| {
            session.waiting = Waiting::LateAck;
            state.touch(&session.config);
        });
    }

    /// The sidecar answered; `all` of what was sent, unless it is still behind.
    pub(in crate::session) fn answered(&self, answers: Vec<Answered>, at: Timestamp) {
        self.change(|state, session| {
            session.waiting = Waiting::Nothing;
            for Answered { resource, error } in answers {
                let kind = Kind::try_from(resource.kind).unwrap_or_default();
                let key = Key::new(kind, resource.name.clone());
                match kind {
                    Kind::Route => state.touched.routes.extend(ObjectRef::parse(&key.name)),
                    // Which of its routes need it isn't known here.
                    _ => state.touch(&session.config),
                }
                let answer = Answer {
                    version: resource.version.clone(),
                    error: error.map(Box::new),
                    at,
                };
                session.answers.insert(key, answer);
            }
        });
    }

    /// The sidecar tells how its calls with a credential went. It may say so
    /// before it is known which credentials it gets.
    pub(in crate::session) fn credential(&self, said: CredentialState) {
        self.change(|state, session| {
            let known = session.credentials.get(&said.provider);
            let room = known.is_some() || session.credentials.len() < MAX_CREDENTIALS;
            let sane = said.provider.len() <= MAX_NAME && said.hash8.len() <= MAX_NAME;
            if known == Some(&said) || !room || !sane {
                return;
            }
            let provider = ObjectRef::parse(&said.provider);
            state.touched.providers.extend(provider);
            session.credentials.insert(said.provider.clone(), said);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State, &mut Session)) {
        let mut state = self.facts.state();
        let state = &mut *state;
        // Taken out for the time of the change: no other part of the state names it.
        let of_namespace = state.sessions.get_mut(&self.namespace);
        let Some(mut session) = of_namespace.and_then(|all| all.remove(&self.id)) else {
            return;
        };
        change(state, &mut session);
        let of_namespace = state.sessions.entry(self.namespace.clone()).or_default();
        of_namespace.insert(self.id, session);
        self.facts.0.touched.notify_one();
    }
}

impl Drop for OpenFacts {
    fn drop(&mut self) {
        let mut state = self.facts.state();
        let state = &mut *state;
        let Some(all) = state.sessions.get_mut(&self.namespace) else {
            return;
        };
        let session = all.remove(&self.id);
        if all.is_empty() {
            state.sessions.remove(&self.namespace);
        }
        if let Some(session) = session {
            state.touch(&session.config);
            state.touch_credentials(&session, &PodConfig::default());
        }
        self.facts.0.touched.notify_one();
    }
}
