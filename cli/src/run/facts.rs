//! What the one sidecar has said, as the operator's statuses count it.

use std::collections::HashMap;

use jiff::Timestamp;
use llmroute_operator::{
    controllers::{Built, CredentialFacts, Dataplane, Rejection},
    world::{ObjectRef, PodFacts},
};

use super::link::{Answer, CredentialNews};

/// Answers and news of the one sidecar.
#[derive(Default)]
pub(super) struct Facts {
    answers: HashMap<(i32, String), (Answer, Timestamp)>,
    credentials: HashMap<String, CredentialNews>,
}

// --------------------------------------------------------------- impl Facts

impl Facts {
    /// The answers to a push of everything: older ones are void.
    pub(super) fn answered(&mut self, answers: Vec<Answer>, now: Timestamp) {
        let keyed = answers.into_iter().map(|answer| {
            let key = (answer.kind, answer.name.clone());
            (key, (answer, now))
        });
        self.answers = keyed.collect();
    }

    pub(super) fn learned(&mut self, news: Vec<CredentialNews>) {
        self.credentials = news
            .into_iter()
            .map(|news| (news.provider.clone(), news))
            .collect();
    }

    /// The sidecar of a route, if the route selects it: one or none.
    pub(super) fn route(&self, built: &Built, pod: &PodFacts, route: &ObjectRef) -> Dataplane {
        if !built.selects(route, pod) {
            return Dataplane::default();
        }
        let mut dataplane = Dataplane {
            connected: 1,
            ..Dataplane::default()
        };
        let needs = built.needs(route);
        let mut acked = !needs.is_empty();
        for (key, version) in needs {
            let answer = self.answers.get(&(key.kind.into(), key.name.clone()));
            let Some((answer, at)) = answer.filter(|(answer, _)| answer.version == version) else {
                acked = false;
                continue;
            };
            if let Some((path, message)) = &answer.error {
                dataplane.rejected = 1;
                dataplane.rejections.push(Rejection {
                    pod: pod.name.clone(),
                    resource: key,
                    path: path.clone(),
                    message: message.clone(),
                    at: *at,
                });
            }
        }
        dataplane.acked = u32::from(acked && dataplane.rejected == 0);
        dataplane
    }

    /// What is known of a provider's credential, if it is the one of `hash8`.
    pub(super) fn credential(&self, provider: &ObjectRef, hash8: Option<&str>) -> CredentialFacts {
        let news = self.credentials.get(&provider.to_string());
        let Some(news) = news.filter(|news| Some(news.hash8.as_str()) == hash8) else {
            return CredentialFacts::default();
        };
        let rejecting = news.rejected401 > 0 && !news.accepted;
        CredentialFacts {
            rejecting: u32::from(rejecting),
            accepting: u32::from(news.accepted),
            rejected401: news.rejected401,
        }
    }
}
