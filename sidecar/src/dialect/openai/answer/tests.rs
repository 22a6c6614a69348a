use serde_json::{Value, json};

use super::*;
use crate::meter::{PicoUsd, Quality};

const ERROR: ErrorBody<'_> = ErrorBody {
    message: "it broke",
    kind: "server_error",
    param: None,
    code: "upstream_cut",
};

const CHUNKS: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"id\":\"a\",\"model\":\"m-1\",\"service_tier\":\"default\",\"choices\":[],\"prompt_filter_results\":[{}]}\n\n",
    "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    "data:{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"é 😀\\n\"}}]}\r\n\r\n",
    "event: x\rid: 1\rdata: {\"id\":\"a\",\rdata: \"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\r",
);
const USAGE: &str = "data: {\"id\":\"a\",\"choices\":[],\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":8,\"total_tokens\":32}}";
const MODERATION: &str = "data: {\"id\":\"a\",\"choices\":[],\"moderation\":{},\"usage\":null}\n\n";
const DONE: &str = "data: [DONE]\n\n";

struct Relayed {
    bytes: Vec<u8>,
    reading: Reading,
}

fn relay<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    operation: Operation,
    hide: bool,
) -> Relayed {
    let mut answer = Answer::new(operation, Shape::Stream, &[], hide);
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(&answer.push(Bytes::copy_from_slice(piece)));
    }
    bytes.extend_from_slice(&answer.finish());
    Relayed {
        bytes,
        reading: answer.reading(),
    }
}

fn chat(body: &str, hide: bool) -> Relayed {
    relay([body.as_bytes()], Operation::ChatCompletions, hide)
}

fn json(operation: Operation, body: &str, quirks: &[Quirk]) -> Reading {
    let mut answer = Answer::new(operation, Shape::Json, quirks, false);
    answer.push(Bytes::copy_from_slice(body.as_bytes()));
    answer.finish();
    answer.reading()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn however_a_stream_is_cut_the_client_gets_all_but_the_hidden_chunk() {
    for ending in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"] {
        let body = [CHUNKS, USAGE, ending, MODERATION, DONE].concat();
        let wanted = [CHUNKS, MODERATION, DONE].concat();
        let whole = chat(&body, true);
        assert_eq!(text(&whole.bytes), wanted);
        let bytes = body.as_bytes();
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let parts = relay([a, b], Operation::ChatCompletions, true);
            assert_eq!(text(&parts.bytes), wanted, "cut at {cut}");
            assert_eq!(parts.reading, whole.reading, "cut at {cut}");
        }
        let single = relay(bytes.chunks(1), Operation::ChatCompletions, true);
        assert_eq!(text(&single.bytes), wanted);
        assert_eq!(single.reading, whole.reading);
    }
}

#[test]
fn a_client_that_asked_sees_every_byte() {
    let body = [CHUNKS, USAGE, "\n\n", DONE].concat();
    let seen = chat(&body, false);
    assert_eq!(text(&seen.bytes), body);
    let usage = seen.reading.usage.expect("reported");
    assert_eq!(
        (usage.input, usage.output, usage.quality),
        (24, 8, Quality::Exact)
    );
    assert_eq!(seen.reading.ending, Ending::Terminated);
    assert_eq!(seen.reading.model.as_deref(), Some("m-1"));
    assert_eq!(seen.reading.service_tier.as_deref(), Some("default"));
    assert_eq!(seen.reading.output_bytes, "é 😀\n".len() as u64);
}

#[test]
fn a_chunk_is_relayed_at_once_and_without_a_copy() {
    let mut answer = Answer::new(Operation::ChatCompletions, Shape::Stream, &[], true);
    for chunk in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a whole event\"}}]}\n\n",
        "data: {\"choices\":[{}]}\n\ndata: {\"choices\":[{}]}\r\n\r\n: comment",
        " goes on\n",
        "\n",
        DONE,
    ] {
        let chunk = Bytes::copy_from_slice(chunk.as_bytes());
        let relayed = answer.push(chunk.clone());
        assert_eq!(relayed, chunk);
        assert_eq!(relayed.as_ptr(), chunk.as_ptr());
    }
}

#[test]
fn an_event_that_comes_in_pieces_goes_on_when_it_is_whole() {
    for hide in [false, true] {
        let mut answer = Answer::new(Operation::ChatCompletions, Shape::Stream, &[], hide);
        let mut push = |chunk: &'static str| answer.push(Bytes::from_static(chunk.as_bytes()));
        assert_eq!(push("data: {\"id\":1,"), "");
        assert_eq!(push("\"choices\":[{\"de"), "");
        assert_eq!(
            push("lta\":{}}]}\n\ndata: [DON"),
            "data: {\"id\":1,\"choices\":[{\"delta\":{}}]}\n\n"
        );
        assert_eq!(push("E]\n"), "");
        assert_eq!(push("\n: hi"), "data: [DONE]\n\n: hi");
    }
}

