//! The head of an answer to the client.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;

use super::attempt::Received;
use super::call::Call;
use super::headers::{self, CostWish};
use super::relay::{Chunks, ClientBody, Live};
use crate::server::Ending;
use crate::table::Rule;

const TRAILERS: HeaderValue = HeaderValue::from_static("x-llmroute-cost-usd, x-llmroute-usage");

/// An answer of ours.
pub(super) fn whole(
    mut call: Box<Call>,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response<ClientBody> {
    headers::length(&mut headers, body.len());
    call.answered(status);
    let mut chunks = Chunks::default();
    chunks.push(body);
    respond(status, headers, ClientBody::whole(call, chunks))
}

/// An upstream's answer.
pub(super) fn relayed(
    mut call: Box<Call>,
    received: Received,
    wish: CostWish,
    rule: &Rule,
    ending: Ending,
) -> Response<ClientBody> {
    let Received {
        parts,
        streamed,
        chunks,
        source,
        reader,
        decoder,
        mask,
    } = received;
    let (status, mut headers) = (parts.status, parts.headers);
    let success = reader.is_some();
    call.answer = reader;
    let declared = headers.get(CONTENT_LENGTH).cloned();
    headers::returned(&mut headers);
    headers::told_by_us(&mut headers, &call);
    let body = match source {
        None => {
            headers::length(&mut headers, chunks.len());
            if success && let Some(settled) = call.settle() {
                headers::cost(&mut headers, &settled);
            }
            call.answered(status);
            ClientBody::whole(call, chunks)
        }
        Some(source) => {
            // Where the reader may take bytes away, the length isn't known.
            if !streamed && source.size_hint().exact().is_some() {
                headers.extend(declared.map(|length| (CONTENT_LENGTH, length)));
            }
            if wish == CostWish::Trailer && success && !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(TRAILER, TRAILERS);
            }
            call.answered(status);
            let deadline = call.began + rule.timeouts.request;
            let idle = rule.timeouts.stream_idle;
            let live = Live::new(source, decoder, mask, wish, idle, deadline, ending);
            ClientBody::live(call, chunks, live)
        }
    };
    respond(status, headers, body)
}

fn respond(status: StatusCode, headers: HeaderMap, body: ClientBody) -> Response<ClientBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
