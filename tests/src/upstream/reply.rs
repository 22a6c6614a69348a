//! What the provider answers: any bytes, in any pieces, at any pace, with any end.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Seen;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Proper,
    /// The connection breaks.
    Broken,
    /// Nothing more comes, and the connection stays.
    Silent,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status; 0 breaks the connection before any head.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body, piece by piece.
    pub pieces: Vec<Bytes>,
    /// Before the head.
    pub delay: Duration,
    /// Before each piece but the first.
    pub gap: Duration,
    /// After the last piece.
    pub ending: Ending,
    /// With a Content-Length instead of chunks.
    pub sized: bool,
}

// ---------------------------------------------------------------- impl Reply

impl Reply {
    /// These bytes in one piece.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            pieces: vec![body.into()],
            delay: Duration::ZERO,
            gap: Duration::ZERO,
            ending: Ending::Proper,
            sized: true,
        }
    }

    /// JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            &json!({"error": {"message": message, "type": "test", "param": null, "code": null}}),
        )
    }

    /// The connection breaks before any head.
    pub fn reset() -> Self {
        Self {
            status: 0,
            ..Self::new(200, "text/plain", "")
        }
    }

    /// No head ever comes.
    pub fn hang() -> Self {
        Self::new(200, "text/plain", "").after(Duration::from_hours(1))
    }

    /// Server-sent events, one a piece, in chunks.
    pub fn events(events: impl IntoIterator<Item = String>) -> Self {
        let pieces = events
            .into_iter()
            .map(|e| Bytes::from(format!("data: {e}\n\n")))
            .collect();
        Self {
            pieces,
            sized: false,
            ..Self::new(200, "text/event-stream", "")
        }
    }

    /// A chat's answer as the request asks for it: whole or streamed, with usage
    /// where it was asked for.
    pub fn ordinary(seen: &Seen, text: &str) -> Self {
        let request = seen.json();
        if seen.path.ends_with("/embeddings") {
            return Self::embedding(&request);
        }
        if request["stream"] == true {
            let words: Vec<_> = text.split_inclusive(' ').collect();
            Self::chat_stream(&request, &words)
        } else {
            Self::json(200, &completion(&request, text))
        }
    }

    /// A chat's stream of so many pieces of text, with the terminator.
    pub fn chat_stream(request: &Value, texts: &[&str]) -> Self {
        let usage_asked = request["stream_options"]["include_usage"] == true;
        let mut events: Vec<_> = texts
            .iter()
            .map(|text| chunk(request, &json!({"content": text}), &Value::Null))
            .collect();
        events.push(chunk(request, &json!({}), &json!("stop")));
        if usage_asked {
            let mut last = chunk(request, &json!({}), &Value::Null);
            last["choices"] = json!([]);
            last["usage"] = usage(texts.len());
            events.push(last);
        }
        let events = events.iter().map(Value::to_string);
        Self::events(events.chain(["[DONE]".to_owned()]))
    }

    fn embedding(request: &Value) -> Self {
        Self::json(
            200,
            &json!({
                "object": "list", "model": request["model"],
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
                "usage": {"prompt_tokens": 4, "total_tokens": 4}
            }),
        )
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The head comes so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The pieces come so far apart.
    #[must_use]
    pub fn every(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// Only so many pieces come, and then it ends so.
    #[must_use]
    pub fn cut(mut self, pieces: usize, ending: Ending) -> Self {
        self.pieces.truncate(pieces);
        self.ending = ending;
        self
    }

    /// The same bytes, in pieces of random sizes.
    #[must_use]
    pub fn split(mut self, rng: &mut fastrand::Rng) -> Self {
        let mut rest = Bytes::from(self.pieces.concat());
        self.pieces.clear();
        self.sized = false;
        while !rest.is_empty() {
            // Mostly a few bytes, so that no token, escape or character is safe.
            let most = if rng.u8(..4) == 0 { 4096 } else { 40 };
            let n = rng.usize(1..=most).min(rest.len());
            self.pieces.push(rest.split_to(n));
        }
        self
    }
}

fn completion(request: &Value, text: &str) -> Value {
    json!({
        "id": "chatcmpl-test", "object": "chat.completion", "created": 1, "model": request["model"],
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text}
        }],
        "usage": usage(text.split_inclusive(' ').count())
    })
}

fn chunk(request: &Value, delta: &Value, finish: &Value) -> Value {
    json!({
        "id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1,
        "model": request["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]
    })
}

fn usage(output: usize) -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": output, "total_tokens": 7 + output})
}
