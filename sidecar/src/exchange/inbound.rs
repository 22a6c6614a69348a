//! What a client sends, checked and read.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Version};
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

use crate::dialect::openai::RequestError;
use crate::error::ApiError;

/// For the whole body. Over loopback even 16 MiB take some milliseconds.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Below it a body is read without asking which limit holds.
const SURELY_ALLOWED: u64 = 64 * 1024;
/// What is reserved at once for a declared length: more comes as bytes come.
const RESERVE: u64 = 1024 * 1024;

/// Refuses heads that two parsers could read in two ways. One more such case is
/// none here: of `Content-Length` beside `Transfer-Encoding`, hyper drops the
/// former, and what goes upstream is framed anew.
pub(super) fn check_head(parts: &Parts) -> Result<(), ApiError> {
    let headers = &parts.headers;
    if parts.version < Version::HTTP_2 {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host,
            // HTTP/1.0 knows no Host.
            (None, None) if parts.version == Version::HTTP_10 => return Ok(()),
            _ => return Err(ApiError::InvalidHost),
        };
        let host = authority(host.as_bytes()).ok_or(ApiError::InvalidHost)?;
        if parts.uri.authority().is_some_and(|named| *named != host) {
            return Err(ApiError::InvalidHost);
        }
    }
    Ok(())
}

fn authority(host: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(host).ok()?;
    (!authority.as_str().contains('@') && !authority.host().is_empty()).then_some(authority)
}

/// What a path that calls a model asks of its request.
pub(super) fn check_call(parts: &Parts) -> Result<(), ApiError> {
    if parts.method != Method::POST {
        return Err(ApiError::MethodNotAllowed { allow: "POST" });
    }
    let headers = &parts.headers;
    if let Some(expect) = headers.get(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(ApiError::UnsupportedExpectation);
    }
    let encoded = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(encoded) {
        return Err(ApiError::UnsupportedEncoding);
    }
    let content_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    if !content_type.is_some_and(is_json) {
        return Err(ApiError::UnsupportedMediaType);
    }
    Ok(())
}

/// `application/json`, with or without parameters, and its `+json` relatives.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence == b"application/json"
        || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
}

/// What a path that only tells asks of its request.
pub(super) fn check_get(parts: &Parts) -> Result<(), ApiError> {
    match parts.method {
        Method::GET => Ok(()),
        _ => Err(ApiError::MethodNotAllowed { allow: "GET" }),
    }
}

/// Reads the body once. `limit` is asked only where the body is long.
pub(super) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    limit: impl Fn() -> u64,
) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
{
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut allowed = SURELY_ALLOWED;
    if let Some(declared) = declared.filter(|declared| *declared > allowed) {
        allowed = limit();
        if declared > allowed {
            // Before a byte is read: `100 Continue` isn't sent either.
            return Err(ApiError::BodyTooLarge { limit: allowed });
        }
    }
    timeout(BODY_WITHIN, collect(body, declared, allowed, limit))
        .await
        .unwrap_or(Err(ApiError::BodyTimeout))
}

async fn collect<B>(
    body: B,
    declared: Option<u64>,
    mut allowed: u64,
    limit: impl Fn() -> u64,
) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ApiError::BodyIncomplete)?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > allowed {
            allowed = limit();
            if length > allowed {
                return Err(ApiError::BodyTooLarge { limit: allowed });
            }
        }
        if length == data.len() as u64 {
            // Mostly the only one: then it isn't copied.
            first = data;
            continue;
        }
        if joined.is_empty() {
            let reserve = declared
                .unwrap_or(length * 2)
                .clamp(length, RESERVE.max(length));
            joined.reserve(usize::try_from(reserve).unwrap_or_default());
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let problem = error.to_string().into();
        match error.param() {
            Some(field) => Self::InvalidField { field, problem },
            None => Self::InvalidJson { problem },
        }
    }
}

#[cfg(test)]
mod tests;
