use serde_json::{Value, json};

use super::*;
use crate::dialect::openai::Operation;

fn spliced(body: &str, model: &str, quirks: &[Quirk]) -> (String, bool) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let head = Head::probe(Operation::ChatCompletions, &body).expect("valid");
    let splice = Splice::new(&head, model, quirks);
    let pieces = splice.pieces(&head, &body).concat();
    assert_eq!(splice.body(&head, &body).len(), pieces.len());
    (
        String::from_utf8(pieces).expect("UTF-8"),
        splice.hides_usage(),
    )
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_request_that_needs_nothing_is_sent_as_it_came() {
    for body in [
        r#" { "model" : "m" , "messages" : [ ] } "#,
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"model":"\u006d","stream":false,"stream_options":null}"#,
    ] {
        assert_eq!(spliced(body, "m", &[]), (body.to_owned(), false));
    }
}

#[test]
fn the_model_is_exchanged_with_its_escapes_and_nothing_else() {
    let (body, hides) = spliced(
        r#"{"x":"model","mod\u0065l" : "a\u0062" ,"y":1}"#,
        "a\"b\\\n😀",
        &[],
    );
    assert_eq!(
        body,
        "{\"x\":\"model\",\"mod\\u0065l\" : \"a\\\"b\\\\\\n😀\" ,\"y\":1}"
    );
    assert!(!hides);
}

#[test]
fn usage_is_asked_for_in_every_form_that_a_request_may_have() {
    for options in [
        "",
        r#","stream_options":null"#,
        r#","stream_options":{}"#,
        r#","stream_options" : { } "#,
        r#","stream_options":{"include_obfuscation":false}"#,
        r#","stream_options":{"include_usage":false,"a":[1]}"#,
        r#","stream_options":{"include_usage":null}"#,
        r#","stream_options":{"a":{"include_usage":true}}"#,
    ] {
        for (before, after) in [("", options), (options, "")] {
            let before = before
                .strip_prefix(',')
                .map(|b| format!("{b},"))
                .unwrap_or_default();
            let body = format!(r#"{{{before}"model":"m","stream":true{after}}}"#);
            let (sent, hides) = spliced(&body, "up/m", &[]);
            let (mut sent, mut came) = (value(&sent), value(&body));
            assert!(hides, "{body}");
            assert_eq!(
                sent["stream_options"]["include_usage"],
                json!(true),
                "{body}"
            );
            assert_eq!(sent["model"], json!("up/m"));
            for whole in [&mut sent, &mut came] {
                whole["model"] = json!(null);
                match whole["stream_options"].as_object_mut() {
                    Some(options) => drop(options.remove("include_usage")),
                    None => whole["stream_options"] = json!({}),
                }
            }
            assert_eq!(sent, came, "{body}");
        }
    }
}

#[test]
fn a_host_without_stream_options_gets_none() {
    let quirks = [Quirk::NoStreamOptions];
    for body in [
        r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
        r#"{"model":"m", "stream_options":{"include_usage":true} , "stream":true}"#,
        r#"{"model":"m","stream":true , "stream_options":null }"#,
        r#"{"model":"m","stream":true}"#,
    ] {
        let (sent, hides) = spliced(body, "n", &quirks);
        assert_eq!(
            value(&sent),
            json!({"model": "n", "stream": true}),
            "{body}"
        );
        assert!(!hides);
    }
}

#[test]
fn endpoints_whose_streams_carry_usage_unasked_are_not_asked() {
    let body = Bytes::from_static(br#"{"model":"m","stream":true}"#);
    for operation in [Operation::Responses, Operation::Embeddings] {
        let head = Head::probe(operation, &body).expect("valid");
        let splice = Splice::new(&head, "m", &[]);
        assert!(!splice.hides_usage());
        assert_eq!(splice.pieces(&head, &body).concat(), body);
    }
}

#[test]
fn a_long_prompt_is_sliced_not_copied() {
    let prompt = "p".repeat(64 * 1024);
    let body = Bytes::from(format!(
        r#"{{"model":"m","stream":true,"messages":"{prompt}"}}"#
    ));
    let head = Head::probe(Operation::ChatCompletions, &body).expect("valid");
    let pieces = Splice::new(&head, "n", &[]).pieces(&head, &body);
    let last = pieces[4].as_ptr_range();
    assert!(body.as_ptr_range().contains(&last.start) && pieces[4].len() > prompt.len());
}
