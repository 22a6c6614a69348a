use super::*;

fn probe(body: &str) -> Result<Head, RequestError> {
    Head::probe(
        Operation::ChatCompletions,
        &Bytes::copy_from_slice(body.as_bytes()),
    )
}

fn refusal(body: &str) -> RequestError {
    match probe(body) {
        Err(error) => error,
        Ok(head) => panic!("{body} was accepted: {head:?}"),
    }
}

#[test]
fn what_routing_needs_is_found_wherever_it_stands() {
    let head = probe(
        r#"{"messages":[{"role":"user","content":"{\"model\":\"no\"}","model":"no","stream":true}],
            "max_completion_tokens": 50, "stream" : true, "n":2,
            "stream_options":{"x":{"include_usage":false},"include_usage":true}, "mod\u0065l" : "gpt-4o\u002dmini" }"#,
    )
    .expect("valid");
    assert_eq!(&*head.model, "gpt-4o-mini");
    assert!(head.stream && head.include_usage);
    assert_eq!((head.max_output_tokens, head.choices), (Some(50), 2));
}

#[test]
fn what_is_left_out_or_null_has_its_default() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","stream":null,"stream_options":null,"n":null,"max_tokens":null}"#,
        r#"{"model":"m","stream":false,"stream_options":{"include_usage":null},"max_tokens":"many"}"#,
        r#"{"model":"m","max_tokens":1e400,"n":0.5}"#,
    ] {
        let head = probe(body).expect(body);
        assert!(!head.stream && !head.include_usage, "{body}");
        assert_eq!((head.max_output_tokens, head.choices), (None, 1), "{body}");
    }
}

#[test]
fn a_refusal_names_the_member() {
    let cases = [
        (r"{}", "`model` is required"),
        (r#"{"Model":"m"}"#, "`model` is required"),
        (r#"{"model":null}"#, "`model` must be a string"),
        (r#"{"model":1}"#, "`model` must be a string"),
        (r#"{"model":["m"]}"#, "`model` must be a string"),
        (
            r#"{"model":""}"#,
            "`model` must be the name of a model, not an empty string",
        ),
        (
            r#"{"model":"m","stream":"true"}"#,
            "`stream` must be true or false",
        ),
        (
            r#"{"model":"m","stream":{}}"#,
            "`stream` must be true or false",
        ),
        (
            r#"{"model":"m","stream_options":[]}"#,
            "`stream_options` must be an object",
        ),
        (
            r#"{"model":"m","stream_options":1}"#,
            "`stream_options` must be an object",
        ),
        (
            r#"{"model":"m","stream_options":{"include_usage":1}}"#,
            "`stream_options.include_usage` must be true or false",
        ),
        (r#"{"model":"a","model":"b"}"#, "`model` is given twice"),
        (
            r#"{"model":"a","mod\u0065l":"a"}"#,
            "`model` is given twice",
        ),
        (
            r#"{"model":"a","stream":true,"stream":false}"#,
            "`stream` is given twice",
        ),
        (
            r#"{"model":"a","stream_options":{},"stream_options":{}}"#,
            "`stream_options` is given twice",
        ),
    ];
    for (body, message) in cases {
        let error = refusal(body);
        assert_eq!(error.to_string(), message, "{body}");
        assert!(
            error.param().is_some_and(|param| message.contains(param)),
            "{body}"
        );
    }
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(MAX_MODEL_BYTES + 1));
    assert_eq!(refusal(&long), RequestError::ModelTooLong);
}

#[test]
fn what_is_no_json_object_is_refused_with_the_place() {
    let cases = [
        ("", "the body is not valid JSON: it ends early at byte 0"),
        (
            r#"{"model":"m""#,
            "the body is not valid JSON: it ends early at byte 12",
        ),
        (
            r#"{"model":"m"} x"#,
            "the body is not valid JSON: something follows the document at byte 14",
        ),
        (
            "\u{feff}{}",
            "the body is not valid JSON: a byte order mark at byte 0",
        ),
        (r#"[{"model":"m"}]"#, "the body must be a JSON object"),
        (r#""model""#, "the body must be a JSON object"),
        ("17", "the body must be a JSON object"),
    ];
    for (body, message) in cases {
        let error = refusal(body);
        assert_eq!(error.to_string(), message, "{body}");
        assert_eq!(error.param(), None);
    }
    let invalid = Bytes::from_static(b"{\"model\":\"\xff\"}");
    let error = Head::probe(Operation::ChatCompletions, &invalid).expect_err("not UTF-8");
    assert_eq!(
        error,
        RequestError::Malformed {
            what: "invalid UTF-8",
            at: 10
        }
    );
}

#[test]
fn inline_media_counts_for_no_text() {
    let picture = format!("data:image/png;base64,{}", "A".repeat(5000));
    let body = format!(
        r#"{{"model":"m","messages":[{{"url":"{picture}"}},{{"data":"{}"}}]}}"#,
        "B".repeat(5000)
    );
    let head = probe(&body).expect("valid");
    assert!(head.input_bytes < 100, "{}", head.input_bytes);
}
