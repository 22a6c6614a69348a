//! From verdicts to conditions: the generation, and the time of the last flip.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use llmroute_crds::{Condition, condition, reason};

/// A message is cut here; the API server refuses one beyond 32 KiB.
const MAX_MESSAGE: usize = 1024;

/// A condition without its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) condition: &'static str,
    pub(super) status: Status,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    True,
    False,
    Unknown,
}

// ------------------------------------------------------------ impl Verdict

impl Verdict {
    pub(super) fn new(
        condition: &'static str,
        status: Status,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            condition,
            status,
            reason,
            message: message.into(),
        }
    }

    /// True, or what doesn't stand in the way of Ready: a route may come before its app.
    fn met(&self) -> bool {
        self.status == Status::True || self.reason == reason::NO_SIDECARS
    }
}

// ------------------------------------------------------------- impl Status

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The verdicts, and Ready as their sum.
pub(super) fn with_ready(mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let ready = match verdicts.iter().find(|verdict| !verdict.met()) {
        None => Verdict::new(condition::READY, Status::True, reason::READY, ""),
        Some(unmet) => {
            let Verdict {
                condition,
                status,
                reason,
                message,
            } = unmet;
            let message = format!("{condition} is {} ({reason}): {message}", status.text());
            Verdict::new(condition::READY, Status::False, reason::NOT_READY, message)
        }
    };
    verdicts.push(ready);
    verdicts
}

/// Conditions as they are to be written. `lastTransitionTime` stays while the
/// status of the condition does; the 1970 of the CRD's default never stays.
pub(super) fn settle(
    verdicts: Vec<Verdict>,
    previous: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let settled = verdicts.into_iter().map(|verdict| {
        let Verdict {
            condition,
            status,
            reason,
            message,
        } = verdict;
        let before = previous
            .iter()
            .find(|before| before.type_ == condition && before.status == status.text())
            .map(|before| before.last_transition_time.0)
            .filter(|since| *since > Timestamp::UNIX_EPOCH);
        Condition {
            type_: condition.to_owned(),
            status: status.text().to_owned(),
            reason: reason.to_owned(),
            message: cut(message),
            observed_generation: Some(generation),
            last_transition_time: Time(before.unwrap_or_else(|| whole_seconds(now))),
        }
    });
    settled.collect()
}

/// As it reads back from the API server.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - '…'.len_utf8())
            .rev()
            .find(|at| message.is_char_boundary(*at))
            .unwrap_or_default();
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn accepted(status: Status, reason: &'static str) -> Vec<Verdict> {
        vec![Verdict::new(condition::ACCEPTED, status, reason, "m")]
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let first = settle(accepted(Status::True, reason::ACCEPTED), &[], 1, at(100));
        assert_eq!(first[0].last_transition_time.0, at(100));
        let same = settle(accepted(Status::True, reason::READY), &first, 2, at(200));
        assert_eq!(
            same[0].last_transition_time.0,
            at(100),
            "only the reason changed"
        );
        assert_eq!(same[0].observed_generation, Some(2));
        let flipped = settle(accepted(Status::False, reason::INVALID), &same, 3, at(300));
        assert_eq!(flipped[0].last_transition_time.0, at(300));
    }

    #[test]
    fn the_default_of_1970_never_stays() {
        let pending = settle(accepted(Status::Unknown, reason::PENDING), &[], 1, at(0));
        let next = settle(
            accepted(Status::Unknown, reason::NO_SIDECARS),
            &pending,
            1,
            at(100),
        );
        assert_eq!(next[0].last_transition_time.0, at(100));
    }

    #[test]
    fn ready_names_the_first_condition_that_is_not_met() {
        let mut verdicts = accepted(Status::True, reason::ACCEPTED);
        verdicts.push(Verdict::new(
            condition::RESOLVED_REFS,
            Status::False,
            reason::SECRET_NOT_FOUND,
            "no Secret",
        ));
        let ready = with_ready(verdicts).pop().expect("Ready");
        assert_eq!(
            (ready.status, ready.reason),
            (Status::False, reason::NOT_READY)
        );
        assert_eq!(
            ready.message,
            "ResolvedRefs is False (SecretNotFound): no Secret"
        );
    }

    #[test]
    fn a_route_without_sidecars_is_ready() {
        let programmed = Verdict::new(
            condition::PROGRAMMED,
            Status::Unknown,
            reason::NO_SIDECARS,
            "",
        );
        assert_eq!(with_ready(vec![programmed])[1].status, Status::True);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = cut("ä".repeat(MAX_MESSAGE));
        assert!(
            cut.len() <= MAX_MESSAGE && cut.ends_with('…'),
            "{}",
            cut.len()
        );
    }
}
