//! The table of errors: complete, stable, and equal to docs/errors.md.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

/// One of each; the match below fails to compile where one is missing.
fn examples() -> Vec<ApiError> {
    use ApiError as E;
    let all = vec![
        E::InvalidHost,
        E::UnknownPath,
        E::MethodNotAllowed { allow: "POST" },
        E::UnsupportedMediaType,
        E::UnsupportedEncoding,
        E::UnsupportedExpectation,
        E::BodyTooLarge { limit: 16_777_216 },
        E::BodyTimeout,
        E::BodyIncomplete,
        E::InvalidJson {
            problem: "the body is not valid JSON: expected a value at byte 7".into(),
        },
        E::InvalidField {
            field: "model",
            problem: "`model` is required".into(),
        },
        E::ModelNotFound {
            model: "gpt-9".into(),
            models: "chat, embed-*".into(),
        },
        E::NoRoute,
        E::NoConfig,
        E::RouteInvalid {
            route: "shop/chat".into(),
        },
        E::TooManyConcurrent { limit: 8 },
        E::NoTarget {
            reason: "openai: SecretNotFound".into(),
        },
        E::UpstreamUnauthorized,
        E::UpstreamResolve,
        E::UpstreamForbidden,
        E::UpstreamConnect,
        E::UpstreamTls,
        E::UpstreamConnectTimeout,
        E::UpstreamClosed,
        E::UpstreamProtocol,
        E::UpstreamFirstByteTimeout,
        E::UpstreamIdleTimeout,
        E::RequestTimeout,
        E::UpstreamRedirect,
        E::UpstreamTruncated,
        E::UpstreamStreamError,
        E::ShuttingDown,
        E::Internal,
    ];
    let names: BTreeSet<_> = all
        .iter()
        .map(|e| std::mem::discriminant(e).name())
        .collect();
    assert_eq!(names.len(), all.len(), "each variant once");
    all
}

trait Named {
    fn name(&self) -> String;
}

impl Named for std::mem::Discriminant<ApiError> {
    fn name(&self) -> String {
        format!("{self:?}")
    }
}

/// The number of variants, from the source: a test that forgets one fails.
fn variants() -> usize {
    include_str!("../error.rs")
        .lines()
        .filter(|line| line.trim_start().starts_with("#[error("))
        .count()
}

#[test]
fn every_error_has_an_example() {
    assert_eq!(examples().len(), variants());
}

#[test]
fn codes_are_distinct() {
    let codes: Vec<_> = examples().iter().map(|e| e.facts().code).collect();
    let distinct: BTreeSet<_> = codes.iter().collect();
    assert_eq!(distinct.len(), codes.len(), "{codes:?}");
}

#[test]
fn a_body_has_openais_shape() {
    for error in examples() {
        let body: serde_json::Value =
            serde_json::from_slice(&error.body()).expect("a body is JSON");
        let inner = &body["error"];
        assert_eq!(inner["code"], error.facts().code);
        assert!(inner["message"].as_str().is_some_and(|m| !m.is_empty()));
        assert!(
            inner["type"].is_string() && inner.get("param").is_some(),
            "{body}"
        );
    }
}

#[test]
fn only_what_another_target_may_mend_is_tried_again() {
    for error in examples() {
        let facts = error.facts();
        if facts.retry.is_some() {
            assert!(
                facts.code.starts_with("upstream_") && facts.status.is_server_error(),
                "{}",
                facts.code
            );
        }
    }
}

#[test]
fn statuses_map_to_the_causes_of_the_crd() {
    for (status, cause) in [
        (408, Some(Cause::Timeout)),
        (429, Some(Cause::RateLimited)),
        (500, Some(Cause::ServerError)),
        (502, Some(Cause::ServerError)),
        (503, Some(Cause::Overloaded)),
        (529, Some(Cause::Overloaded)),
        (400, None),
        (401, None),
        (404, None),
        (409, None),
        (422, None),
        (200, None),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(Cause::of_status(status), cause, "{status}");
    }
}

#[test]
fn the_documentation_is_this_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let wanted = document();
    if std::env::var_os("LLMROUTE_BLESS").is_some() {
        std::fs::write(path, &wanted).expect("docs/errors.md can be written");
    }
    let found = std::fs::read_to_string(path).expect("docs/errors.md exists");
    assert!(
        found == wanted,
        "docs/errors.md is stale: LLMROUTE_BLESS=1 cargo test -p llmroute-sidecar error::"
    );
}

fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    for error in examples() {
        let Facts {
            status,
            code,
            retry,
            retry_after,
            ..
        } = error.facts();
        let retry = retry.map_or("", Cause::crd);
        let after = retry_after.map_or(String::new(), |s| format!(" `Retry-After: {s}`."));
        let _ = writeln!(
            text,
            "| `{code}` | {} | {retry} | {error}.{after} |",
            status.as_u16()
        );
    }
    text.push_str(REST);
    text
}

impl Cause {
    /// As `retry.on` spells it.
    const fn crd(self) -> &'static str {
        match self {
            Self::ConnectFailure => "ConnectFailure",
            Self::Timeout => "Timeout",
            Self::RateLimited => "RateLimited",
            Self::ServerError => "ServerError",
            Self::Overloaded => "Overloaded",
        }
    }
}

const INTRODUCTION: &str = "\
<!-- Written by a test of sidecar/src/error.rs; LLMROUTE_BLESS=1 writes it anew. -->
# What the sidecar answers when it can't relay an answer

The body has OpenAI's shape, so that every SDK raises its own exception:

```json
{\"error\": {\"message\": \"…\", \"type\": \"invalid_request_error\", \"param\": \"model\", \"code\": \"model_not_found\"}}
```

`code` is stable. Each answer carries `x-llmroute-request-id`, which is also in the access log. \"Tried again as\" names the
entry of `retry.on` under which another target is tried first; the client sees the error only when no try is left.
After more than one try the answer has `x-should-retry: false`, so that an SDK doesn't try it all again.

| code | status | tried again as | message |
|---|---|---|---|
";

const REST: &str = "
An upstream's own answer passes on, our key in it starred: any 4xx but 408 and 429 at once; 408, 429 and 5xx when no try is left. A 401 on a
credential of ours becomes `upstream_unauthorized`; with auth `Passthrough` it is the caller's own and passes on.

Once the first byte of a stream has gone out, the status can't change any more. An error then comes as the last event,
`data: {\"error\": {…}}` with the same codes, and no `[DONE]` follows. An answer that isn't a stream of events is cut off: the
client's HTTP library reports it as incomplete.

A head that isn't HTTP, has more than 100 headers or more than 32 KiB is answered by 400 or 431 without a body, and the connection
is closed.
";
