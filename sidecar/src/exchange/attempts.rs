//! Try after try, until one answers or none is left.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use super::answer;
use super::attempt::{Asked, Failure, Reply, attempt};
use super::call::Call;
use super::headers::CostWish;
use super::inbound;
use super::models::not_found;
use super::relay::ClientBody;
use super::{Exchange, held};
use crate::balance::{self, NoTarget, Outcome, Pick, Tried};
use crate::dialect::mock;
use crate::dialect::openai::{Head, Operation};
use crate::error::{ApiError, Cause};
use crate::metrics::AttemptEnd;
use crate::table::{Found, RetryPolicy, Rule, Table};

/// Serves one call of a model. The call is taken along by an answer only.
pub(super) async fn run(
    exchange: &Arc<Exchange>,
    call: &mut Option<Box<Call>>,
    operation: Operation,
    headers: HeaderMap,
    body: Incoming,
) -> Result<Response<ClientBody>, ApiError> {
    let table = exchange.config.table();
    let body = inbound::read(&headers, body, || longest(&table)).await?;
    held(call).read(&body);
    let head = Head::probe(operation, &body)?;
    let rule = match table.find(&head.model, &headers) {
        Found::Rule(rule) => rule,
        found => return Err(not_found(&table, &found, &head.model)),
    };
    // A stream of minutes must not keep an old table alive.
    drop(table);
    if body.len() as u64 > rule.max_body_bytes {
        let limit = rule.max_body_bytes;
        held(call).matched_only(rule);
        return Err(ApiError::BodyTooLarge { limit });
    }
    if headers.contains_key(mock::MOCK_HEADER) {
        mock::directives(&headers).map_err(|error| ApiError::InvalidField {
            field: mock::MOCK_HEADER,
            problem: error.to_string().into(),
        })?;
    }
    let mut rng = exchange.rng();
    held(call).matched(rule.clone())?;
    let reply = {
        let call = held(call);
        call.asked(head);
        tries(call, &rule, &headers, &body, &mut rng).await?
    };
    match reply {
        Reply::Error(error) => Err(error),
        Reply::Upstream(received) => {
            let call = call.take().expect("nothing has taken it yet");
            let wish = CostWish::of(&headers);
            let ending = exchange.drain.ending();
            Ok(answer::relayed(call, *received, wish, &rule, ending))
        }
    }
}

/// The most that any rule allows, until it is known which one it is.
fn longest(table: &Table) -> u64 {
    /// What a rule allows by default.
    const DEFAULT: u64 = 16 * 1024 * 1024;
    table
        .rules()
        .map(|rule| rule.max_body_bytes)
        .max()
        .unwrap_or(DEFAULT)
}

async fn tries(
    call: &mut Call,
    rule: &Rule,
    headers: &HeaderMap,
    body: &Bytes,
    rng: &mut Rng,
) -> Result<Reply, ApiError> {
    let asked = Asked {
        rule,
        headers,
        body,
        deadline: call.began + rule.timeouts.request,
    };
    let mut plan = Plan::default();
    let first = plan.pick(&asked, call, Instant::now(), rng);
    let mut pick = first.map_err(|why| no_target(call, rule, why))?;
    loop {
        plan.went_to(&pick);
        call.attempt(&pick);
        let failure = match attempt(&asked, call, &pick).await {
            Ok(received) => {
                if received.reader.is_none() {
                    let status = Some(received.parts.status);
                    call.attempted(AttemptEnd::Answered, status, Outcome::Answered);
                }
                return Ok(Reply::Upstream(received));
            }
            Err(failure) => failure,
        };
        call.attempted(failure.end, failure.status, failure.outcome);
        if let Some(renewed) = plan.renewed(&failure, &pick) {
            pick = renewed;
            continue;
        }
        let Some((next, cause, at)) = plan.next(&asked, call, &failure, rng) else {
            return Ok(failure.reply);
        };
        call.retried(cause);
        // Its connection is closed, or the pool's again, before the pause.
        drop(failure);
        sleep_until(at).await;
        pick = next;
    }
}

