//! Why a stream ended, and what its sidecar is told.

use std::time::Duration;

use llmroute_protocol::notice::Reason;
use llmroute_protocol::{FromOperator, Notice, from_operator};
use tonic::Status;

use super::auth::Refusal;

/// Closed: each has a label and a goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The sidecar went away.
    Gone,
    /// Nothing was heard of it for too long.
    Silent,
    /// Its bytes were no frame.
    Malformed,
    /// It may not, or can't, be served.
    Refused(Refusal),
    /// Another process leads, or none does yet.
    NotLeader,
    /// A higher epoch was shown: this process takes over again, above it.
    HigherEpoch,
    /// A newer stream of the pod is there.
    Superseded,
    /// Its token has ended.
    TokenExpired,
    /// The server is about to end.
    Drain,
}

/// Each metric label of an end.
pub const LABELS: [&str; 9] = [
    "gone",
    "silent",
    "malformed",
    "refused",
    "not_leader",
    "higher_epoch",
    "superseded",
    "token_expired",
    "drain",
];

/// After a drain, sidecars come back over so many milliseconds each.
const SPREAD_MS_A_SESSION: u64 = 2;
const LONGEST_SPREAD_MS: u64 = 10_000;

// ---------------------------------------------------------------- impl End

impl End {
    /// The metric label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::Refused(_) => "refused",
            Self::NotLeader => "not_leader",
            Self::HigherEpoch => "higher_epoch",
            Self::Superseded => "superseded",
            Self::TokenExpired => "token_expired",
            Self::Drain => "drain",
        }
    }

    /// The last frames: a notice, and for a refusal the status too. `sessions`
    /// is how many are told the same.
    pub(super) fn goodbye(self, sessions: usize) -> Vec<Result<FromOperator, Status>> {
        let (reason, pause, message) = match self {
            Self::Gone | Self::Silent => return Vec::new(),
            Self::Malformed => return vec![Err(Status::invalid_argument("not a frame"))],
            Self::Refused(refusal) => {
                let text = refusal.to_string();
                let notice = notice(Reason::Refused, refusal.pause(), text);
                return vec![Ok(notice), Err(refusal.status())];
            }
            Self::NotLeader => (
                Reason::NotLeader,
                Duration::from_millis(500),
                "this replica doesn't lead",
            ),
            Self::HigherEpoch => (
                Reason::NotLeader,
                Duration::from_secs(1),
                "a higher epoch was shown: this leader takes over again, above it",
            ),
            Self::Superseded => (
                Reason::Superseded,
                Duration::from_secs(5),
                "a newer stream of this pod is open",
            ),
            Self::TokenExpired => (
                Reason::TokenExpired,
                Duration::from_millis(fastrand::u64(0..1000)),
                "the token has ended: connect with the renewed one",
            ),
            Self::Drain => (Reason::Drain, spread(sessions), "the operator ends"),
        };
        vec![Ok(notice(reason, pause, message.to_owned()))]
    }
}

/// A pause that lets so many sidecars come back one after the other.
fn spread(sessions: usize) -> Duration {
    let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
    let all = sessions.saturating_mul(SPREAD_MS_A_SESSION);
    let all = all.clamp(500, LONGEST_SPREAD_MS);
    Duration::from_millis(500 + fastrand::u64(0..all))
}

fn notice(reason: Reason, pause: Duration, message: String) -> FromOperator {
    FromOperator {
        frame: Some(from_operator::Frame::Notice(Notice {
            reason: reason.into(),
            reconnect_after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            message,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_label_in_the_list() {
        let ends = [
            End::Gone,
            End::Silent,
            End::Malformed,
            End::Refused(Refusal::Full),
            End::NotLeader,
            End::HigherEpoch,
            End::Superseded,
            End::TokenExpired,
            End::Drain,
        ];
        assert_eq!(ends.map(End::label), LABELS);
    }
}
