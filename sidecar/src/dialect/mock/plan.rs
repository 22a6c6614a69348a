//! What a model of the mock does, with the directives over it.

use std::time::Duration;

use http::StatusCode;

use super::directives::Directives;

/// Text is cut into no more chunks than this, unless a directive says so.
const MAX_NATURAL_CHUNKS: usize = 64;

/// How one call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) status: StatusCode,
    pub(super) ttfb: Duration,
    pub(super) gap: Duration,
    /// Exactly so many chunks of text. None: one a word.
    chunks: Option<usize>,
    /// The connection breaks after so many.
    pub(super) cut: Option<usize>,
    pub(super) retry_after: Option<u32>,
    pub(super) usage: bool,
}

// ---------------------------------------------------------------- impl Plan

impl Plan {
    /// None: no such model.
    pub(super) fn of(model: &str, directives: Directives) -> Option<Self> {
        let Directives {
            status,
            ttfb,
            chunks,
            gap,
            cut,
            retry_after,
            no_usage,
        } = directives;
        let own = Self::own(model)?;
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Some(Self {
            status: status.unwrap_or(own.status),
            ttfb: ttfb.unwrap_or(own.ttfb),
            gap: gap.unwrap_or(own.gap),
            chunks: chunks.map(count).or(own.chunks),
            cut: cut.map(count).or(own.cut),
            retry_after: retry_after.or(own.retry_after),
            usage: !no_usage,
        })
    }

    fn own(model: &str) -> Option<Self> {
        let echo = Self {
            status: StatusCode::OK,
            ttfb: Duration::ZERO,
            gap: Duration::ZERO,
            chunks: None,
            cut: None,
            retry_after: None,
            usage: true,
        };
        Some(match model {
            "echo" => echo,
            "slow" => Self {
                ttfb: Duration::from_secs(1),
                gap: Duration::from_millis(200),
                chunks: Some(10),
                ..echo
            },
            "fail-429" => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(1),
                ..echo
            },
            "fail-503" => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..echo
            },
            "cut" => Self {
                chunks: Some(4),
                cut: Some(2),
                ..echo
            },
            _ => return None,
        })
    }

    /// Makes `text` long enough for its chunks.
    pub(super) fn fill(&self, text: &mut String) {
        let Some(chunks) = self.chunks else {
            return;
        };
        let mut chars = text.chars().count();
        while chars < chunks {
            text.push_str(" mock");
            chars += 5;
        }
    }

    /// Where `text` is cut: so many chunks, or behind its blanks.
    pub(super) fn ends(&self, text: &str) -> Vec<usize> {
        let chunks = self.chunks.unwrap_or(MAX_NATURAL_CHUNKS);
        let mut ends: Vec<usize> = match self.chunks {
            Some(_) => text
                .char_indices()
                .map(|(at, c)| at + c.len_utf8())
                .collect(),
            None => text.match_indices(' ').map(|(at, _)| at + 1).collect(),
        };
        if ends.last() != Some(&text.len()) && !text.is_empty() {
            ends.push(text.len());
        }
        let all = ends.len();
        if all > chunks {
            ends = (1..=chunks).map(|n| ends[n * all / chunks - 1]).collect();
        }
        ends
    }
}
