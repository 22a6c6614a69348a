//! The channel between operator and sidecar, in the place of a stream: a push
//! goes down and is answered at once, what the sidecar learns of credentials
//! comes up by itself.

use std::sync::Arc;

use llmroute_operator::controllers::PodConfig;
use llmroute_sidecar::table::{Change, Config, Outcome};
use tokio::sync::{mpsc, oneshot};

/// The operator's end.
pub(super) struct OperatorEnd {
    pushes: mpsc::Sender<Push>,
    news: mpsc::Receiver<Vec<CredentialNews>>,
}

/// The sidecar's end.
pub(super) struct SidecarEnd {
    pushes: mpsc::Receiver<Push>,
    news: mpsc::Sender<Vec<CredentialNews>>,
}

struct Push {
    config: Arc<PodConfig>,
    answer: oneshot::Sender<Vec<Answer>>,
}

/// What the sidecar said of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// As on the wire.
    pub(super) kind: i32,
    pub(super) name: String,
    pub(super) version: String,
    /// Path and message, where it refused.
    pub(super) error: Option<(String, String)>,
}

/// What a provider said to the credential of this hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CredentialNews {
    /// `namespace/name` of the provider.
    pub(super) provider: String,
    pub(super) hash8: String,
    pub(super) rejected401: u64,
    pub(super) accepted: bool,
}

/// Both ends.
pub(super) fn link() -> (OperatorEnd, SidecarEnd) {
    let (push, pushes) = mpsc::channel(1);
    let (tell, news) = mpsc::channel(1);
    (
        OperatorEnd { pushes: push, news },
        SidecarEnd { pushes, news: tell },
    )
}

// --------------------------------------------------------- impl OperatorEnd

impl OperatorEnd {
    /// Everything that the pod needs; `None` where the sidecar is gone.
    pub(super) async fn push(&self, config: Arc<PodConfig>) -> Option<Vec<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.pushes.send(Push { config, answer }).await.ok()?;
        answered.await.ok()
    }

    /// What was learned of credentials since; `None` where the sidecar is gone.
    pub(super) async fn news(&mut self) -> Option<Vec<CredentialNews>> {
        self.news.recv().await
    }
}

// ---------------------------------------------------------- impl SidecarEnd

impl SidecarEnd {
    /// Applies what is pushed until the operator is gone.
    pub(super) async fn follow(mut self, config: Config) {
        let mut news = config.credential_news();
        loop {
            tokio::select! {
                push = self.pushes.recv() => match push {
                    Some(Push { config: pushed, answer }) => {
                        // Nobody may wait any more: the operator's end is going.
                        let _ = answer.send(apply(&config, &pushed));
                    }
                    None => return,
                },
                changed = news.changed() => {
                    if changed.is_err() || self.news.send(credentials(&config)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn apply(config: &Config, pushed: &PodConfig) -> Vec<Answer> {
    let resources = pushed
        .resources
        .values()
        .map(|resource| (**resource).clone())
        .collect();
    let results = config.apply(Change::Snapshot {
        resources,
        unchanged: Vec::new(),
    });
    let answers = results.into_iter().map(|result| Answer {
        kind: result.kind,
        error: (result.outcome() == Outcome::Error).then_some((result.path, result.message)),
        name: result.name,
        version: result.version,
    });
    answers.collect()
}

fn credentials(config: &Config) -> Vec<CredentialNews> {
    let states = config
        .credential_states()
        .into_iter()
        .map(|state| CredentialNews {
            provider: state.provider,
            hash8: state.hash8,
            rejected401: state.rejected401,
            accepted: state.accepted,
        });
    states.collect()
}
