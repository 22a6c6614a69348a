//! Fuzz targets: whatever the bytes, nothing panics, and nothing that passes is
//! lost or changed.
//!
//! They run on stable Rust as plain tests (`cargo test -p llmroute-sidecar --test
//! fuzz`), over the corpora beside this file and over random input; `cargo bolero
//! test` drives the same targets with a fuzzing engine. Random bytes are seldom
//! JSON, so each input is also read as a recipe: every byte picks a fragment.

#[path = "fuzz/recipe.rs"]
mod recipe;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use llmroute_protocol as wire;
use llmroute_sidecar::dialect::openai::{
    Answer, Head, Operation, Reading, RequestError, Shape, Splice,
};
use llmroute_sidecar::meter::Quality;
use prost::Message;
use serde_json::{Value, json};

// ---------------------------------------------------------------- streams

/// However a stream is cut, the same is read and the same relayed.
#[test]
fn sse() {
    bolero::check!().for_each(|input: &[u8]| {
        stream(input);
        stream(recipe::stream(input).as_bytes());
    });
}

fn stream(bytes: &[u8]) {
    for operation in [Operation::ChatCompletions, Operation::Responses] {
        let (whole, reading) = relay(operation, Shape::Stream, false, [bytes]);
        assert_untouched(&whole, bytes);
        let (parts, same) = relay(operation, Shape::Stream, false, pieces(bytes));
        assert_untouched(&parts, bytes);
        assert_eq!(same, reading);
        let (hidden, same) = relay(operation, Shape::Stream, true, [bytes]);
        assert_eq!(same, reading, "hiding changes nothing that is read");
        assert!(is_subsequence(&hidden, bytes), "nothing is added or moved");
        let (parts, same) = relay(operation, Shape::Stream, true, pieces(bytes));
        assert_eq!(same, reading);
        // Beyond the bound of what is withheld, the cut decides what goes on first.
        if bytes.len() < 16 * 1024 {
            assert_eq!(parts, hidden);
        }
    }
}

/// Byte by byte, but for half a document at the very end.
fn assert_untouched(relayed: &[u8], bytes: &[u8]) {
    let rest = bytes.strip_prefix(relayed).expect("nothing is changed");
    let ends_an_event = |end: &&[u8]| rest.windows(end.len()).any(|window| window == *end);
    let ended = [&b"\n\n"[..], b"\r\r", b"\n\r\n"].iter().any(ends_an_event);
    assert!(!ended, "a whole event is missing: {rest:?}");
}

fn relay<'a>(
    operation: Operation,
    shape: Shape,
    hide: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Bytes, Reading) {
    let mut answer = Answer::new(operation, shape, &[], hide);
    let mut relayed = BytesMut::new();
    for piece in pieces {
        relayed.extend_from_slice(&answer.push(Bytes::copy_from_slice(piece)));
    }
    relayed.extend_from_slice(&answer.finish());
    (relayed.freeze(), answer.reading())
}

/// Cuts that depend on the bytes alone, so that a failure can be run again.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = 0x9E37_79B9_u32 ^ u32::try_from(bytes.len()).unwrap_or(0);
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        state = state
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223 + u32::from(bytes[0]));
        let length = usize::try_from(state >> 29)
            .unwrap_or(1)
            .clamp(1, bytes.len());
        let (piece, rest) = bytes.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}

// ---------------------------------------------------------------- requests

/// The probe agrees with a JSON parser, and a splice changes what it says and no more.
#[test]
fn request() {
    bolero::check!().for_each(|input: &[u8]| {
        probe(input);
        probe(recipe::request(input).as_bytes());
    });
}

fn probe(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    match (Head::probe(Operation::ChatCompletions, &body), parsed) {
        (Ok(head), Some(parsed)) => agree(&head, &body, &parsed),
        // serde refuses lone surrogates and numbers beyond a float; upstreams may not.
        (Ok(_), None) => {
            let text = String::from_utf8_lossy(bytes);
            assert!(
                text.contains("\\u") || text.contains(['e', 'E']) || text.len() > 300,
                "{text}"
            );
        }
        (Err(RequestError::Malformed { what, at }), Some(_)) => {
            panic!("valid JSON was refused: {what} at {at}")
        }
        (Err(_), _) => {}
    }
}

