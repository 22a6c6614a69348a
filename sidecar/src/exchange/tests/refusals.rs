//! What a client gets wrong, and what it is told.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

use super::Upstream;
use super::client::raw;
use super::sidecar::{BODY, Sidecar, chat, resources};
use super::upstream::good;
use crate::server::Limits;
use crate::table::fixture::{of_route, route, rule, snapshot};

fn with(name: &'static str, value: &str) -> Request<Full<Bytes>> {
    let mut request = chat(BODY);
    request
        .headers_mut()
        .insert(name, value.parse().expect("valid"));
    request
}

fn asking(method: Method, path: &str) -> Request<Full<Bytes>> {
    let mut request = chat(BODY);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request
}

#[tokio::test]
async fn each_mistake_has_its_status_and_code() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let mut untyped = chat(BODY);
    untyped.headers_mut().remove("content-type");
    for (request, status, code) in [
        (untyped, 415, "unsupported_media_type"),
        (
            with("content-type", "text/plain"),
            415,
            "unsupported_media_type",
        ),
        (
            with("content-encoding", "gzip"),
            415,
            "unsupported_content_encoding",
        ),
        (with("expect", "200-maybe"), 417, "unsupported_expectation"),
        (
            asking(Method::POST, "/v1/audio/speech"),
            404,
            "unknown_path",
        ),
        (
            asking(Method::GET, "/v1/chat/completions"),
            405,
            "method_not_allowed",
        ),
        (
            asking(Method::DELETE, "/v1/models"),
            405,
            "method_not_allowed",
        ),
        (chat("{\"model\": \"chat\""), 400, "invalid_json"),
        (chat(""), 400, "invalid_json"),
        (chat("[1]"), 400, "invalid_json"),
        (chat("{\"messages\": []}"), 400, "invalid_field"),
        (chat("{\"model\": 7}"), 400, "invalid_field"),
        (chat("{\"model\": \"nope\"}"), 404, "model_not_found"),
        (
            with("x-llmroute-mock", "status=banana"),
            400,
            "invalid_field",
        ),
    ] {
        let answer = sidecar.client().call(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-llmroute-request-id").len(), 32);
        let metrics = sidecar.metrics();
        assert!(
            metrics.contains(&format!("llmroute_errors_total{{code=\"{code}\"}}")),
            "{code}"
        );
    }
    assert!(upstream.seen().is_empty());
    let answer = sidecar
        .client()
        .call(asking(Method::GET, "/completions"))
        .await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn invalid_utf8_is_refused_here_and_not_by_some_provider() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let mut body = BODY.as_bytes().to_vec();
    let at = BODY.find("planted").expect("the prompt");
    body[at] = 0xff;
    let (parts, _) = chat(BODY).into_parts();
    let request = Request::from_parts(parts, Full::from(body));
    let answer = sidecar.client().call(request).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (400, "invalid_json")
    );
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn an_unknown_model_is_told_what_may_be_called() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat("{\"model\": \"gpt-9\"}").await;
    let error = &answer.json()["error"];
    assert_eq!(error["param"], "model");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("`gpt-9`") && message.ends_with("chat"),
        "{message}"
    );
}

#[tokio::test]
async fn a_body_is_bounded_by_its_rule_declared_or_not() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::ruled(&[&upstream], |rule| {
        let limits = rule.limits.get_or_insert_default();
        limits.max_body_bytes = 100_000;
    })
    .await;
    let body = BODY.replace("planted", &"x".repeat(200_000));
    let answer = sidecar.chat(&body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (413, "body_too_large")
    );
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = raw(sidecar.address, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let fits = BODY.replace("planted", &"x".repeat(90_000));
    assert_eq!(sidecar.chat(&fits).await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_refused_by_its_length_is_not_asked_for() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\nconnection: close\r\ncontent-length: ";
    let answer = raw(
        sidecar.address,
        format!("{head}99999999\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let whole = format!("{head}{}\r\n\r\n{BODY}", BODY.len());
    let answer = raw(sidecar.address, whole.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "),
        "{answer}"
    );
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let line = "POST /v1/chat/completions HTTP/1.1\r\n";
    for (head, status) in [
        ("content-length: 0\r\n\r\n", 400),
        ("host: a\r\nhost: b\r\ncontent-length: 0\r\n\r\n", 400),
        ("host: a b\r\ncontent-length: 0\r\n\r\n", 400),
        ("host: user@a\r\ncontent-length: 0\r\n\r\n", 400),
        (
            "host: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
            400,
        ),
        ("host: a\r\nbad header: 1\r\n\r\n", 400),
        ("host: a\r\ncontent-length: -1\r\n\r\n", 400),
    ] {
        let answer = raw(sidecar.address, format!("{line}{head}").as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
    }
    let absolute = "GET http://evil/v1/models HTTP/1.1\r\nhost: good\r\n\r\n";
    let answer = raw(sidecar.address, absolute.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let sidecar = Sidecar::bare(Limits::default()).await;
    let line = "GET /v1/models HTTP/1.1\r\nhost: a\r\n";
    let many = "x-many: 1\r\n".repeat(200);
    let long = format!("x-long: {}\r\n", "a".repeat(100_000));
    for headers in [many, long] {
        let answer = raw(sidecar.address, format!("{line}{headers}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn without_config_a_call_is_told_to_come_again() {
    let sidecar = Sidecar::bare(Limits::default()).await;
    for request in [chat(BODY), asking(Method::GET, "/v1/models")] {
        let answer = sidecar.client().call(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (503, "no_config")
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    sidecar.config.apply(snapshot([]));
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (404, "no_route")
    );
}

#[tokio::test]
async fn a_route_that_was_never_good_answers_its_matches_with_an_error() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::bare(Limits::default()).await;
    let mut broken = rule("broken", ["chat"], []);
    broken.targets.clear();
    let mut all = resources(&[&upstream], |rule| rule.matches.clear());
    all.push(of_route(route("broken", [broken])));
    sidecar.config.apply(snapshot(all));
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (500, "route_invalid")
    );
    assert!(answer.text().contains("shop/broken"));
    assert_eq!(
        sidecar.chat(&BODY.replace("chat", "else")).await.status,
        200
    );
}

#[tokio::test]
async fn the_models_that_may_be_called_are_listed() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for path in ["/v1/models", "/models"] {
        let answer = sidecar.client().call(asking(Method::GET, path)).await;
        assert_eq!(answer.json()["data"][0]["id"], "chat");
    }
    let one = sidecar
        .client()
        .call(asking(Method::GET, "/v1/models/chat"))
        .await;
    assert_eq!(
        (one.status.as_u16(), one.json()["id"].as_str()),
        (200, Some("chat"))
    );
    let other = sidecar
        .client()
        .call(asking(Method::GET, "/v1/models/nope"))
        .await;
    assert_eq!(
        (other.status.as_u16(), other.code().as_str()),
        (404, "model_not_found")
    );
    assert_eq!(sidecar.line(0).await["operation"], "models");
}

#[tokio::test]
async fn paths_are_served_with_and_without_v1() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/completions",
        "/embeddings",
        "/v1/responses",
    ] {
        let answer = sidecar.client().call(asking(Method::POST, path)).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let paths: Vec<_> = upstream
        .seen()
        .iter()
        .map(|s| s.head.lines().next().map(String::from))
        .collect();
    assert_eq!(paths[3].as_deref(), Some("POST /v1/embeddings HTTP/1.1"));
}