#[test]
fn what_is_withheld_is_bounded() {
    let mut answer = Answer::new(Operation::ChatCompletions, Shape::Stream, &[], true);
    let mut relayed = answer.push(Bytes::from_static(b"data: {\"x\":\"")).len();
    for _ in 0..1024 {
        relayed += answer.push(Bytes::from(vec![b'x'; 1024])).len();
    }
    assert_eq!(relayed, 12 + 1024 * 1024);
    let tail = answer.push(Bytes::from_static(
        b"\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    ));
    assert!(
        !tail.is_empty(),
        "once relayed, an event is relayed to its end"
    );
    assert_eq!(answer.reading().usage.map(|usage| usage.output), Some(2));
}

#[test]
fn what_was_withheld_when_the_stream_ends_is_lost_only_where_it_is_half_a_document() {
    assert_eq!(
        text(&chat("data: {\"id\":\"a\",\"choices\":[", true).bytes),
        ""
    );
    for whole in [
        "data: {\"choices\":[{}]}",
        "data: {\"choices\":[{}]}\n",
        "data: [DONE]",
    ] {
        assert_eq!(text(&chat(whole, true).bytes), whole);
    }
    let unterminated = [CHUNKS, USAGE].concat();
    let seen = chat(&unterminated, true);
    assert_eq!(
        text(&seen.bytes),
        CHUNKS,
        "the hidden chunk without its empty line"
    );
    assert!(seen.reading.usage.is_some());
}

#[test]
fn usage_is_found_in_any_chunk_and_the_last_one_counts() {
    let usage = |members: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"finish_reason\":\"stop\"}}],{members}}}\n\n")
    };
    let cases = [
        (
            usage(r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#)
                + &usage(
                    r#""usage":{"prompt_tokens":11,"completion_tokens":76,"total_tokens":87}"#,
                ),
            (11, 76),
        ),
        (
            usage(r#""usage":{"prompt_tokens":3,"completion_tokens":4}"#)
                + &usage(r#""usage":null"#),
            (3, 4),
        ),
        (
            usage(r#""usage":{"prompt_tokens":3,"completion_tokens":4}"#)
                + &usage(
                    r#""usage":{"prompt_tokens":5,"completion_tokens":6},"x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":8}}"#,
                ),
            (5, 6),
        ),
        (
            usage(
                r#""x_groq":{"id":"r","usage":{"queue_time":0.1,"prompt_tokens":18,"prompt_time":1e-3,"completion_tokens":73,"total_tokens":91}}"#,
            ),
            (18, 73),
        ),
    ];
    for (body, (input, output)) in cases {
        let found = chat(&body, true).reading.usage.expect(&body);
        assert_eq!((found.input, found.output), (input, output), "{body}");
    }
}

#[test]
fn zeros_and_halves_are_no_usage() {
    for members in [
        r#""usage":{}"#,
        r#""usage":null"#,
        r#""usage":[]"#,
        r#""usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
        r#""usage":{"prompt_tokens":5}"#,
        r#""usage":{"prompt_tokens":"5","completion_tokens":"6"}"#,
        r#""choices":[{"usage":{"prompt_tokens":5,"completion_tokens":6}}]"#,
    ] {
        let body = format!("{{{members}}}");
        assert_eq!(
            json(Operation::ChatCompletions, &body, &[]).usage,
            None,
            "{body}"
        );
    }
}

#[test]
fn counts_may_be_written_as_decimals_but_not_as_fractions() {
    let body = r#"{"usage":{"prompt_tokens":28.0,"completion_tokens":1e2}}"#;
    let usage = json(Operation::ChatCompletions, body, &[])
        .usage
        .expect("counts");
    assert_eq!(
        (usage.input, usage.output, usage.quality),
        (28, 100, Quality::Exact)
    );
    let body = r#"{"usage":{"prompt_tokens":28,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0.5}}}"#;
    let usage = json(Operation::ChatCompletions, body, &[])
        .usage
        .expect("counts");
    assert_eq!(usage.quality, Quality::Estimated);
}

#[test]
fn a_stream_that_stops_in_the_middle_is_known_as_cut() {
    let ending = |body: &str| chat(body, true).reading.ending;
    let chunk = |finish: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"finish_reason\":{finish}}}]}}\n\n")
    };
    assert_eq!(ending(""), Ending::Cut);
    assert_eq!(ending(&chunk("null")), Ending::Cut);
    assert_eq!(ending(&chunk("\"stop\"")), Ending::Finished);
    assert_eq!(ending(&(chunk("null") + DONE)), Ending::Terminated);
    assert_eq!(ending("data: [DONE]"), Ending::Terminated);
    assert_eq!(
        ending(&(chunk("\"stop\"") + &chunk("null").replace(":0", ":1"))),
        Ending::Cut,
        "the second choice goes on"
    );
    assert_eq!(
        ending("data: {\"value\":\"x\"}\n\n"),
        Ending::Finished,
        "no shape of ours"
    );
    assert_eq!(ending("data: {\"choices\":[]}\n\n"), Ending::Cut);
    let broken = r#"{"id":"a","choices":[{"message":{"content":"x"#;
    assert_eq!(
        json(Operation::ChatCompletions, broken, &[]).ending,
        Ending::Cut
    );
    assert_eq!(
        json(Operation::ChatCompletions, " \n{}\n", &[]).ending,
        Ending::Terminated
    );
}

#[test]
fn an_error_inside_a_200_is_seen() {
    for (event, code) in [
        (
            r#"data: {"error":{"message":"m","type":"t","code":"tool_use_failed"}}"#,
            "tool_use_failed",
        ),
        (
            r#"data: {"error":{"code":502,"message":"m"},"choices":[{"index":0,"finish_reason":"error"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            "502",
        ),
        (
            r#"data: {"error":{"type":"overloaded","code":null}}"#,
            "overloaded",
        ),
        (r#"data: {"error":"plain"}"#, ""),
    ] {
        let seen = chat(&format!("{event}\n\n{DONE}"), true);
        assert_eq!(seen.reading.ending, Ending::Failed, "{event}");
        assert_eq!(
            &*seen.reading.error.expect("an error").code,
            code,
            "{event}"
        );
        assert!(text(&seen.bytes).contains("error"), "it is the client's");
    }
    let none = chat("data: {\"error\":null,\"choices\":[]}\n\n", true);
    assert_eq!(none.reading.error, None);
}

fn responses(events: &[Value]) -> Relayed {
    let mut body = String::new();
    for event in events {
        let kind = event["type"].as_str().expect("a type");
        body.extend(["event: ", kind, "\ndata: ", &event.to_string(), "\n\n"]);
    }
    let seen = relay([body.as_bytes()], Operation::Responses, false);
    assert_eq!(text(&seen.bytes), body);
    seen
}

#[test]
fn the_last_event_of_a_response_carries_usage_and_tier() {
    for kind in ["response.completed", "response.incomplete"] {
        let seen = responses(&[
            json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "service_tier": "auto", "model": "m", "usage": null, "error": null}}),
            json!({"type": "response.output_text.delta", "sequence_number": 1, "delta": "four"}),
            json!({"type": "response.output_text.done", "sequence_number": 2, "text": "four"}),
            json!({"type": kind, "sequence_number": 3, "response": {"service_tier": "default", "output": [{"content": [{"text": "four"}]}],
                "usage": {"input_tokens": 325, "input_tokens_details": {"cached_tokens": 25}, "output_tokens": 190, "output_tokens_details": {"reasoning_tokens": 100}, "total_tokens": 515}}}),
        ]);
        let usage = seen.reading.usage.expect("reported");
        assert_eq!(
            (usage.input, usage.cached, usage.output, usage.reasoning),
            (300, 25, 190, 100)
        );
        assert_eq!(seen.reading.service_tier.as_deref(), Some("default"));
        assert_eq!(seen.reading.output_bytes, 4);
        assert_eq!(seen.reading.ending, Ending::Terminated);
    }
}

