//! One try at one target.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::call::Call;
use super::clues;
use super::decode::Decoder;
use super::headers;
use super::mask::Mask;
use super::relay::Chunks;
use super::source::{BrokeOff, Source};
use crate::balance::{Outcome, Pick};
use crate::dialect::mock;
use crate::dialect::openai::{Answer, Head, Shape, Splice};
use crate::error::{ApiError, Cause};
use crate::metrics::AttemptEnd;
use crate::table::{Auth, Host, Rule, Upstream};
use crate::upstream::{RequestBody, UpstreamError};

/// Up to this size an answer that isn't a stream is held until it is whole:
/// its cost is then known at its head. An ordinary one has some kilobytes.
const WHOLE_BYTES: usize = 256 * 1024;

/// What every try of a call has in common.
pub(super) struct Asked<'c> {
    pub(super) rule: &'c Rule,
    pub(super) headers: &'c HeaderMap,
    pub(super) body: &'c Bytes,
    pub(super) deadline: Instant,
}

/// An answer whose first bytes are here.
pub(super) struct Received {
    pub(super) parts: Parts,
    /// What comes is to go out at once.
    pub(super) streamed: bool,
    /// What is to be relayed of what was read.
    pub(super) chunks: Chunks,
    /// `None`: all of it was read.
    pub(super) source: Option<Source>,
    /// Reads its usage. `None`: it isn't a success.
    pub(super) reader: Option<Answer>,
    pub(super) decoder: Option<Decoder>,
    /// Takes our key out of it. `None`: it is a success, or can't be looked through.
    pub(super) mask: Option<Mask>,
}

/// A try that failed.
pub(super) struct Failure {
    /// What the client gets where no other try follows.
    pub(super) reply: Reply,
    pub(super) cause: Option<Cause>,
    pub(super) end: AttemptEnd,
    pub(super) status: Option<StatusCode>,
    pub(super) outcome: Outcome,
    pub(super) retry_after: Option<Duration>,
}

/// What the client gets.
pub(super) enum Reply {
    /// An error of ours.
    Error(ApiError),
    /// The upstream's own answer.
    Upstream(Box<Received>),
}

/// Tries `pick`. Cancel safe: dropped, it has cancelled the call upstream.
pub(super) async fn attempt(
    asked: &Asked<'_>,
    call: &Call,
    pick: &Pick,
) -> Result<Box<Received>, Failure> {
    let head = call.head.as_ref().expect("the request was read");
    let now = Instant::now();
    let first_by = (now + asked.rule.timeouts.first_byte).min(asked.deadline);
    let splice = Splice::new(head, &pick.model.upstream_name, &pick.provider.quirks);
    let sending = async {
        match &pick.provider.upstream {
            Upstream::OpenAi(host) => {
                let request = || request(asked, call, head, pick, host, &splice);
                let connect_by = (now + asked.rule.timeouts.connect).min(asked.deadline);
                let answer = host.endpoint.call(request, connect_by).await;
                answer.map(|answer| answer.map(Source::Upstream))
            }
            Upstream::Mock => {
                let answer = Box::pin(mocked(asked, call, head, pick, &splice)).await;
                Ok(answer.map(Source::Mock))
            }
        }
    };
    let answer = match timeout_at(first_by, sending).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Failure::unanswered(&error)),
        Err(_) => return Err(Failure::late(asked.deadline)),
    };
    judge(asked, head, pick, &splice, answer, first_by).await
}

fn request(
    asked: &Asked<'_>,
    call: &Call,
    head: &Head,
    pick: &Pick,
    host: &Host,
    splice: &Splice<'_>,
) -> Request<RequestBody> {
    let body = splice.body(head, asked.body);
    let mut request = Request::new(match &call.sent {
        Some(sent) => body.telling(sent.clone()),
        None => body,
    });
    *request.method_mut() = Method::POST;
    *request.uri_mut() = host.uri(head.operation).clone();
    *request.headers_mut() = headers::forwarded(asked.headers, pick, head);
    request
}

