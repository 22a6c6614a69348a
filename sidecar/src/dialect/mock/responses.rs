//! The responses endpoint: one message, in one part.

use serde_json::{Value, json};

use super::Reply;
use super::body::Script;

pub(super) fn whole(reply: &Reply<'_>) -> Value {
    let mut response = response(reply, status(reply));
    response["output"] = json!([item(reply, status(reply))]);
    if reply.shortened {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    if reply.usage {
        response["usage"] = usage(reply);
    }
    response
}

pub(super) fn stream(reply: &Reply<'_>, script: &mut Script) {
    let mut events = Events { script, next: 0 };
    let place = json!({"item_id": item_id(reply), "output_index": 0, "content_index": 0});
    for kind in ["response.created", "response.in_progress"] {
        events.send(kind, json!({"response": response(reply, "in_progress")}));
    }
    let mut opening = item(reply, "in_progress");
    opening["content"] = json!([]);
    events.send(
        "response.output_item.added",
        json!({"output_index": 0, "item": opening}),
    );
    events.send(
        "response.content_part.added",
        with(&place, "part", part("")),
    );
    for piece in reply.pieces() {
        events.script.chunk();
        let mut delta = with(&place, "delta", json!(piece));
        delta["logprobs"] = json!([]);
        events.send("response.output_text.delta", delta);
    }
    events.script.end_of_text();
    let mut text = with(&place, "text", json!(reply.text));
    text["logprobs"] = json!([]);
    events.send("response.output_text.done", text);
    events.send(
        "response.content_part.done",
        with(&place, "part", part(&reply.text)),
    );
    let item = item(reply, status(reply));
    events.send(
        "response.output_item.done",
        json!({"output_index": 0, "item": item}),
    );
    let last = if reply.shortened {
        "response.incomplete"
    } else {
        "response.completed"
    };
    events.send(last, json!({"response": whole(reply)}));
}

/// Numbers its events.
struct Events<'a> {
    script: &'a mut Script,
    next: u64,
}

impl Events<'_> {
    fn send(&mut self, kind: &str, mut data: Value) {
        data["type"] = kind.into();
        data["sequence_number"] = self.next.into();
        self.next += 1;
        self.script.event(Some(kind), &data);
    }
}

fn with(place: &Value, name: &str, value: Value) -> Value {
    let mut place = place.clone();
    place[name] = value;
    place
}

fn status(reply: &Reply<'_>) -> &'static str {
    if reply.shortened {
        "incomplete"
    } else {
        "completed"
    }
}

fn item_id(reply: &Reply<'_>) -> String {
    format!("msg_mock{:016x}", reply.id)
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item(reply: &Reply<'_>, status: &str) -> Value {
    json!({
        "id": item_id(reply), "type": "message", "role": "assistant", "status": status,
        "content": [part(&reply.text)],
    })
}

/// Every member that a strict client requires, with nothing answered yet.
fn response(reply: &Reply<'_>, status: &str) -> Value {
    json!({
        "id": format!("resp_mock{:016x}", reply.id), "object": "response",
        "created_at": reply.now, "status": status, "background": false,
        "error": null, "incomplete_details": null, "instructions": null,
        "max_output_tokens": null, "model": reply.model, "output": [],
        "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null}, "service_tier": "default",
        "store": false, "temperature": 1.0, "text": {"format": {"type": "text"}},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": null, "user": null, "metadata": {},
    })
}

fn usage(reply: &Reply<'_>) -> Value {
    json!({
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.total_tokens(),
    })
}
