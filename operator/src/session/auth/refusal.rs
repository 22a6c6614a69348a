//! Why a stream isn't served, in the words that the sidecar's log will show.

use std::time::Duration;

use tonic::{Code, Status};

/// Closed: each has a label, a text, a status and a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that looks like one.
    #[error("no token: send `authorization: Bearer` with a token of audience llmroute.dev")]
    NoToken,
    /// Forged, mangled, or of another cluster.
    #[error("the API server doesn't know the token: it is forged, mangled or of another cluster")]
    NotAuthenticated,
    /// Good once.
    #[error("the token has expired: the file that it is read from isn't renewed")]
    Expired,
    /// A good token, but not for us.
    #[error("the token is for another audience: ask for one with the audience llmroute.dev")]
    WrongAudience,
    /// A good token of a user or a service account, but of no pod.
    #[error(
        "the token isn't bound to a pod: bind it (--bound-object-kind Pod), or project it into one"
    )]
    NotBound,
    /// Deleted, or its service account is.
    #[error("the pod that the token is bound to, or its service account, is deleted")]
    PodGone,
    /// There is a pod of the name, but it is another one.
    #[error("the pod that the token is bound to is deleted; another pod has its name")]
    PodReplaced,
    /// The API server can't be asked. The token may well be good.
    #[error("the API server can't be asked about the token: nothing is wrong with it, try again")]
    Unavailable,
    /// The API server lets us ask nothing.
    #[error("the operator isn't allowed to review tokens: apply its RBAC manifest")]
    NotAllowed,
    /// Too many at once.
    #[error("too many sidecars connect at once: nothing is wrong with the token, try again")]
    TooManyReviews,
    /// Too many in all.
    #[error("this operator holds as many sessions as it may")]
    Full,
    /// The client's first frame wasn't a Hello, or none came.
    #[error("no hello came in time")]
    NoHello,
    /// The client shows an epoch that no leader ever wrote.
    #[error("the hello shows an epoch that no leader can have had: clear the sidecar's state")]
    WrongEpoch,
}

// ---------------------------------------------------------------- impl Refusal

impl Refusal {
    /// Each of them, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::NoToken,
        Self::NotAuthenticated,
        Self::Expired,
        Self::WrongAudience,
        Self::NotBound,
        Self::PodGone,
        Self::PodReplaced,
        Self::Unavailable,
        Self::NotAllowed,
        Self::TooManyReviews,
        Self::Full,
        Self::NoHello,
        Self::WrongEpoch,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::NotAuthenticated => "not_authenticated",
            Self::Expired => "expired",
            Self::WrongAudience => "wrong_audience",
            Self::NotBound => "not_bound",
            Self::PodGone => "pod_gone",
            Self::PodReplaced => "pod_replaced",
            Self::Unavailable => "review_unavailable",
            Self::NotAllowed => "review_not_allowed",
            Self::TooManyReviews => "too_many_reviews",
            Self::Full => "too_many_sessions",
            Self::NoHello => "no_hello",
            Self::WrongEpoch => "wrong_epoch",
        }
    }

    /// Whether it is no fault of the client's credential.
    pub fn is_ours(self) -> bool {
        match self {
            Self::Unavailable | Self::NotAllowed | Self::TooManyReviews | Self::Full => true,
            Self::NoToken
            | Self::NotAuthenticated
            | Self::Expired
            | Self::WrongAudience
            | Self::NotBound
            | Self::PodGone
            | Self::PodReplaced
            | Self::NoHello
            | Self::WrongEpoch => false,
        }
    }

    /// How soon another try may end otherwise. The sidecar adds its jitter.
    pub(in crate::session) fn pause(self) -> Duration {
        match self {
            // The file is renewed by the kubelet at any time.
            Self::NoToken | Self::NotAuthenticated | Self::Expired | Self::NoHello => {
                Duration::from_secs(5)
            }
            Self::Unavailable | Self::TooManyReviews => Duration::from_secs(2),
            Self::WrongAudience
            | Self::NotBound
            | Self::PodGone
            | Self::PodReplaced
            | Self::NotAllowed
            | Self::Full
            | Self::WrongEpoch => Duration::from_secs(15),
        }
    }

    /// How the call ends, for clients that don't read notices.
    pub(in crate::session) fn status(self) -> Status {
        let code = match self {
            Self::NoToken | Self::NotAuthenticated | Self::Expired | Self::WrongAudience => {
                Code::Unauthenticated
            }
            Self::NotBound | Self::PodGone | Self::PodReplaced => Code::PermissionDenied,
            Self::Unavailable | Self::NotAllowed => Code::Unavailable,
            Self::TooManyReviews | Self::Full => Code::ResourceExhausted,
            Self::NoHello => Code::DeadlineExceeded,
            Self::WrongEpoch => Code::InvalidArgument,
        };
        Status::new(code, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_is_complete_and_each_has_a_label_of_its_own() {
        for (n, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, n);
        }
        let labels = Refusal::ALL.map(Refusal::label);
        let distinct = std::collections::BTreeSet::from(labels);
        assert_eq!(distinct.len(), labels.len());
    }
}