fn agree(head: &Head, body: &Bytes, parsed: &Value) {
    assert_eq!(parsed["model"].as_str(), Some(&*head.model));
    assert_eq!(parsed["stream"].as_bool().unwrap_or(false), head.stream);
    let asked = parsed["stream_options"]["include_usage"].as_bool();
    assert_eq!(asked.unwrap_or(false), head.include_usage);
    for quirks in [&[][..], &[wire::Quirk::NoStreamOptions]] {
        let splice = Splice::new(head, "other/\"model\"", quirks);
        let sent = bytes_of(splice.body(head, body));
        let mut sent: Value = serde_json::from_slice(&sent).expect("what is sent is JSON");
        let mut wanted = parsed.clone();
        wanted["model"] = json!("other/\"model\"");
        if splice.hides_usage() {
            assert!(head.stream && !head.include_usage);
            assert_eq!(sent["stream_options"]["include_usage"], json!(true));
            if !wanted["stream_options"].is_object() {
                wanted["stream_options"] = json!({});
            }
            wanted["stream_options"]["include_usage"] = json!(true);
        } else if head.stream && !quirks.is_empty() {
            assert!(sent.get("stream_options").is_none());
            wanted
                .as_object_mut()
                .map(|members| members.remove("stream_options"));
        }
        assert_eq!(sent.take(), wanted);
    }
}

fn bytes_of(body: impl http_body::Body<Data = Bytes, Error = std::convert::Infallible>) -> Bytes {
    let mut body = Box::pin(body);
    let mut all = BytesMut::new();
    while let Some(Some(Ok(frame))) = futures::FutureExt::now_or_never(body.frame()) {
        all.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    all.freeze()
}

// ---------------------------------------------------------------- usage

/// Usage adds up, or says that it doesn't.
#[test]
fn usage() {
    bolero::check!().for_each(|input: &[u8]| {
        document(input);
        document(recipe::usage(input).as_bytes());
    });
}

fn document(bytes: &[u8]) {
    let quirks = [wire::Quirk::CostUsd, wire::Quirk::CostUsdTicks];
    for operation in Operation::ALL {
        let (relayed, reading) = relay(operation, Shape::Json, false, [bytes]);
        assert_eq!(relayed, bytes);
        let (_, parts) = relay(operation, Shape::Json, false, pieces(bytes));
        assert_eq!(parts, reading);
        let mut answer = Answer::new(operation, Shape::Unknown, &quirks, true);
        answer.push(Bytes::copy_from_slice(bytes));
        let Some(usage) = reading.usage else {
            continue;
        };
        assert!(usage.reasoning <= usage.output);
        let parsed: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if usage.quality == Quality::Exact
            && let Some(prompt) = parsed["usage"]["prompt_tokens"].as_u64()
            && parsed["usage"]["prompt_cache_miss_tokens"].is_null()
            // One number under two names: the later one counts, as with a repeated name.
            && parsed["usage"]["input_tokens"].is_null()
        {
            assert_eq!(usage.total_input(), prompt, "{parsed}");
        }
    }
}

// ---------------------------------------------------------------- session

/// A message of the operator's, whole or broken, never panics, and a body that is
/// read means the same when it is written again.
#[test]
fn session() {
    bolero::check!().for_each(|input: &[u8]| {
        let _ = wire::FromOperator::decode(input);
        let _ = wire::FromSidecar::decode(input);
        for kind in 0..8 {
            let resource = wire::Resource {
                kind,
                body: Bytes::copy_from_slice(input),
                ..wire::Resource::default()
            };
            let Ok(body) = wire::Body::decode(&resource) else {
                continue;
            };
            if let wire::Body::Provider(provider) = &body {
                for model in &provider.models {
                    let price = model
                        .price
                        .as_ref()
                        .map(llmroute_sidecar::meter::Price::compile);
                    drop(price);
                }
            }
            let again = wire::Body::decode(&body.clone().into_resource()).expect("our own bytes");
            assert_eq!(again, body);
        }
    });
}
