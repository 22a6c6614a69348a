use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::*;
use crate::dialect::openai::{Answer, Ending, Reading, Shape};

const OPERATIONS: [(Operation, &str); 4] = [
    (
        Operation::ChatCompletions,
        r#""messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"hello to you all"}]}]"#,
    ),
    (Operation::Completions, r#""prompt":"hello to you all""#),
    (Operation::Embeddings, r#""input":["a","b"]"#),
    (
        Operation::Responses,
        r#""instructions":"be brief","input":[{"role":"user","content":[{"type":"input_text","text":"hello to you all"}]}]"#,
    ),
];

struct Answered {
    response: http::response::Parts,
    text: String,
    cut: bool,
    reading: Reading,
    /// Until the head, and until the end.
    took: [Duration; 2],
}

async fn call(operation: Operation, model: &str, members: &str, directives: &str) -> Answered {
    let body = Bytes::from(format!(r#"{{"model":"{model}",{members}}}"#));
    let head = Head::probe(operation, &body).expect("a valid request");
    let mut headers = HeaderMap::new();
    if !directives.is_empty() {
        headers.insert(MOCK_HEADER, directives.parse().expect("a header"));
    }
    let began = Instant::now();
    let response = answer(Call {
        head: &head,
        body: &body,
        model,
        directives: Directives::of(&headers).expect("valid directives"),
        include_usage: true,
        now: 1_700_000_000,
        id: 7,
    })
    .await;
    let first = began.elapsed();
    let (response, mut body) = response.into_parts();
    let mut reader = Answer::new(operation, Shape::of(&response.headers), &[], false);
    let (mut text, mut cut) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => text.extend_from_slice(&reader.push(data)),
            Ok(Err(_)) => panic!("no trailers were asked for"),
            Err(MockCut) => cut = true,
        }
    }
    reader.finish();
    Answered {
        response,
        text: String::from_utf8(text).expect("UTF-8"),
        cut,
        reading: reader.reading(),
        took: [first, began.elapsed()],
    }
}

fn refusal(directives: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(MOCK_HEADER, directives.parse().expect("a header"));
    match Directives::of(&headers) {
        Err(error) => error.to_string(),
        Ok(read) => panic!("{directives:?} was accepted: {read:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_counts_the_same_streamed_and_not() {
    for (operation, members) in OPERATIONS {
        let whole = call(operation, "echo", members, "").await;
        let streamed = format!(r#"{members},"stream":true"#);
        let streamed = call(operation, "echo", &streamed, "").await;
        assert_eq!(whole.reading.ending, Ending::Terminated, "{}", whole.text);
        assert_eq!(
            streamed.reading.ending,
            Ending::Terminated,
            "{}",
            streamed.text
        );
        let usage = whole.reading.usage.expect("reported");
        assert_eq!(streamed.reading.usage, Some(usage));
        assert_eq!(streamed.reading.output_bytes, whole.reading.output_bytes);
        let wanted = if operation == Operation::Embeddings {
            (1, 0)
        } else {
            (usage.input, 4)
        };
        assert_eq!((usage.input, usage.output), wanted, "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn echo_says_what_the_user_said_last() {
    for (operation, members) in OPERATIONS {
        if operation == Operation::Embeddings {
            continue;
        }
        let whole = call(operation, "echo", members, "").await;
        assert!(whole.text.contains("hello to you all"), "{}", whole.text);
        assert!(!whole.text.contains("be brief"), "{}", whole.text);
    }
}

#[tokio::test(start_paused = true)]
async fn embeddings_come_as_floats_or_as_base64_one_for_each_input() {
    let floats = call(
        Operation::Embeddings,
        "echo",
        r#""input":["a","b","a"],"dimensions":40"#,
        "",
    )
    .await;
    let floats: Value = serde_json::from_str(&floats.text).expect("JSON");
    assert_eq!(floats["data"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        floats["data"][0]["embedding"].as_array().map(Vec::len),
        Some(40)
    );
    assert_eq!(
        floats["data"][0]["embedding"],
        floats["data"][2]["embedding"]
    );
    assert_ne!(
        floats["data"][0]["embedding"],
        floats["data"][1]["embedding"]
    );
    let base64 = call(
        Operation::Embeddings,
        "echo",
        r#""input":[1,2],"encoding_format":"base64""#,
        "",
    )
    .await;
    let base64: Value = serde_json::from_str(&base64.text).expect("JSON");
    assert_eq!(
        base64["data"].as_array().map(Vec::len),
        Some(1),
        "a list of tokens is one input"
    );
    assert!(base64["data"][0]["embedding"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_model_fails_as_it_is_called_and_as_it_is_told() {
    let (operation, members) = OPERATIONS[0];
    for (model, directives, status, retry_after, code) in [
        ("fail-429", "", 429, Some("1"), "rate_limit_exceeded"),
        ("fail-503", "", 503, None, "server_is_overloaded"),
        (
            "echo",
            "status=503, retry-after=7",
            503,
            Some("7"),
            "server_is_overloaded",
        ),
        ("echo", "status=401", 401, None, "invalid_api_key"),
        ("gpt-4o", "", 404, None, "model_not_found"),
    ] {
        let failed = call(operation, model, members, directives).await;
        assert_eq!(failed.response.status, status);
        let header = failed.response.headers.get(RETRY_AFTER);
        assert_eq!(header.and_then(|value| value.to_str().ok()), retry_after);
        let body: Value = serde_json::from_str(&failed.text).expect("JSON");
        assert_eq!(body["error"]["code"], code);
    }
    let healed = call(operation, "fail-503", members, "status=200").await;
    assert_eq!(healed.response.status, 200);
}

#[tokio::test(start_paused = true)]
async fn chunks_and_pauses_are_as_many_as_the_directives_say() {
    let (operation, members) = OPERATIONS[0];
    let streamed = format!(r#"{members},"stream":true"#);
    let told = call(operation, "echo", &streamed, "ttfb=2s,chunks=5,gap=100ms").await;
    assert_eq!(
        told.took,
        [Duration::from_secs(2), Duration::from_millis(2400)]
    );
    // A role, five texts, a finish, a usage; the terminator too is an event.
    assert_eq!(told.reading.events, 9, "{}", told.text);
    let slow = call(operation, "slow", &streamed, "").await;
    assert_eq!(
        slow.took,
        [Duration::from_secs(1), Duration::from_millis(2800)]
    );
    let many = call(operation, "echo", &streamed, "chunks=1000").await;
    assert_eq!(many.reading.events, 1004);
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_breaks_off() {
    for (operation, members) in OPERATIONS {
        let whole = call(operation, "cut", members, "").await;
        assert!(whole.cut, "{}", whole.text);
        assert_eq!(whole.reading.ending, Ending::Cut);
        if operation == Operation::Embeddings {
            continue;
        }
        let streamed = format!(r#"{members},"stream":true"#);
        let streamed = call(operation, "echo", &streamed, "chunks=4,cut=3").await;
        assert!(streamed.cut);
        assert_eq!(streamed.reading.ending, Ending::Cut, "{}", streamed.text);
        assert!(streamed.text.contains("you"), "{}", streamed.text);
        assert_eq!(streamed.reading.output_bytes, 12, "{}", streamed.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_the_text_and_says_so() {
    let members = r#""messages":[{"role":"user","content":"éééé éééé"}],"max_tokens":1,"n":2"#;
    let limited = call(Operation::ChatCompletions, "echo", members, "").await;
    let body: Value = serde_json::from_str(&limited.text).expect("JSON");
    assert_eq!(body["choices"][1]["message"]["content"], "éé");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(
        limited.reading.usage.map(|usage| usage.output),
        Some(2),
        "each choice counts"
    );
}

#[tokio::test(start_paused = true)]
async fn usage_can_be_withheld() {
    for (operation, members) in OPERATIONS {
        for stream in [false, true] {
            let members = format!(r#"{members},"stream":{stream}"#);
            let silent = call(operation, "echo", &members, "usage=none").await;
            assert_eq!(silent.reading.usage, None, "{}", silent.text);
            assert_eq!(silent.reading.ending, Ending::Terminated);
        }
    }
}

#[test]
fn a_directive_that_cannot_be_followed_is_refused_by_name() {
    for (directives, part) in [
        ("", "knows status"),
        ("sleep=1s", "knows status"),
        ("status", "knows status"),
        ("status=503,", "knows status"),
        ("status=302", "status must be 200 or 400 to 599"),
        ("status=99999999999", "status must be"),
        ("status=+503", "status must be"),
        ("ttfb=2", "ttfb must be up to 10m"),
        ("ttfb=11m", "ttfb must be"),
        ("ttfb=1s1s1s1s1s", "ttfb must be"),
        ("gap=2m", "gap must be"),
        ("chunks=0", "chunks must be 1 to 1000"),
        ("chunks=1001", "chunks must be"),
        ("cut=-1", "cut must be"),
        ("retry-after=1h", "retry-after must be"),
        ("usage=some", "usage must be none"),
        ("chunks=1,chunks=2", "chunks is given twice"),
    ] {
        let message = refusal(directives);
        assert!(message.contains(part), "{directives:?}: {message}");
        assert!(message.starts_with(MOCK_HEADER));
    }
    let long = "x".repeat(300);
    assert!(refusal(&long).contains("at most 256"));
    let mut twice = HeaderMap::new();
    twice.append(MOCK_HEADER, "chunks=1".parse().expect("a header"));
    twice.append(MOCK_HEADER, "cut=1".parse().expect("a header"));
    assert_eq!(Directives::of(&twice), Err(DirectiveError::Header));
}
