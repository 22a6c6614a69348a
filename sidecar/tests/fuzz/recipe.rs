//! Documents built from fragments, one for each byte of a recipe.

const REQUEST: &[&str] = &[
    r#""model":"gpt-4o""#,
    r#""mod\u0065l" : "a\u002fb""#,
    r#""model":"""#,
    r#""model":null"#,
    r#""stream":true"#,
    r#" "stream" : false "#,
    r#""stream":null"#,
    r#""stream_options":{"include_usage":true}"#,
    r#""stream_options":{"include_usage":false,"x":{}}"#,
    r#""stream_options":{}"#,
    r#""stream_options" : null"#,
    r#""stream_options":{"a":[{"include_usage":1}]}"#,
    r#""messages":[{"role":"user","content":"{\"model\":\"no\"}\n"}]"#,
    r#""x":{"model":"inner","stream":true}"#,
    r#""max_tokens":1e3"#,
    r#""n":2"#,
    r#""deep":[[[[[[]]]]],"é😀\ud83d\ude00"]"#,
    "\"\":\t-0.5e-3",
];

const STREAM: &[&str] = &[
    "data: ",
    "data:",
    "data",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    ": comment\n\n",
    "event: error\n",
    "id: 1\n",
    "[DONE]",
    "data: [DONE]\n\n",
    "{",
    "}",
    "\u{feff}",
    r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"é\n😀"},"finish_reason":null}],"usage":null}"#,
    r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\r\r",
    r#"{"error":{"code":502}}"#,
    r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":6}}}"#,
];

const USAGE: &[&str] = &[
    r#""prompt_tokens":10"#,
    r#""completion_tokens":5"#,
    r#""total_tokens":15"#,
    r#""total_tokens":40"#,
    r#""prompt_tokens":18446744073709551615"#,
    r#""completion_tokens":18446744073709551615"#,
    r#""prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":3}"#,
    r#""prompt_tokens_details":{"cached_tokens":99}"#,
    r#""prompt_tokens_details":null"#,
    r#""completion_tokens_details":{"reasoning_tokens":7}"#,
    r#""prompt_cache_miss_tokens":6"#,
    r#""num_cached_tokens":2"#,
    r#""cost":1.5e-7"#,
    r#""cost_in_usd_ticks":12"#,
    r#""prompt_tokens":1.5"#,
    r#""prompt_tokens_details":{"cache_write_tokens_details":{"ttl_30m_tokens":1,"ttl_12h_tokens":2}}"#,
    r#""input_tokens":3"#,
    r#""output_tokens":4"#,
    r#""cost":-1"#,
    r#""cost":1e999"#,
];

/// An object of members.
pub(crate) fn request(recipe: &[u8]) -> String {
    // With more, one is given twice for certain, and refused.
    format!("{{{}}}", pick(REQUEST, &recipe[..recipe.len().min(6)], ","))
}

/// Pieces of a stream, in any order.
pub(crate) fn stream(recipe: &[u8]) -> String {
    pick(STREAM, recipe, "")
}

/// An answer with a usage object.
pub(crate) fn usage(recipe: &[u8]) -> String {
    format!(
        r#"{{"model":"m","usage":{{{}}}}}"#,
        pick(USAGE, recipe, ",")
    )
}

fn pick(fragments: &[&str], recipe: &[u8], between: &str) -> String {
    let picked: Vec<&str> = recipe
        .iter()
        .take(64)
        .map(|byte| fragments[usize::from(*byte) % fragments.len()])
        .collect();
    picked.join(between)
}
