//! Passive health of one model at one provider under one credential: what the
//! calls themselves tell, and nothing else. No probe costs a token.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a target is left out for a while, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Failures in a row that eject.
    pub consecutive_failures: u32,
    /// The first ejection; each further one in a row lasts twice as long.
    pub eject_for: Duration,
    /// No ejection is longer, whatever its reason.
    pub max_eject_for: Duration,
}

/// How an attempt ended, as far as the health of its target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A good answer, or one that only the caller can be blamed for (4xx).
    Answered,
    /// No connection.
    ConnectFailure,
    /// Too late: connecting, the first byte, or silence within a stream.
    Timeout,
    /// 5xx, or an answer that broke off.
    ServerError,
    /// 429, with its Retry-After.
    RateLimited(Option<Duration>),
    /// 503 or 529, with its Retry-After.
    Overloaded(Option<Duration>),
    /// 401 on a credential of ours.
    Unauthorized,
    /// The client left, or our own deadline for the whole call passed before
    /// the target could be judged: nothing is known.
    Unknown,
}

/// Health of one (provider, model, credential). It outlives changes of the
/// config; another credential begins anew.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    credential: u64,
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
    ejected: Option<Ejection>,
}

#[derive(Clone, Copy, Debug)]
struct Ejection {
    since: Instant,
    until: Instant,
}

// ---------------------------------------------------------------- impl Outcome

impl Outcome {
    fn failed(self) -> bool {
        match self {
            Self::ConnectFailure
            | Self::Timeout
            | Self::ServerError
            | Self::RateLimited(_)
            | Self::Overloaded(_) => true,
            Self::Answered | Self::Unauthorized | Self::Unknown => false,
        }
    }

    fn retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited(after) | Self::Overloaded(after) => after.filter(|d| !d.is_zero()),
            _ => None,
        }
    }
}

// ---------------------------------------------------------------- impl Health

impl Health {
    fn state(&self, credential: u64) -> Option<MutexGuard<'_, State>> {
        // Every section leaves it whole, so a poisoned lock is usable.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if credential > state.credential {
            *state = State {
                credential,
                ..State::default()
            };
        }
        // What happened under an older credential says nothing about this one.
        (credential == state.credential).then_some(state)
    }

    /// Until when it is ejected; `None`: it isn't, at `now`.
    pub fn ejected_until(&self, credential: u64, now: Instant) -> Option<Instant> {
        let state = self.state(credential)?;
        state.ejected.map(|e| e.until).filter(|until| *until > now)
    }

    /// A call goes there. The first one after an ejection is a probe: until it
    /// is answered, or `eject_for` has passed, others keep away, so that a target
    /// that is still down costs one call and not a burst.
    pub(crate) fn picked(&self, credential: u64, policy: &HealthPolicy, now: Instant) {
        let Some(mut state) = self.state(credential) else {
            return;
        };
        let on_probation = state.failures >= policy.consecutive_failures;
        if let Some(ejected) = state.ejected.as_mut().filter(|e| e.until <= now) {
            if on_probation {
                ejected.until = now + policy.eject_for.min(policy.max_eject_for);
            } else {
                state.ejected = None;
            }
        }
    }

    /// Takes down how a call that was `picked` then ended. True where it is
    /// thereby ejected anew.
    pub fn record(
        &self,
        credential: u64,
        policy: &HealthPolicy,
        picked: Instant,
        outcome: Outcome,
        now: Instant,
    ) -> bool {
        let Some(mut state) = self.state(credential) else {
            return false;
        };
        if outcome == Outcome::Unknown {
            return false;
        }
        if !outcome.failed() {
            *state = State {
                credential,
                ..State::default()
            };
            return false;
        }
        // A call from before the ejection tells what is known already: a burst
        // of a hundred must not double the time a hundred times.
        let known = state.ejected.is_some_and(|e| picked < e.since);
        if !known {
            state.failures = state.failures.saturating_add(1);
        }
        let told = outcome.retry_after().map(|d| d.min(policy.max_eject_for));
        let earned = (!known && state.failures >= policy.consecutive_failures).then(|| {
            state.ejections = state.ejections.saturating_add(1);
            policy.nth(state.ejections)
        });
        let Some(ejected_for) = told.max(earned) else {
            return false;
        };
        let until = now + ejected_for;
        let was = state.ejected.filter(|e| e.until > now);
        state.ejected = Some(match was {
            Some(was) => Ejection {
                until: was.until.max(until),
                since: if earned.is_some() { now } else { was.since },
            },
            None => Ejection { since: now, until },
        });
        was.is_none()
    }
}

// ---------------------------------------------------------------- impl HealthPolicy

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            eject_for: Duration::from_secs(10),
            max_eject_for: Duration::from_mins(5),
        }
    }
}

impl HealthPolicy {
    /// How long the `n`th ejection in a row lasts.
    fn nth(&self, n: u32) -> Duration {
        let doubled = 1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX);
        self.eject_for
            .saturating_mul(doubled)
            .min(self.max_eject_for)
    }
}
