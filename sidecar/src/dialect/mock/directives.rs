//! `x-llmroute-mock: status=503,ttfb=2s,chunks=5`.

use std::time::Duration;

/// What the header overrides; absent is the model's own behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `status=503`: 200 or an error, 400-599.
    pub status: Option<u16>,
    /// `ttfb=2s`: how long until the head of the answer.
    pub ttfb: Option<Duration>,
    /// `chunks=5`: events with text, of a stream.
    pub chunks: Option<u32>,
    /// `gap=100ms`: between two chunks.
    pub gap: Option<Duration>,
    /// `cut=3`: the connection breaks after so many chunks.
    pub cut: Option<u32>,
    /// `retry-after=1`: seconds, with an error.
    pub retry_after: Option<u32>,
    /// `usage=none`: the answer reports none.
    pub no_usage: bool,
}

/// Why the header can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("x-llmroute-mock: {0}")]
pub struct DirectiveError(pub(super) String);
