//! Answers on their way back.

use std::io::Write;
use std::time::Duration;

use http_body_util::BodyExt;

use super::client::Answer;
use super::sidecar::{BODY, KEY, STREAM, Sidecar, chat};
use super::upstream::{
    DONE, FINISH, GOOD, Step, USAGE, Upstream, answer, chunk, delta, good, good_stream, stream_head,
};
use super::{Client, Reply};

#[tokio::test]
async fn an_answer_says_who_served_it_at_what_cost() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, GOOD)
    );
    for (name, value) in [
        ("x-llmroute-route", "shop/chat"),
        ("x-llmroute-target", "up0"),
        ("x-llmroute-provider", "shop/up0"),
        ("x-llmroute-model", "gpt-4o"),
        ("x-llmroute-attempts", "1"),
        ("x-llmroute-config-version", "chat@1"),
        // 10 * 2.5 + 5 * 10 micro-USD.
        ("x-llmroute-cost-usd", "0.000075"),
        ("x-llmroute-usage", ""),
        ("x-request-id", "req_upstream"),
        ("x-should-retry", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let line = sidecar.line(0).await;
    assert_eq!(line["request_id"], answer.header("x-llmroute-request-id"));
    assert_eq!(line["route"], "shop/chat@1");
    assert_eq!(line["tokens"]["input"], 10);
    assert_eq!(line["usage"], "reported");
    assert_eq!(line["cost_pico_usd"], 75_000_000);
    assert_eq!(line["attempts"][0]["end"], "answered");
    assert_eq!(line["end"], "success");
    let metrics = sidecar.metrics();
    let call = "model=\"gpt-4o\",provider=\"shop/up0\",route=\"shop/chat\"";
    assert!(metrics.contains(&format!(
        "llmroute_requests_total{{end=\"success\",{call}}} 1"
    )));
    assert!(metrics.contains("model=\"gpt-4o\"} 0.000075"), "{metrics}");
}

#[tokio::test]
async fn the_upstream_gets_our_key_the_models_name_and_the_clients_bytes() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let mut request = chat(BODY);
    let headers = request.headers_mut();
    headers.insert("connection", "x-hop, keep-alive".parse().expect("valid"));
    for (name, value) in [
        ("x-hop", "1"),
        ("te", "trailers"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-llmroute-cost", "event"),
        ("openai-organization", "org-of-the-caller"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "k1"),
    ] {
        headers.insert(name, value.parse().expect("valid"));
    }
    assert_eq!(sidecar.client().call(request).await.status, 200);
    let seen = &upstream.seen()[0];
    assert!(
        seen.head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert!(
        seen.head
            .contains(&format!("authorization: Bearer {KEY}\r\n")),
        "{}",
        seen.head
    );
    assert!(
        seen.head.contains("accept-encoding: identity\r\n"),
        "{}",
        seen.head
    );
    assert!(
        seen.head.contains("openai-beta: assistants=v2\r\n"),
        "{}",
        seen.head
    );
    assert!(
        seen.head.contains("idempotency-key: k1\r\n"),
        "{}",
        seen.head
    );
    for absent in [
        "placeholder",
        "x-hop",
        "trailers",
        "cookie",
        "forwarded",
        "x-llmroute",
        "org-of",
    ] {
        assert!(!seen.head.contains(absent), "{absent} in {}", seen.head);
    }
    assert_eq!(
        String::from_utf8_lossy(&seen.body),
        BODY.replace("\"chat\"", "\"gpt-4o\"")
    );
}

#[tokio::test]
async fn a_stream_is_relayed_chunk_by_chunk_without_the_usage_that_only_we_asked_for() {
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    let held = gate.clone();
    let upstream = Upstream::new(move |_| {
        let mut reply = good_stream();
        reply.insert(2, Step::Held(held.clone()));
        reply
    })
    .await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let response = sidecar.client().send(chat(STREAM)).await;
    assert!(response.headers().get("x-llmroute-cost-usd").is_none());
    let (parts, mut body) = response.into_parts();
    let first = body.frame().await.expect("a frame").expect("whole");
    // The upstream waits for us: the first chunk came alone.
    assert_eq!(
        first.data_ref().map(|b| b.to_vec()),
        Some(delta("Hel").into_bytes())
    );
    gate.notify_one();
    let rest = Answer::read(http::Response::from_parts(parts, body)).await;
    assert!(rest.whole);
    assert_eq!(rest.text(), [&delta("lo"), FINISH, DONE].concat());
    let asked = String::from_utf8_lossy(&upstream.seen()[0].body).into_owned();
    assert!(
        asked.contains(r#""stream_options":{"include_usage":true}"#),
        "{asked}"
    );
    let line = sidecar.line(0).await;
    assert_eq!(
        (&line["usage"], &line["tokens"]["output"]),
        (&"reported".into(), &5.into())
    );
    assert_eq!(line["cost_pico_usd"], 75_000_000, "the same as unstreamed");
    assert!(sidecar.metrics().contains("llmroute_open_streams 0"));
}

#[tokio::test]
async fn a_client_that_asked_for_usage_gets_it() {
    let upstream = Upstream::always(good_stream()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let body = STREAM.replace("true,", r#"true,"stream_options":{"include_usage":true},"#);
    let answer = sidecar.chat(&body).await;
    assert!(answer.text().contains(USAGE));
    assert_eq!(
        String::from_utf8_lossy(&upstream.seen()[0].body),
        body.replace("\"chat\"", "\"gpt-4o\"")
    );
}

#[tokio::test]
async fn a_client_learns_the_cost_of_a_stream_as_it_wishes() {
    let upstream = Upstream::always(good_stream()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let wish = |how: &str| {
        let mut request = chat(STREAM);
        request
            .headers_mut()
            .insert("x-llmroute-cost", how.parse().expect("valid"));
        request
            .headers_mut()
            .insert("te", "trailers".parse().expect("valid"));
        request
    };
    let event = sidecar.client().call(wish("event")).await;
    assert!(
        event
            .text()
            .ends_with("data: [DONE]\n\n: x-llmroute-cost-usd: 0.000075\n\n"),
        "{}",
        event.text()
    );
    let trailer = sidecar.client().call(wish("trailer")).await;
    assert!(trailer.text().ends_with(DONE));
    let trailers = trailer.trailers.expect("trailers");
    assert_eq!(trailers["x-llmroute-cost-usd"], "0.000075");
    let neither = sidecar.chat(STREAM).await;
    assert!(neither.trailers.is_none() && neither.text().ends_with(DONE));
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_alike() {
    let upstream = Upstream::new(|n| if n == 0 { good() } else { good_stream() }).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let client = Client::http2(sidecar.address);
    let mut request = chat(BODY);
    request.headers_mut().remove("host");
    *request.uri_mut() = "http://127.0.0.1/v1/chat/completions"
        .parse()
        .expect("a URI");
    let answer = client.call(request.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, GOOD)
    );
    let (parts, _) = request.into_parts();
    let answer = client
        .call(http::Request::from_parts(parts, STREAM.to_owned().into()))
        .await;
    assert!(answer.whole && answer.text().ends_with(DONE));
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let upstream = Upstream::new(|n| if n % 2 == 0 { good() } else { good_stream() }).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for body in [BODY, STREAM, BODY, STREAM] {
        assert_eq!(sidecar.chat(body).await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_pooled_connection_that_the_upstream_closed_costs_no_call() {
    let reply = |_| [good(), vec![Step::Close]].concat();
    let upstream = Upstream::new(reply).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for _ in 0..3 {
        let answer = sidecar.chat(BODY).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-llmroute-attempts")),
            (200, "1")
        );
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn compressed(content_type: &str, text: &str) -> Reply {
    let packed = gzip(text);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    );
    vec![Step::Send([head.into_bytes(), packed].concat())]
}

#[tokio::test]
async fn a_compressed_answer_passes_as_it_came_and_is_metered() {
    let stream = [&delta("Hi"), FINISH, USAGE, DONE].concat();
    let copy = stream.clone();
    let upstream = Upstream::new(move |n| match n {
        0 => compressed("application/json", GOOD),
        _ => compressed("text/event-stream", &copy),
    })
    .await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for (n, (body, text)) in [(BODY, GOOD), (STREAM, &*stream)].into_iter().enumerate() {
        let answer = sidecar.chat(body).await;
        assert_eq!(answer.header("content-encoding"), "gzip");
        assert_eq!(answer.chunks.concat(), gzip(text), "call {n}");
        let line = sidecar.line(n).await;
        assert_eq!(
            (&line["usage"], &line["tokens"]["input"]),
            (&"reported".into(), &10.into())
        );
    }
}

#[tokio::test]
async fn an_answer_too_large_to_hold_is_relayed_with_its_length() {
    let filler = "x".repeat(600_000);
    let body = GOOD.replace("Hello!", &filler);
    let copy = body.clone();
    let upstream = Upstream::new(move |_| answer(200, "", &copy)).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(BODY).await;
    assert!(answer.whole && answer.text() == body);
    assert_eq!(answer.header("content-length"), body.len().to_string());
    assert_eq!(
        answer.header("x-llmroute-cost-usd"),
        "",
        "unknown at its head"
    );
    let line = sidecar.line(0).await;
    assert_eq!(line["cost_pico_usd"], 75_000_000);
}

#[tokio::test]
async fn usage_that_never_came_is_estimated_and_marked() {
    let silent = GOOD
        .split(",\"usage\"")
        .next()
        .map(|head| format!("{head}}}"));
    let silent = silent.expect("it has a usage");
    let upstream = Upstream::new(move |_| answer(200, "", &silent)).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(answer.header("x-llmroute-usage"), "estimated");
    assert_ne!(answer.header("x-llmroute-cost-usd"), "");
    let line = sidecar.line(0).await;
    assert_eq!(line["usage"], "estimated");
    assert!(line["tokens"]["input"].as_u64() > Some(0), "{line}");
    assert!(
        sidecar
            .metrics()
            .contains("llmroute_usage_estimated_total{")
    );
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_and_pays_for_what_it_used() {
    let upstream = Upstream::always(vec![stream_head(), chunk(&delta("Hello")), Step::Hang]).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let mut response = sidecar.client().send(chat(STREAM)).await;
    response
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("whole");
    drop(response);
    tokio::time::timeout(Duration::from_secs(2), upstream.left())
        .await
        .expect("cancelled");
    let line = sidecar.line(0).await;
    assert_eq!(
        (&line["end"], &line["usage"]),
        (&"cancelled".into(), &"estimated".into())
    );
    assert!(line["tokens"]["output"].as_u64() > Some(0), "{line}");
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn a_client_that_leaves_before_an_answer_pays_for_its_prompt() {
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let client = sidecar.client();
    let call = client.call(chat(BODY));
    tokio::time::timeout(Duration::from_millis(200), call)
        .await
        .expect_err("it hangs");
    tokio::time::timeout(Duration::from_secs(2), upstream.left())
        .await
        .expect("cancelled");
    let line = sidecar.line(0).await;
    assert_eq!(
        (&line["status"], &line["end"]),
        (&499.into(), &"cancelled".into())
    );
    assert!(line["tokens"]["input"].as_u64() > Some(0), "{line}");
    assert_eq!(line["tokens"]["output"], 0);
    assert_eq!(line["attempts"][0]["end"], "cancelled");
}

#[tokio::test]
async fn headers_of_the_hop_behind_us_stay_behind() {
    let noise = "connection: x-hop\r\nx-hop: 1\r\nset-cookie: a=b\r\nalt-svc: h3=\":443\"\r\n\
                 x-llmroute-cost-usd: 0\r\nkeep-alive: timeout=5\r\nx-ratelimit-limit-requests: 7\r\n";
    let upstream = Upstream::new(move |_| answer(200, noise, GOOD)).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(BODY).await;
    for name in ["x-hop", "set-cookie", "alt-svc", "keep-alive"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "7");
    assert_eq!(
        answer.header("x-llmroute-cost-usd"),
        "0.000075",
        "ours and no other"
    );
}

#[tokio::test]
async fn an_upstream_that_ends_every_answer_by_closing_is_served() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let bytes = [head.as_bytes(), GOOD.as_bytes()].concat();
    let upstream = Upstream::always(vec![Step::Send(bytes), Step::Close]).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    for _ in 0..2 {
        assert_eq!(sidecar.chat(BODY).await.text(), GOOD);
    }
}
