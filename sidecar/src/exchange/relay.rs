//! An answer on its way to the client.
//!
//! Each chunk goes out as the very bytes that came, at once; the reader sees
//! it on the way. An upstream that dies in the middle is never made to look
//! like one that ended: a stream of events gets an error as its last event,
//! anything else is cut off, which every HTTP client reports.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use prometheus::IntGauge;
use tokio::time::{Instant, Sleep, sleep_until};

use super::attempt::pass;
use super::call::{Call, Settled};
use super::decode::Decoder;
use super::headers::{self, CostWish};
use super::mask::Mask;
use super::source::Source;
use crate::dialect::openai::{Ending as AnswerEnding, ErrorBody};
use crate::error::ApiError;
use crate::server::Ending;

/// Chunks that wait to go out. Mostly one, which needs no room of its own.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    first: Bytes,
    more: VecDeque<Bytes>,
    length: usize,
}

/// The body of an answer. With its end, or its drop, the call is settled.
pub struct ClientBody {
    call: Option<Box<Call>>,
    chunks: Chunks,
    live: Option<Box<Live>>,
}

/// The answer broke off.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct CutOff;

/// The part of an answer that is still to come.
pub(super) struct Live {
    /// `None`: it has ended, and only what is in `chunks` is left.
    source: Option<Source>,
    decoder: Option<Decoder>,
    mask: Option<Mask>,
    wish: CostWish,
    trailers: Option<HeaderMap>,
    cut: bool,
    idle_for: Duration,
    deadline: Instant,
    /// Since when the upstream is what is waited for.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    ending: Ending,
    open: Option<Open>,
}

/// Counts the answers that are being relayed.
struct Open(IntGauge);

// ---------------------------------------------------------------- impl Chunks

impl Chunks {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.length += chunk.len();
        if self.first.is_empty() && self.more.is_empty() {
            self.first = chunk;
        } else {
            self.more.push_back(chunk);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let chunk = if self.first.is_empty() {
            self.more.pop_front()?
        } else {
            std::mem::take(&mut self.first)
        };
        self.length -= chunk.len();
        Some(chunk)
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }
}

// ---------------------------------------------------------------- impl ClientBody

impl ClientBody {
    pub(super) fn whole(call: Box<Call>, chunks: Chunks) -> Self {
        Self {
            call: Some(call),
            chunks,
            live: None,
        }
    }

    pub(super) fn live(call: Box<Call>, chunks: Chunks, mut live: Live) -> Self {
        live.open = Some(Open::new(call.open_streams()));
        Self {
            call: Some(call),
            chunks,
            live: Some(Box::new(live)),
        }
    }

    /// The last byte has been handed over.
    fn complete(&mut self) {
        if let Some(mut call) = self.call.take() {
            call.complete();
        }
    }

    /// The upstream's answer has ended by itself.
    fn ended(&mut self) {
        let (Some(live), Some(call)) = (&mut self.live, &mut self.call) else {
            return;
        };
        live.source = None;
        if let Some(mask) = &mut live.mask {
            self.chunks.push(mask.finish());
        }
        let Some(answer) = &mut call.answer else {
            return;
        };
        let rest = answer.finish();
        if live.decoder.is_none() {
            self.chunks.push(rest);
            if answer.reading().ending == AnswerEnding::Cut {
                self.broke(&ApiError::UpstreamTruncated);
                return;
            }
        }
        if live.wish != CostWish::None
            && let Some(settled) = call.settle()
        {
            live.tell_cost(&mut self.chunks, &settled);
        }
    }

    /// It ends before its end.
    fn broke(&mut self, error: &ApiError) {
        let (Some(live), Some(call)) = (&mut self.live, &mut self.call) else {
            return;
        };
        live.source = None;
        let plain = live.decoder.is_none();
        let message = error.to_string();
        let body = ErrorBody {
            message: &message,
            kind: "server_error",
            param: None,
            code: error.facts().code,
        };
        let last = call
            .answer
            .as_mut()
            .filter(|_| plain)
            .and_then(|a| a.stream_error(&body));
        call.broke(error);
        match last {
            Some(event) => self.chunks.push(event),
            None => live.cut = true,
        }
    }

    fn next_chunk(&mut self) -> Option<Frame<Bytes>> {
        let chunk = self.chunks.pop()?;
        if let Some(call) = &mut self.call {
            call.relayed(chunk.len());
        }
        Some(Frame::data(chunk))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = self.get_mut();
        loop {
            if let Some(frame) = this.next_chunk() {
                if this.is_end_stream() {
                    this.complete();
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            let Some(live) = &mut this.live else {
                this.complete();
                return Poll::Ready(None);
            };
            let Some(source) = &mut live.source else {
                if live.cut {
                    this.call = None;
                    return Poll::Ready(Some(Err(CutOff)));
                }
                let trailers = live.trailers.take();
                this.complete();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            };
            match Pin::new(source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    live.waiting = None;
                    if let (Ok(data), Some(call)) = (frame.into_data(), &mut this.call) {
                        let (decoder, mask) = (&mut live.decoder, &mut live.mask);
                        this.chunks
                            .push(pass(&mut call.answer, decoder, mask, data));
                    }
                }
                Poll::Ready(Some(Err(_))) => this.broke(&ApiError::UpstreamTruncated),
                Poll::Ready(None) => this.ended(),
                Poll::Pending => match live.poll_limits(cx) {
                    Poll::Ready(error) => this.broke(&error),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.len() == 0 && self.live.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.live {
            None => SizeHint::with_exact(self.chunks.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}

// ---------------------------------------------------------------- impl Live

impl Live {
    pub(super) fn new(
        source: Source,
        decoder: Option<Decoder>,
        mask: Option<Mask>,
        wish: CostWish,
        idle_for: Duration,
        deadline: Instant,
        ending: Ending,
    ) -> Self {
        Self {
            source: Some(source),
            decoder,
            mask,
            wish,
            trailers: None,
            cut: false,
            idle_for,
            deadline,
            waiting: None,
            timer: None,
            ending,
            open: None,
        }
    }

    /// Ready with what ends an answer for which nothing comes. The timer is not
    /// put off with each chunk: it fires, sees that something came, and is set anew.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<ApiError> {
        if Pin::new(&mut self.ending).poll(cx).is_ready() {
            return Poll::Ready(ApiError::ShuttingDown);
        }
        let now = Instant::now();
        let since = *self.waiting.get_or_insert(now);
        let by = (since + self.idle_for).min(self.deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(by)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if now >= by || timer.deadline() >= by {
                return Poll::Ready(if by == self.deadline {
                    ApiError::RequestTimeout
                } else {
                    ApiError::UpstreamIdleTimeout
                });
            }
            timer.as_mut().reset(by);
        }
    }

    fn tell_cost(&mut self, chunks: &mut Chunks, settled: &Settled) {
        match self.wish {
            CostWish::Trailer => {
                let mut trailers = HeaderMap::with_capacity(2);
                headers::cost(&mut trailers, settled);
                self.trailers = (!trailers.is_empty()).then_some(trailers);
            }
            CostWish::Event if self.decoder.is_none() => {
                let mut text = String::new();
                if let Some(cost) = settled.cost {
                    let _ = writeln!(text, ": x-llmroute-cost-usd: {cost}");
                }
                if settled.estimated {
                    text.push_str(": x-llmroute-usage: estimated\n");
                }
                if !text.is_empty() {
                    text.push('\n');
                }
                chunks.push(text.into());
            }
            CostWish::Event | CostWish::None => {}
        }
    }
}

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