async fn mocked(
    asked: &Asked<'_>,
    call: &Call,
    head: &Head,
    pick: &Pick,
    splice: &Splice<'_>,
) -> Response<mock::MockBody> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    mock::answer(mock::Call {
        head,
        body: asked.body,
        model: &pick.model.upstream_name,
        // Checked before the first try.
        directives: mock::directives(asked.headers).unwrap_or_default(),
        include_usage: head.include_usage || splice.hides_usage(),
        now: now.unwrap_or_default().as_secs(),
        id: call.id.number(),
    })
    .await
}

/// Decides by status, then by the first bytes.
async fn judge(
    asked: &Asked<'_>,
    head: &Head,
    pick: &Pick,
    splice: &Splice<'_>,
    answer: Response<Source>,
    first_by: Instant,
) -> Result<Box<Received>, Failure> {
    let (parts, source) = answer.into_parts();
    let status = parts.status;
    let ours = matches!(pick.provider.auth, Auth::Credential { .. });
    if status == StatusCode::UNAUTHORIZED && ours {
        return Err(Failure::unauthorized());
    }
    if status.is_redirection() || status.is_informational() {
        return Err(Failure::redirected(status));
    }
    let mut received = Box::new(Received::new(head, pick, splice, parts, source));
    if !status.is_success() {
        // Small as a rule; the connection can then be used again.
        received
            .read(asked, first_by, WHOLE_BYTES)
            .await
            .map_err(|error| Failure::broken(error, status))?;
        return match Cause::of_status(status) {
            None => Ok(received),
            Some(cause) => Err(Failure::status(received, cause)),
        };
    }
    let enough = if received.streamed { 1 } else { WHOLE_BYTES };
    received
        .read(asked, first_by, enough)
        .await
        .map_err(|error| Failure::broken(error, status))?;
    match received.inner_cause() {
        None => Ok(received),
        Some(cause) => Err(Failure::inner(received, cause)),
    }
}

// ---------------------------------------------------------------- impl Received

impl Received {
    fn new(
        head: &Head,
        pick: &Pick,
        splice: &Splice<'_>,
        mut parts: Parts,
        source: Source,
    ) -> Self {
        let mask = Mask::of(pick);
        if let Some(mask) = &mask {
            mask.headers(&mut parts.headers);
        }
        let mask = mask.filter(|_| !parts.status.is_success() && Mask::reads(&parts.headers));
        let mut shape = Shape::of(&parts.headers);
        let decoder = Decoder::of(&parts.headers);
        let mut hides = splice.hides_usage();
        if decoder.is_some() {
            // The reader sees what the decoder makes of it; what is relayed
            // are the bytes as they came, so nothing can be hidden.
            let mut plain = HeaderMap::with_capacity(1);
            if let Some(value) = parts.headers.get(CONTENT_TYPE) {
                plain.insert(CONTENT_TYPE, value.clone());
            }
            shape = Shape::of(&plain);
            hides = false;
        }
        let quirks = &pick.provider.quirks;
        let reader = parts
            .status
            .is_success()
            .then(|| Answer::new(head.operation, shape, quirks, hides));
        let streamed = match shape {
            Shape::Stream => true,
            Shape::Json => false,
            Shape::Opaque | Shape::Unknown => head.stream,
        };
        Self {
            parts,
            streamed,
            chunks: Chunks::default(),
            source: Some(source),
            reader,
            decoder,
            mask,
        }
    }

    /// Reads until `enough` bytes are here, or all.
    async fn read(
        &mut self,
        asked: &Asked<'_>,
        first_by: Instant,
        enough: usize,
    ) -> Result<(), ApiError> {
        let mut by = first_by;
        while self.chunks.len() < enough {
            let Some(source) = &mut self.source else {
                break;
            };
            let late = || match Instant::now() >= asked.deadline {
                true => ApiError::RequestTimeout,
                false if by == first_by => ApiError::UpstreamFirstByteTimeout,
                false => ApiError::UpstreamIdleTimeout,
            };
            match timeout_at(by, source.frame()).await.map_err(|_| late())? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        let passed =
                            pass(&mut self.reader, &mut self.decoder, &mut self.mask, data);
                        self.chunks.push(passed);
                    }
                }
                Some(Err(BrokeOff)) => return Err(ApiError::UpstreamTruncated),
                None => self.end(),
            }
            // Whether it has ended is often known with the last chunk: then
            // the connection is the pool's again before the answer goes out.
            if self
                .source
                .as_ref()
                .is_some_and(http_body::Body::is_end_stream)
            {
                self.end();
            }
            by = (Instant::now() + asked.rule.timeouts.stream_idle).min(asked.deadline);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.source = None;
        if let Some(mask) = &mut self.mask {
            self.chunks.push(mask.finish());
        }
        if let Some(reader) = &mut self.reader {
            let rest = reader.finish();
            if self.decoder.is_none() {
                self.chunks.push(rest);
            }
        }
    }

    /// The retry cause of an error that came inside a success.
    fn inner_cause(&self) -> Option<Cause> {
        let reader = self.reader.as_ref().filter(|reader| reader.failed())?;
        clues::cause_of_code(&reader.reading().error?.code)
    }
}

