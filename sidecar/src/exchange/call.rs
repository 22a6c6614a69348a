//! What is known of one call, and its settlement.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

use super::Exchange;
use super::answer;
use super::headers::{self, RequestId};
use super::models;
use super::relay::ClientBody;
use crate::access_log::{Attempt, Entry, Joined, Millis, Tokens};
use crate::balance::{Outcome, Pick};
use crate::dialect::openai::{Answer, Ending, Head};
use crate::error::{ApiError, Cause};
use crate::meter::{PicoUsd, Quality, Usage, charge};
use crate::metrics::{AttemptEnd, End, NONE, OTHER, Series};
use crate::table::{Found, Permit, Rule};
use crate::upstream::Sent;

/// The client left before an answer: nginx's number for it, in the log only.
const CLIENT_LEFT: u16 = 499;
/// Retries are at most 5, and a renewed credential is one more try.
const MAX_ATTEMPTS: usize = 7;

/// Travels with the call, at last within the body of its answer. Its drop
/// settles everything, whatever the reason.
pub(super) struct Call {
    exchange: Arc<Exchange>,
    pub(super) began: Instant,
    time: SystemTime,
    pub(super) id: RequestId,
    operation: Option<&'static str>,
    pub(super) head: Option<Head>,
    pub(super) rule: Option<Arc<Rule>>,
    permit: Option<Permit>,
    /// The try under way, or the last one.
    pick: Option<Pick>,
    series: Option<Arc<Series>>,
    attempts: [Tried; MAX_ATTEMPTS],
    tries: u8,
    /// The try that is under way has this outcome once it ends.
    open: Option<Instant>,
    /// Whether a byte of the try under way was sent.
    pub(super) sent: Option<Sent>,
    /// Reads the answer's usage, of the try that was successful.
    pub(super) answer: Option<Answer>,
    settled: Option<Settled>,
    status: u16,
    error: Option<&'static str>,
    request_bytes: u64,
    response_bytes: u64,
    first_byte: Option<Duration>,
    end: Option<End>,
}

/// A try that has ended.
#[derive(Clone, Copy, Default)]
struct Tried {
    target: u8,
    end: Option<AttemptEnd>,
    status: Option<StatusCode>,
    duration: Duration,
}

/// What a call used and cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub(super) usage: Usage,
    pub(super) estimated: bool,
    /// `None`: unknown.
    pub(super) cost: Option<PicoUsd>,
}

// ---------------------------------------------------------------- impl Call

impl Call {
    pub(super) fn begin(exchange: &Arc<Exchange>) -> Box<Self> {
        Box::new(Self {
            exchange: exchange.clone(),
            began: Instant::now(),
            time: SystemTime::now(),
            id: RequestId::new(&mut exchange.rng()),
            operation: None,
            head: None,
            rule: None,
            permit: None,
            pick: None,
            series: None,
            attempts: Default::default(),
            tries: 0,
            open: None,
            sent: None,
            answer: None,
            settled: None,
            status: CLIENT_LEFT,
            error: None,
            request_bytes: 0,
            response_bytes: 0,
            first_byte: None,
            end: None,
        })
    }

    pub(super) fn operation(&mut self, name: &'static str) {
        self.operation = Some(name);
    }

    pub(super) fn read(&mut self, body: &Bytes) {
        self.request_bytes = body.len() as u64;
    }

    /// The rule and its permit, held to the end of the answer.
    pub(super) fn matched(&mut self, rule: Arc<Rule>) -> Result<(), ApiError> {
        let gate = rule.concurrency.clone();
        self.rule = Some(rule);
        if let Some(gate) = gate {
            let limit = gate.limit();
            self.permit = gate.try_enter();
            if self.permit.is_none() {
                return Err(ApiError::TooManyConcurrent { limit });
            }
        }
        Ok(())
    }

    /// The rule of a call that it refuses.
    pub(super) fn matched_only(&mut self, rule: Arc<Rule>) {
        self.rule = Some(rule);
    }

    pub(super) fn asked(&mut self, head: Head) {
        self.head = Some(head);
    }

    /// A rule takes the model and no provider of it has it: as if no rule did.
    pub(super) fn unknown_model(&self) -> ApiError {
        let model = self.head.as_ref().map_or("", |head| &*head.model);
        let table = self.exchange.config.table();
        models::not_found(&table, &Found::UnknownModel, model)
    }

    pub(super) fn open_streams(&self) -> prometheus::IntGauge {
        self.exchange.metrics.families().open_streams.clone()
    }

