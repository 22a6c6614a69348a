//! chat/completions and the legacy completions, which differ in few members.

use serde_json::{Value, json};

use super::Reply;
use super::body::Script;

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let choice = |index: u64| {
        json!({
            "index": index,
            "message": {"role": "assistant", "content": reply.text, "refusal": null, "annotations": []},
            "logprobs": null,
            "finish_reason": finish(reply),
        })
    };
    document(reply, "chatcmpl", "chat.completion", choice)
}

pub(super) fn whole_legacy(reply: &Reply<'_>) -> Value {
    let choice = |index: u64| json!({"index": index, "text": reply.text, "logprobs": null, "finish_reason": finish(reply)});
    document(reply, "cmpl", "text_completion", choice)
}

fn document(reply: &Reply<'_>, prefix: &str, object: &str, choice: impl Fn(u64) -> Value) -> Value {
    let mut whole = head(reply, prefix, object);
    whole["choices"] = (0..reply.choices).map(choice).collect();
    if reply.usage {
        whole["usage"] = reply.usage();
    }
    whole
}

pub(super) fn stream(reply: &Reply<'_>, script: &mut Script) {
    let shape = ("chatcmpl", "chat.completion.chunk");
    for index in 0..reply.choices {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        let choice =
            json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
        script.event(None, &chunk(reply, shape, &choice));
    }
    for piece in reply.pieces() {
        script.chunk();
        for index in 0..reply.choices {
            let delta = json!({"content": piece});
            let choice =
                json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
            script.event(None, &chunk(reply, shape, &choice));
        }
    }
    script.end_of_text();
    for index in 0..reply.choices {
        let choice =
            json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish(reply)});
        script.event(None, &chunk(reply, shape, &choice));
    }
    end(reply, shape, script);
}

pub(super) fn stream_legacy(reply: &Reply<'_>, script: &mut Script) {
    let shape = ("cmpl", "text_completion");
    let choice = |index: u64, text: &str, finish: Option<&str>| json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish});
    for piece in reply.pieces() {
        script.chunk();
        for index in 0..reply.choices {
            script.event(None, &chunk(reply, shape, &choice(index, piece, None)));
        }
    }
    script.end_of_text();
    for index in 0..reply.choices {
        let last = choice(index, "", Some(finish(reply)));
        script.event(None, &chunk(reply, shape, &last));
    }
    end(reply, shape, script);
}

/// An event of a stream. Where usage comes in the end, each other event says `null`.
fn chunk(reply: &Reply<'_>, (prefix, object): (&str, &str), choice: &Value) -> Value {
    let mut chunk = head(reply, prefix, object);
    chunk["choices"] = json!([choice]);
    if reply.usage && reply.include_usage {
        chunk["usage"] = Value::Null;
    }
    chunk
}

fn end(reply: &Reply<'_>, (prefix, object): (&str, &str), script: &mut Script) {
    if reply.usage && reply.include_usage {
        let mut chunk = head(reply, prefix, object);
        chunk["choices"] = json!([]);
        chunk["usage"] = reply.usage();
        script.event(None, &chunk);
    }
    script.done();
}

fn head(reply: &Reply<'_>, prefix: &str, object: &str) -> Value {
    json!({
        "id": format!("{prefix}-mock{:016x}", reply.id),
        "object": object,
        "created": reply.now,
        "model": reply.model,
        "system_fingerprint": null,
    })
}

fn finish(reply: &Reply<'_>) -> &'static str {
    if reply.shortened { "length" } else { "stop" }
}
