//! The text of a request: what `echo` repeats, and what counts as input.

use serde_json::Value;

use super::Operation;

/// No more is repeated.
const MAX_ECHO: usize = 64 * 1024;

/// See the module.
pub(super) struct Prompt {
    /// What the user said last.
    pub(super) echo: String,
    /// Bytes of all text, whoever said it.
    pub(super) bytes: usize,
}

// ---------------------------------------------------------------- impl Prompt

impl Prompt {
    pub(super) fn of(operation: Operation, request: &Value) -> Self {
        let member = match operation {
            Operation::ChatCompletions => &request["messages"],
            Operation::Completions => &request["prompt"],
            Operation::Responses | Operation::Embeddings => &request["input"],
        };
        let mut bytes = 0;
        each_text(member, &mut |text| bytes += text.len());
        each_text(&request["instructions"], &mut |text| bytes += text.len());
        let mut echo = String::new();
        each_text(last_said(member), &mut |text| echo.push_str(text));
        echo.truncate(echo.floor_char_boundary(MAX_ECHO));
        if echo.is_empty() {
            echo.push_str("mock");
        }
        Self { echo, bytes }
    }
}

/// The last message of the user's, or whatever there is instead of messages.
fn last_said(member: &Value) -> &Value {
    let messages = member.as_array().map(Vec::as_slice).unwrap_or_default();
    messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")
        .or_else(|| messages.last())
        .unwrap_or(member)
}

/// Strings, and the `content` and `text` of whatever holds some. The scanner has
/// bounded the depth.
fn each_text(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, each)),
        Value::Object(members) => {
            for name in ["content", "text"] {
                if let Some(value) = members.get(name) {
                    each_text(value, each);
                }
            }
        }
        // A token id stands for a token.
        Value::Number(_) => each("1234"),
        Value::Null | Value::Bool(_) => {}
    }
}