#[test]
fn a_response_may_fail_in_three_ways() {
    for event in [
        json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "boom", "message": "m"}}}),
        json!({"type": "error", "code": "boom", "message": "m", "param": null}),
        json!({"type": "error", "error": {"type": "t", "code": "boom", "message": "m"}}),
    ] {
        let seen = responses(std::slice::from_ref(&event));
        assert_eq!(seen.reading.ending, Ending::Failed, "{event}");
        assert_eq!(
            &*seen.reading.error.expect("an error").code,
            "boom",
            "{event}"
        );
    }
    let body = r#"{"object":"response","status":"failed","error":{"code":"boom"},"usage":null}"#;
    assert_eq!(json(Operation::Responses, body, &[]).ending, Ending::Failed);
}

#[test]
fn a_cut_stream_ends_in_an_error_event_of_its_own() {
    // Too long to be held back: half of it is with the client.
    let long = format!("data: {{\"x\":\"{}", "x".repeat(20_000));
    let whole = "data: {\"choices\":[{\"delta\":{}}]}\n\n";
    for (sent, separator) in [
        ("data: {\"choices\":[{\"delta\":{}}]}\n\n", ""),
        ("data: {\"choices\":[{\"de", ""),
        ("data: {\"choices\":[{}]}\n", ""),
        ("data: {\"choices\":[{}]}\r", ""),
        ("event: x\nda", ""),
        (&long, "\n\n"),
        (": comment", "\n"),
        (": comment\n", ""),
        ("", ""),
    ] {
        let mut answer = Answer::new(Operation::ChatCompletions, Shape::Stream, &[], true);
        answer.push(Bytes::copy_from_slice(whole.as_bytes()));
        answer.push(Bytes::copy_from_slice(sent.as_bytes()));
        let event = answer
            .stream_error(&ERROR)
            .expect("a stream that didn't end");
        assert_eq!(
            text(&event),
            format!(
                "{separator}data: {{\"error\":{{\"message\":\"it broke\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_cut\"}}}}\n\n"
            ),
            "{sent:?}"
        );
    }
    let mut answer = Answer::new(Operation::ChatCompletions, Shape::Stream, &[], true);
    answer.push(Bytes::copy_from_slice(DONE.as_bytes()));
    assert_eq!(
        answer.stream_error(&ERROR),
        None,
        "nothing follows the terminator"
    );
}

