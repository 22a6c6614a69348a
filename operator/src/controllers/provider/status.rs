//! What is said of a provider: pure of what was built, what sidecars learned of
//! the credential, and now.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use llmroute_crds::provider::{CredentialStatus, ProviderSummary};
use llmroute_crds::{LLMProviderStatus, condition, reason};

use super::{ProviderState, Refused};
use crate::controllers::CredentialFacts;
use crate::controllers::conditions::{Status, Verdict, settle, whole_seconds, with_ready};

/// The whole status. `routes`: how many name it.
pub(crate) fn status(
    state: &ProviderState,
    previous: &LLMProviderStatus,
    routes: usize,
    facts: &CredentialFacts,
    now: Timestamp,
) -> LLMProviderStatus {
    let verdicts = vec![accepted(state), resolved(state), credentials(state, facts)];
    LLMProviderStatus {
        observed_generation: Some(state.generation),
        conditions: settle(
            with_ready(verdicts),
            &previous.conditions,
            state.generation,
            now,
        ),
        credential: credential(state, previous, now),
        summary: Some(ProviderSummary {
            routes: routes.to_string(),
        }),
    }
}

fn accepted(state: &ProviderState) -> Verdict {
    let refused = match &state.accepted {
        Ok(()) => return Verdict::new(condition::ACCEPTED, Status::True, reason::ACCEPTED, ""),
        Err(refused) => refused,
    };
    let reason = match refused {
        Refused::UnknownType(_) => reason::UNKNOWN_TYPE,
        Refused::Malformed(_) | Refused::Invalid(_) => reason::INVALID,
    };
    let message = match &state.good {
        Some(good) => format!(
            "{}; generation {} is still in force",
            refused.message(),
            good.generation
        ),
        None => refused.message(),
    };
    Verdict::new(condition::ACCEPTED, Status::False, reason, message)
}

fn resolved(state: &ProviderState) -> Verdict {
    let (status, reason, message) = match (&state.good, &state.unresolved) {
        (None, _) => (
            Status::Unknown,
            reason::PENDING,
            "not looked at: the object isn't accepted",
        ),
        (_, None) => (Status::True, reason::RESOLVED_REFS, ""),
        (_, Some(unresolved)) => (
            Status::False,
            unresolved.reason,
            unresolved.message.as_str(),
        ),
    };
    Verdict::new(condition::RESOLVED_REFS, status, reason, message)
}

fn credentials(state: &ProviderState, facts: &CredentialFacts) -> Verdict {
    let of = |status, reason, message: String| {
        Verdict::new(condition::CREDENTIALS_READY, status, reason, message)
    };
    if state.good.is_none() {
        let message = "not looked at: the object isn't accepted".to_owned();
        return of(Status::Unknown, reason::PENDING, message);
    }
    match (&state.hash8, &state.unresolved) {
        (Some(hash8), _) if facts.rejecting > 0 => of(
            Status::False,
            reason::REJECTED_401,
            format!(
                "LLMProvider {} answered 401 to the credential {hash8} in {} of the sidecars that used it; put a valid key into {}",
                state.resource.name,
                facts.rejecting,
                secret(state)
            ),
        ),
        (Some(_), _) => of(Status::True, reason::READY, String::new()),
        (None, Some(unresolved)) if state.references.secret.is_some() => of(
            Status::False,
            reason::NO_ACCESS,
            format!("no credential to use: {}", unresolved.message),
        ),
        (None, _) => of(Status::True, reason::READY, "none is needed".to_owned()),
    }
}

fn secret(state: &ProviderState) -> String {
    let secret = state.references.secret.as_ref();
    secret.map_or_else(|| "its Secret".to_owned(), |id| format!("Secret {id}"))
}

/// `rotatedAt` moves with the hash and with nothing else.
fn credential(
    state: &ProviderState,
    previous: &LLMProviderStatus,
    now: Timestamp,
) -> Option<CredentialStatus> {
    let hash8 = state.hash8.clone()?;
    let before = previous.credential.as_ref();
    let before = before.filter(|before| before.hash8 == hash8);
    let rotated_at = before.and_then(|before| before.rotated_at.clone());
    Some(CredentialStatus {
        hash8,
        rotated_at: Some(rotated_at.unwrap_or_else(|| Time(whole_seconds(now)))),
    })
}
