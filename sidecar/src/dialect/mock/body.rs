//! The mock's body: chunks with pauses between them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::time::{Instant, Sleep};

use super::plan::Plan;

/// The mock broke its own connection, as it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mock cut its answer")]
pub struct MockCut;

/// Stands where an upstream's body would.
#[derive(Debug, Default)]
pub struct MockBody {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    Break,
}

/// A body while it is written.
#[derive(Debug)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    gap: Duration,
    /// Chunks of text until it breaks.
    left: Option<usize>,
    chunks: usize,
    broken: bool,
}

// ---------------------------------------------------------------- impl Script

impl Script {
    /// One piece, whole.
    pub(super) fn bytes(bytes: Bytes) -> Self {
        Self {
            steps: [Step::Send(bytes)].into(),
            gap: Duration::ZERO,
            left: None,
            chunks: 0,
            broken: false,
        }
    }

    /// One document: half of it where the plan is to cut.
    pub(super) fn document(bytes: Bytes, plan: &Plan) -> Self {
        if plan.cut.is_none() {
            return Self::bytes(bytes);
        }
        let mut script = Self::bytes(bytes.slice(..bytes.len() / 2));
        script.steps.push_back(Step::Break);
        script
    }

    /// Events, to be written one by one.
    pub(super) fn stream(plan: &Plan) -> Self {
        Self {
            steps: VecDeque::new(),
            gap: plan.gap,
            left: plan.cut,
            chunks: 0,
            broken: plan.cut == Some(0),
        }
    }

    /// An event, named where the shape names its events.
    pub(super) fn event(&mut self, name: Option<&str>, data: &Value) {
        let name = name.map_or(String::new(), |name| format!("event: {name}\n"));
        self.send(format!("{name}data: {data}\n\n"));
    }

    /// The terminator.
    pub(super) fn done(&mut self) {
        self.send("data: [DONE]\n\n".to_owned());
    }

    /// Stands before a chunk of text: the pause, and the count to the cut.
    pub(super) fn chunk(&mut self) {
        self.broken |= self.left == Some(self.chunks);
        if self.chunks > 0 && !self.gap.is_zero() && !self.broken {
            self.steps.push_back(Step::Wait(self.gap));
        }
        self.chunks += 1;
    }

    /// Stands behind the last chunk of text.
    pub(super) fn end_of_text(&mut self) {
        self.broken |= self.left.is_some();
    }

    fn send(&mut self, text: String) {
        if !self.broken {
            self.steps.push_back(Step::Send(text.into()));
        }
    }
}

impl From<Script> for MockBody {
    fn from(mut script: Script) -> Self {
        if script.broken {
            script.steps.push_back(Step::Break);
        }
        Self {
            steps: script.steps,
            sleep: None,
        }
    }
}

// ---------------------------------------------------------------- impl MockBody

impl Body for MockBody {
    type Data = Bytes;
    type Error = MockCut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, MockCut>>> {
        let this = self.get_mut();
        loop {
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            return Poll::Ready(match this.steps.pop_front() {
                None => None,
                Some(Step::Send(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Step::Break) => {
                    this.steps.clear();
                    Some(Err(MockCut))
                }
                Some(Step::Wait(pause)) => {
                    let until = Instant::now() + pause;
                    this.sleep = Some(Box::pin(tokio::time::sleep_until(until)));
                    continue;
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let sent = |step: &Step| match step {
            Step::Send(bytes) => bytes.len() as u64,
            Step::Wait(_) | Step::Break => 0,
        };
        let length = self.steps.iter().map(sent).sum();
        if self.steps.len() == 1 && length > 0 {
            return SizeHint::with_exact(length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(length);
        hint
    }
}