    /// A try begins.
    pub(super) fn attempt(&mut self, pick: &Pick) {
        let route = self
            .rule
            .as_ref()
            .map_or(NONE, |rule| rule.route.key.as_str());
        let model = if pick.model.listed {
            pick.model.name.as_str()
        } else {
            OTHER
        };
        let metrics = &self.exchange.metrics;
        self.series = Some(metrics.series(route, pick.provider.key.as_str(), model));
        self.pick = Some(pick.clone());
        self.open = Some(Instant::now());
        self.sent = Some(Sent::default());
        self.answer = None;
    }

    /// The try has ended.
    pub(super) fn attempted(
        &mut self,
        end: AttemptEnd,
        status: Option<StatusCode>,
        outcome: Outcome,
    ) {
        let (Some(began), Some(pick)) = (self.open.take(), &self.pick) else {
            return;
        };
        let now = Instant::now();
        let ejected = pick.record(outcome, now);
        if let Some(series) = &self.series {
            series.attempt(end);
            if ejected {
                series.ejected();
            }
        }
        if let Some(tried) = self.attempts.get_mut(usize::from(self.tries)) {
            *tried = Tried {
                target: u8::try_from(pick.target).unwrap_or(u8::MAX),
                end: Some(end),
                status,
                duration: now - began,
            };
            self.tries += 1;
        }
    }

    /// Another try follows.
    pub(super) fn retried(&self, cause: Cause) {
        if let Some(series) = &self.series {
            series.retry(cause);
        }
    }

    /// Tries so far, the one under way included.
    pub(super) fn tries(&self) -> u8 {
        self.tries + u8::from(self.open.is_some())
    }

    pub(super) fn picked(&self) -> Option<&Pick> {
        self.pick.as_ref()
    }

