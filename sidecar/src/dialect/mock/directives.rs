//! `x-llmroute-mock: status=503,ttfb=2s,chunks=5`.

use std::time::Duration;

use http::HeaderMap;

/// The request header with directives. Never forwarded to any upstream.
pub const MOCK_HEADER: &str = "x-llmroute-mock";

/// Longer is no set of directives.
const MAX_LENGTH: usize = 256;
const MAX_TTFB: Duration = Duration::from_mins(10);
const MAX_GAP: Duration = Duration::from_mins(1);
const MAX_CHUNKS: u32 = 1000;
const MAX_RETRY_AFTER: u32 = 3600;

/// What the header overrides; absent is the model's own behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `status=503`: 200 or an error, 400 to 599.
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
pub enum DirectiveError {
    /// Two lines of it, or one that is no text.
    #[error("{MOCK_HEADER} must be one header of at most {MAX_LENGTH} visible characters")]
    Header,
    /// Not one of ours.
    #[error(
        "{MOCK_HEADER} knows status, ttfb, chunks, gap, cut, retry-after and usage, written name=value and separated by commas"
    )]
    Unknown,
    /// Which of the two would be meant?
    #[error("{MOCK_HEADER}: {0} is given twice")]
    Twice(&'static str),
    /// A value out of its bounds.
    #[error("{MOCK_HEADER}: {name} must be {wanted}")]
    Value {
        /// The directive.
        name: &'static str,
        /// What it takes.
        wanted: &'static str,
    },
}

// ---------------------------------------------------------------- impl Directives

impl Directives {
    /// Reads the header. Without one, every model behaves as it does.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, DirectiveError> {
        let mut values = headers.get_all(MOCK_HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self::default());
        };
        if values.next().is_some() || value.len() > MAX_LENGTH {
            return Err(DirectiveError::Header);
        }
        Self::parse(value.to_str().map_err(|_| DirectiveError::Header)?)
    }

    fn parse(text: &str) -> Result<Self, DirectiveError> {
        let mut directives = Self::default();
        let mut seen = Vec::new();
        for directive in text.split(',') {
            let (name, value) = directive
                .trim()
                .split_once('=')
                .ok_or(DirectiveError::Unknown)?;
            let name = directives.set(name, value)?;
            if seen.contains(&name) {
                return Err(DirectiveError::Twice(name));
            }
            seen.push(name);
        }
        Ok(directives)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<&'static str, DirectiveError> {
        let status = |status: &u32| *status == 200 || (400..=599).contains(status);
        match name {
            "status" => {
                let status = number("status", value, 599, "200 or 400 to 599", status)?;
                self.status = u16::try_from(status).ok();
                Ok("status")
            }
            "ttfb" => {
                self.ttfb = Some(duration("ttfb", value, MAX_TTFB, "up to 10m, like 2s")?);
                Ok("ttfb")
            }
            "gap" => {
                self.gap = Some(duration("gap", value, MAX_GAP, "up to 1m, like 100ms")?);
                Ok("gap")
            }
            "chunks" => {
                let chunks = number("chunks", value, MAX_CHUNKS, "1 to 1000", |n| *n > 0)?;
                self.chunks = Some(chunks);
                Ok("chunks")
            }
            "cut" => {
                self.cut = Some(number("cut", value, MAX_CHUNKS, "0 to 1000", |_| true)?);
                Ok("cut")
            }
            "retry-after" => {
                let wanted = "0 to 3600 seconds";
                let seconds = number("retry-after", value, MAX_RETRY_AFTER, wanted, |_| true)?;
                self.retry_after = Some(seconds);
                Ok("retry-after")
            }
            "usage" if value == "none" => {
                self.no_usage = true;
                Ok("usage")
            }
            "usage" => Err(DirectiveError::Value {
                name: "usage",
                wanted: "none",
            }),
            _ => Err(DirectiveError::Unknown),
        }
    }
}

fn number(
    name: &'static str,
    value: &str,
    most: u32,
    wanted: &'static str,
    fits: impl Fn(&u32) -> bool,
) -> Result<u32, DirectiveError> {
    Some(value)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .filter(|number| *number <= most && fits(number))
        .ok_or(DirectiveError::Value { name, wanted })
}

fn duration(
    name: &'static str,
    value: &str,
    most: Duration,
    wanted: &'static str,
) -> Result<Duration, DirectiveError> {
    parse_duration(value)
        .filter(|duration| *duration <= most)
        .ok_or(DirectiveError::Value { name, wanted })
}

/// Durations as in the manifests: up to four of `<1-5 digits>h|m|s|ms`.
fn parse_duration(mut text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for _ in 0..4 {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let (number, rest) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, rest) = rest.split_at(letters);
        sum += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        if rest.is_empty() {
            return Some(sum);
        }
        text = rest;
    }
    None
}