fn no_target(call: &Call, rule: &Rule, why: NoTarget) -> ApiError {
    match why {
        NoTarget::CredentialRejected => return ApiError::UpstreamUnauthorized,
        // Nothing is down: another try would meet the same answer.
        NoTarget::ModelUnknown => return call.unknown_model(),
        NoTarget::Unavailable => {}
    }
    let named = rule.targets.iter().find_map(|target| {
        let reason = target.unavailable.as_deref()?;
        Some(format!("{}: {reason}", target.name))
    });
    let reason = named.unwrap_or_else(|| "provider, model or credential is missing".into());
    ApiError::NoTarget {
        reason: reason.into(),
    }
}

// ---------------------------------------------------------------- Plan

/// Where the call went, and whether it may go on.
#[derive(Default)]
struct Plan {
    tried: Tried,
    /// Bits of the targets that it was sent to.
    seen: u32,
    retries: u32,
    renewed: bool,
}

impl Plan {
    fn pick(
        &mut self,
        asked: &Asked<'_>,
        call: &Call,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<Pick, NoTarget> {
        let model = call.head.as_ref().map_or("", |head| &*head.model);
        balance::pick(asked.rule, model, &mut self.tried, now, rng)
    }

    fn went_to(&mut self, pick: &Pick) {
        self.seen |= 1_u32
            .checked_shl(u32::try_from(pick.target).unwrap_or(32))
            .unwrap_or(0);
    }

    fn saw(&self, pick: &Pick) -> bool {
        let bit = 1_u32
            .checked_shl(u32::try_from(pick.target).unwrap_or(32))
            .unwrap_or(0);
        self.seen & bit != 0
    }

    /// After a 401: the same target with the key that was pushed meanwhile. Once.
    fn renewed(&mut self, failure: &Failure, pick: &Pick) -> Option<Pick> {
        if failure.outcome != Outcome::Unauthorized || std::mem::replace(&mut self.renewed, true) {
            return None;
        }
        pick.renewed(Instant::now())
    }

    /// Where to go next, why, and when. A target that this call didn't try yet
    /// is asked at once: the pause is for who failed.
    fn next(
        &mut self,
        asked: &Asked<'_>,
        call: &Call,
        failure: &Failure,
        rng: &mut Rng,
    ) -> Option<(Pick, Cause, Instant)> {
        let policy = &asked.rule.retry;
        let cause = failure.cause.filter(|cause| policy.takes(*cause))?;
        let now = Instant::now();
        if self.retries >= policy.attempts || now >= asked.deadline {
            return None;
        }
        let next = self.pick(asked, call, now, rng).ok()?;
        let wait = if self.saw(&next) {
            let told = failure.retry_after.unwrap_or_default();
            if told > policy.backoff_max {
                // Earlier would be refused, and nobody waits that long here.
                return None;
            }
            pause(policy, self.retries, rng).max(told)
        } else {
            Duration::ZERO
        };
        self.retries += 1;
        (now + wait < asked.deadline).then_some((next, cause, now + wait))
    }
}

/// Full jitter: anything up to `base` doubled for each retry, at most `max`.
fn pause(policy: &RetryPolicy, retries: u32, rng: &mut Rng) -> Duration {
    let doubled = 1_u32.checked_shl(retries).unwrap_or(u32::MAX);
    let most = policy
        .backoff_base
        .saturating_mul(doubled)
        .min(policy.backoff_max);
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.u64(0..=nanos))
}

impl RetryPolicy {
    fn takes(&self, cause: Cause) -> bool {
        match cause {
            Cause::ConnectFailure => self.on.connect_failure,
            Cause::Timeout => self.on.timeout,
            Cause::RateLimited => self.on.rate_limited,
            Cause::ServerError => self.on.server_error,
            Cause::Overloaded => self.on.overloaded,
        }
    }
}