    /// The head of the answer goes out.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        let after = self.began.elapsed();
        self.first_byte = Some(after);
        if let Some(series) = &self.series {
            series.first_byte(after);
        }
    }

    /// Bytes of the answer's body go out.
    pub(super) fn relayed(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The answer has gone out to its end. Counted once.
    pub(super) fn complete(&mut self) {
        self.end.get_or_insert(match self.status {
            400..=499 => End::ClientError,
            500.. => End::ServerError,
            _ => End::Success,
        });
    }

    /// The answer broke off after its head.
    pub(super) fn broke(&mut self, error: &ApiError) {
        let facts = error.facts();
        self.error = Some(facts.code);
        self.exchange.metrics.error(facts.code);
        self.end.get_or_insert(End::Broken);
        let outcome = match facts.retry {
            Some(Cause::Timeout) => Outcome::Timeout,
            Some(_) => Outcome::ServerError,
            None => Outcome::Unknown,
        };
        let end = facts
            .retry
            .map_or(AttemptEnd::Cancelled, AttemptEnd::Failed);
        self.attempted(end, StatusCode::from_u16(self.status).ok(), outcome);
        self.log_error(error);
    }

    /// Answers with an error of ours.
    pub(super) fn refuse(mut self: Box<Self>, error: &ApiError) -> Response<ClientBody> {
        let facts = error.facts();
        self.error = Some(facts.code);
        self.exchange.metrics.error(facts.code);
        self.log_error(error);
        // A deadline of the whole call may have cut a try short.
        self.attempted(AttemptEnd::Cancelled, None, Outcome::Unknown);
        let mut headers = error.headers();
        headers::told_by_us(&mut headers, &self);
        answer::whole(self, facts.status, headers, error.body())
    }

    /// Answers with what we know ourselves.
    pub(super) fn tell(self: Box<Self>, body: Bytes) -> Response<ClientBody> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        headers::told_by_us(&mut headers, &self);
        answer::whole(self, StatusCode::OK, headers, body)
    }

    fn log_error(&self, error: &ApiError) {
        let (id, route) = (
            self.id.as_str(),
            self.rule.as_ref().map(|r| r.route.key.as_str()),
        );
        let (code, target) = (error.facts().code, self.target());
        match error.facts().level {
            tracing::Level::ERROR => tracing::error!(id, route, target, code, "a call failed"),
            tracing::Level::WARN => tracing::warn!(id, route, target, code, "a call failed"),
            _ => tracing::debug!(id, route, target, code, "a call was refused"),
        }
    }

    fn target(&self) -> Option<&str> {
        let target = self.pick.as_ref()?.target;
        self.rule
            .as_ref()?
            .targets
            .get(target)
            .map(|t| t.name.as_str())
    }

    // ------------------------------------------------------------ settlement

    /// What the call used and cost, computed once. `None`: no upstream was asked.
    pub(super) fn settle(&mut self) -> Option<Settled> {
        if self.settled.is_none() {
            self.settled = self.reckon();
        }
        self.settled
    }

    fn reckon(&self) -> Option<Settled> {
        let (Some(head), Some(pick)) = (&self.head, &self.pick) else {
            return None;
        };
        let reading = self.answer.as_ref().map(Answer::reading);
        // What the provider refused, or never saw, costs nothing.
        if reading.is_none()
            && !(self.open.is_some() && self.sent.as_ref().is_some_and(Sent::began))
        {
            return None;
        }
        let model = &*pick.model.upstream_name;
        let output_bytes = reading.as_ref().map_or(0, |r| r.output_bytes);
        let estimator = &self.exchange.estimator;
        let reported = reading.as_ref().and_then(|r| r.usage);
        let reported = reported.filter(Usage::is_credible);
        let failed = reading.as_ref().is_some_and(|r| r.ending == Ending::Failed);
        let usage = match reported {
            Some(usage) => usage,
            // An error in place of an answer, and no word of usage.
            None if failed && output_bytes == 0 => return None,
            None => {
                let (input, output) = estimator.estimate(model, head.input_bytes, output_bytes);
                Usage::estimated(input, output)
            }
        };
        if reported.is_some() && usage.quality == Quality::Exact {
            let input = (head.input_bytes, usage.total_input());
            estimator.learn(model, input, (output_bytes, usage.output));
        }
        let tier = reading.as_ref().and_then(|r| r.service_tier.as_deref());
        Some(Settled {
            usage,
            estimated: usage.quality == Quality::Estimated,
            cost: charge(&usage, pick.model.price.as_ref(), tier).map(|cost| cost.amount),
        })
    }

    fn log(&self, duration: Duration, end: End) {
        let rule = self.rule.as_deref();
        let name = |index: u8| {
            let target = rule.and_then(|rule| rule.targets.get(usize::from(index)));
            target.map_or("", |target| target.name.as_str())
        };
        let attempts: Vec<_> = self.attempts[..usize::from(self.tries)]
            .iter()
            .map(|tried| Attempt {
                target: name(tried.target),
                end: tried.end.map_or("", AttemptEnd::word),
                status: tried.status.map(|status| status.as_u16()),
                duration_ms: Millis(tried.duration),
            })
            .collect();
        let entry = Entry {
            time: self.time,
            request_id: self.id.as_str(),
            operation: self.operation,
            status: self.status,
            end: end.word(),
            error: self.error,
            route: rule.map(|rule| Joined(rule.route.key.as_str(), rule.route.generation)),
            rule: rule.map(|rule| &*rule.name),
            target: self.target(),
            provider: self.pick.as_ref().map(|pick| pick.provider.key.as_str()),
            requested_model: self.head.as_ref().map(|head| &*head.model),
            model: self.pick.as_ref().map(|pick| &*pick.model.upstream_name),
            stream: self.head.as_ref().is_some_and(|head| head.stream),
            attempts: &attempts,
            tokens: self
                .settled
                .as_ref()
                .map(|settled| Tokens::from(&settled.usage)),
            usage: self.settled.map(Settled::word),
            cost_pico_usd: self
                .settled
                .and_then(|settled| settled.cost)
                .map(|cost| cost.0),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            first_byte_ms: self.first_byte.map(Millis),
            duration_ms: Millis(duration),
        };
        if !self.exchange.log.write(&entry) {
            self.exchange.metrics.families().log_dropped.inc();
        }
    }
}

impl Settled {
    fn word(self) -> &'static str {
        if self.estimated {
            "estimated"
        } else {
            "reported"
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let settled = self.settle();
        let status = StatusCode::from_u16(self.status).ok();
        let (end, outcome) = match self.answer.as_ref().map(Answer::failed) {
            // Its first byte came: the target did what it could.
            Some(false) => (AttemptEnd::Answered, Outcome::Answered),
            Some(true) => {
                if self.end == Some(End::Success) {
                    self.end = Some(End::Broken);
                }
                (AttemptEnd::Failed(Cause::ServerError), Outcome::ServerError)
            }
            None => (AttemptEnd::Cancelled, Outcome::Unknown),
        };
        self.attempted(end, status.filter(|_| self.answer.is_some()), outcome);
        let end = self.end.unwrap_or(End::Cancelled);
        let duration = self.began.elapsed();
        let metrics = &self.exchange.metrics;
        let series = self.series.take().unwrap_or_else(|| {
            let route = self
                .rule
                .as_ref()
                .map_or(NONE, |rule| rule.route.key.as_str());
            metrics.series(route, NONE, NONE)
        });
        series.request(end, duration);
        if let Some(settled) = settled {
            series.usage(&settled.usage, settled.estimated, settled.cost);
        }
        if self.exchange.log.is_on() {
            self.log(duration, end);
        }
    }
}