/// Lets the reader see a chunk; what is to be relayed of it.
pub(super) fn pass(
    reader: &mut Option<Answer>,
    decoder: &mut Option<Decoder>,
    mask: &mut Option<Mask>,
    chunk: Bytes,
) -> Bytes {
    match (reader, decoder) {
        (Some(reader), None) => reader.push(chunk),
        (Some(reader), Some(decoder)) => {
            decoder.push(&chunk, |plain| drop(reader.push(plain)));
            chunk
        }
        (None, _) => match mask {
            Some(mask) => mask.push(chunk),
            None => chunk,
        },
    }
}

// ---------------------------------------------------------------- impl Failure

impl Failure {
    fn ours(error: ApiError, outcome: Outcome) -> Self {
        let cause = error.facts().retry;
        Self {
            reply: Reply::Error(error),
            cause,
            end: cause.map_or(AttemptEnd::Refused, AttemptEnd::Failed),
            status: None,
            outcome,
            retry_after: None,
        }
    }

    fn unanswered(error: &UpstreamError) -> Self {
        let outcome = match error {
            UpstreamError::ConnectTimeout => Outcome::Timeout,
            UpstreamError::Protocol => Outcome::ServerError,
            _ => Outcome::ConnectFailure,
        };
        Self::ours(error.into(), outcome)
    }

    fn late(deadline: Instant) -> Self {
        if Instant::now() >= deadline {
            Self {
                end: AttemptEnd::Cancelled,
                ..Self::ours(ApiError::RequestTimeout, Outcome::Unknown)
            }
        } else {
            Self::ours(ApiError::UpstreamFirstByteTimeout, Outcome::Timeout)
        }
    }

    fn broken(error: ApiError, status: StatusCode) -> Self {
        let outcome = match error.facts().retry {
            Some(Cause::Timeout) => Outcome::Timeout,
            Some(_) => Outcome::ServerError,
            None => Outcome::Unknown,
        };
        Self {
            status: Some(status),
            ..Self::ours(error, outcome)
        }
    }

    fn unauthorized() -> Self {
        Self {
            end: AttemptEnd::Unauthorized,
            status: Some(StatusCode::UNAUTHORIZED),
            ..Self::ours(ApiError::UpstreamUnauthorized, Outcome::Unauthorized)
        }
    }

    fn redirected(status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..Self::ours(ApiError::UpstreamRedirect, Outcome::Answered)
        }
    }

    fn status(received: Box<Received>, cause: Cause) -> Self {
        let retry_after = clues::retry_after(&received.parts.headers, SystemTime::now());
        Self::upstream(received, cause, retry_after)
    }

    fn inner(received: Box<Received>, cause: Cause) -> Self {
        Self::upstream(received, cause, None)
    }

    fn upstream(received: Box<Received>, cause: Cause, retry_after: Option<Duration>) -> Self {
        Self {
            cause: Some(cause),
            end: AttemptEnd::Failed(cause),
            status: Some(received.parts.status),
            outcome: match cause {
                Cause::ConnectFailure => Outcome::ConnectFailure,
                Cause::Timeout => Outcome::Timeout,
                Cause::RateLimited => Outcome::RateLimited(retry_after),
                Cause::ServerError => Outcome::ServerError,
                Cause::Overloaded => Outcome::Overloaded(retry_after),
            },
            retry_after,
            reply: Reply::Upstream(received),
        }
    }
}
