//! What an upstream's answer tells about another try.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::Cause;

/// `Retry-After` in seconds, whole or not, or as a date; or OpenAI's
/// `retry-after-ms`, which is finer and wins.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::trim).map(String::from);
    if let Some(millis) = headers.get("retry-after-ms").and_then(text)
        && let Some(seconds) = millis
            .parse()
            .ok()
            .and_then(|ms: f64| duration(ms / 1000.0))
    {
        return Some(seconds);
    }
    let value = headers.get(RETRY_AFTER).and_then(text)?;
    if let Ok(seconds) = value.parse() {
        return duration(seconds);
    }
    let date = httpdate::parse_http_date(&value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// `None` for what no clock can wait for.
fn duration(seconds: f64) -> Option<Duration> {
    /// A longer wait than a day is one for ever.
    const MAX_SECONDS: f64 = 24.0 * 60.0 * 60.0;
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_SECONDS)))
}

/// What an error means that came inside a 200, by its code or type. Codes that
/// aren't here are about the request: they pass on, as a 4xx does.
pub(super) fn cause_of_code(code: &str) -> Option<Cause> {
    if let Ok(status) = code.parse::<u16>() {
        return StatusCode::from_u16(status).ok().and_then(Cause::of_status);
    }
    match code {
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "slow_down"
        | "insufficient_quota"
        | "too_many_requests" => Some(Cause::RateLimited),
        "server_is_overloaded"
        | "overloaded_error"
        | "overloaded"
        | "service_unavailable"
        | "engine_overloaded" => Some(Cause::Overloaded),
        "server_error"
        | "api_error"
        | "internal_error"
        | "internal_server_error"
        | "upstream_error"
        | "bad_gateway" => Some(Cause::ServerError),
        "timeout" | "timeout_error" | "gateway_timeout" => Some(Cause::Timeout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header value"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_read_in_each_of_its_forms() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(of("retry-after", "2"), Some(seconds(2.0)));
        assert_eq!(of("retry-after", " 1.5 "), Some(seconds(1.5)));
        assert_eq!(of("retry-after-ms", "250"), Some(seconds(0.25)));
        assert_eq!(
            of("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(seconds(7.0))
        );
        assert_eq!(
            of("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT"),
            Some(seconds(0.0))
        );
        assert_eq!(of("retry-after", "1e300"), Some(seconds(86_400.0)));
        for nonsense in ["-1", "NaN", "soon", "", "inf s"] {
            assert_eq!(of("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_error_about_the_request_is_no_reason_to_try_elsewhere() {
        assert_eq!(cause_of_code("context_length_exceeded"), None);
        assert_eq!(cause_of_code("400"), None);
        assert_eq!(cause_of_code("529"), Some(Cause::Overloaded));
        assert_eq!(
            cause_of_code("rate_limit_exceeded"),
            Some(Cause::RateLimited)
        );
    }
}