#[test]
fn a_cut_response_ends_in_both_events_with_the_next_numbers() {
    let mut answer = Answer::new(Operation::Responses, Shape::Stream, &[], false);
    answer.push(Bytes::from_static(
        b"event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":6,\"response\":{\"id\":\"resp_7\"}}\n\n",
    ));
    let events = answer
        .stream_error(&ERROR)
        .expect("a stream that didn't end");
    let data: Vec<Value> = text(&events)
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert_eq!(data[0]["response"]["id"], "resp_7");
    assert_eq!(
        (&data[0]["sequence_number"], &data[1]["sequence_number"]),
        (&json!(7), &json!(8))
    );
    assert_eq!(data[1]["error"]["code"], "upstream_cut");
    let mut again = Answer::new(Operation::Responses, Shape::Stream, &[], false);
    again.push(events);
    assert_eq!(again.reading().ending, Ending::Failed);
}

#[test]
fn the_shape_is_told_by_headers_then_by_the_first_byte() {
    let shape = |headers: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, http::HeaderValue::from_static(value));
        }
        Shape::of(&map)
    };
    assert_eq!(
        shape(&[("content-type", "text/event-stream; charset=utf-8")]),
        Shape::Stream
    );
    assert_eq!(shape(&[("content-type", "Application/JSON")]), Shape::Json);
    assert_eq!(
        shape(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip")
        ]),
        Shape::Opaque
    );
    assert_eq!(
        shape(&[
            ("content-type", "application/json"),
            ("content-encoding", "Identity")
        ]),
        Shape::Json
    );
    assert_eq!(shape(&[]), Shape::Unknown);
    for body in [
        "\n\n {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
        &format!("\n{USAGE}\n\n"),
    ] {
        let mut answer = Answer::new(Operation::ChatCompletions, Shape::Unknown, &[], false);
        for byte in body.as_bytes() {
            answer.push(Bytes::copy_from_slice(&[*byte]));
        }
        assert!(answer.reading().usage.is_some(), "{body}");
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_passed() {
    let mut answer = Answer::new(Operation::ChatCompletions, Shape::Opaque, &[], true);
    let chunk = Bytes::from_static(b"\x1f\x8b\x08");
    assert_eq!(answer.push(chunk.clone()), chunk);
    assert_eq!(answer.reading().output_bytes, 3);
    assert_eq!(answer.reading().ending, Ending::Cut);
    answer.finish();
    assert_eq!(answer.reading().ending, Ending::Terminated);
}

#[test]
fn what_a_vendor_charges_is_taken_only_where_the_catalog_says_so() {
    let body = r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"cost":1.23455e-2,"cost_in_usd_ticks":232856000}}"#;
    let cost = |quirks: &[Quirk]| {
        json(Operation::ChatCompletions, body, quirks)
            .usage
            .expect("reported")
            .vendor_cost
    };
    assert_eq!(cost(&[]), None);
    assert_eq!(cost(&[Quirk::CostUsd]), Some(PicoUsd(12_345_500_000)));
    assert_eq!(cost(&[Quirk::CostUsdTicks]), Some(PicoUsd(23_285_600_000)));
}
