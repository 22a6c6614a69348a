//! Embeddings: vectors that depend on their text and on nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Reply;

const DIMENSIONS: usize = 16;
const MAX_DIMENSIONS: usize = 4096;
/// As many as the real endpoint takes.
const MAX_INPUTS: usize = 2048;

pub(super) fn whole(reply: &Reply<'_>, request: &Value) -> Value {
    let dimensions = request["dimensions"]
        .as_u64()
        .and_then(|dimensions| usize::try_from(dimensions).ok())
        .map_or(DIMENSIONS, |dimensions| dimensions.clamp(1, MAX_DIMENSIONS));
    let base64 = request["encoding_format"] == "base64";
    let data: Vec<Value> = inputs(&request["input"])
        .iter()
        .take(MAX_INPUTS)
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input, dimensions);
            let embedding = if base64 {
                encode(&vector)
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let mut whole = json!({"object": "list", "data": data, "model": reply.model});
    if reply.usage {
        whole["usage"] =
            json!({"prompt_tokens": reply.input_tokens, "total_tokens": reply.input_tokens});
    }
    whole
}

/// A string, a list of strings, a list of tokens, or a list of those.
fn inputs(input: &Value) -> Vec<String> {
    match input {
        Value::Array(items) if !items.iter().all(Value::is_number) => {
            items.iter().map(ToString::to_string).collect()
        }
        one => vec![one.to_string()],
    }
}

fn vector(input: &str, dimensions: usize) -> Vec<f32> {
    let digest = Sha256::digest(input);
    (0..dimensions)
        .map(|at| {
            let byte = digest[at % digest.len()]
                .rotate_left(u32::try_from(at / digest.len() % 8).unwrap_or(0));
            (f32::from(byte) - 127.5) / 127.5
        })
        .collect()
}

/// As the SDKs ask for it: little-endian floats.
fn encode(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|float| float.to_le_bytes())
        .collect();
    STANDARD.encode(bytes).into()
}
