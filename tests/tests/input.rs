//! Bad input, at the real binary: each is answered with its own code, reaches no
//! upstream, and harms no call after it.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Method;
use llmroute_tests::http::chat;
use llmroute_tests::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHAT: &str = "/v1/chat/completions";

/// One provider `p` behind the model `m`, each rule with `extra`.
async fn stage(name: &str, upstream: &Upstream, extra: &str) -> Result<Stage<'static>> {
    let route = manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))])
        .replace("      targets:", &format!("{extra}      targets:"));
    let provider = manifests::provider("p", &upstream.base_url(), None);
    Stage::shared(name, &(provider + &route)).await
}

#[tokio::test]
async fn bad_input_is_answered_with_its_own_code() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = stage("input", &upstream, "      limits: {maxBodyBytes: 1024}\n").await?;
    let json = Some("application/json");
    let (good, large) = (
        chat("m").to_string(),
        format!("{{\"model\":\"m\",\"x\":\"{}\"}}", "x".repeat(2000)),
    );
    let cases = vec![
        (
            "model_not_found",
            Method::POST,
            CHAT,
            json,
            chat("nobody").to_string().into(),
            404,
        ),
        (
            "body_too_large",
            Method::POST,
            CHAT,
            json,
            large.into(),
            413,
        ),
        (
            "invalid_json",
            Method::POST,
            CHAT,
            json,
            "{\"model\": ".into(),
            400,
        ),
        (
            "invalid_json",
            Method::POST,
            CHAT,
            json,
            Bytes::from_static(b"{\"model\": \"m\xff\"}"),
            400,
        ),
        ("invalid_field", Method::POST, CHAT, json, "{}".into(), 400),
        (
            "unsupported_media_type",
            Method::POST,
            CHAT,
            Some("text/plain"),
            good.clone().into(),
            415,
        ),
        (
            "method_not_allowed",
            Method::GET,
            CHAT,
            None,
            Bytes::new(),
            405,
        ),
        (
            "unknown_path",
            Method::POST,
            "/v1/nothing",
            json,
            good.clone().into(),
            404,
        ),
    ];
    for http in [Http::new(), Http::h2c()] {
        for (code, method, path, content_type, body, status) in &cases {
            let url = stage.sidecar.url(path);
            let sent = http.send(method.clone(), &url, *content_type, body.clone());
            let answer = sent.await?.whole().await?;
            ensure!(
                answer.status == *status && answer.code() == *code,
                "wanted {status} {code}: {} {}",
                answer.status,
                answer.text()
            );
            ensure!(
                !answer.header("x-llmroute-request-id").is_empty(),
                "{code}: no request id"
            );
        }
    }
    let named = stage.sidecar.chat("nobody").await?.text();
    ensure!(named.contains("it may call: m"), "{named}");
    ensure!(upstream.count() == 0, "bad input reached the upstream");
    ensure!(stage.sidecar.chat("m").await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn malformed_heads_floods_and_slow_clients_end() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = stage("heads", &upstream, "").await?;
    let mut flood = String::new();
    for i in 0..2000 {
        write!(flood, "x-{i}: y\r\n")?;
    }
    let smuggled = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    for (what, head, wanted) in [
        ("not HTTP", "\x16\x03\x01\r\n\r\n".to_owned(), &["400"][..]),
        (
            "a flood of headers",
            format!("GET /v1/models HTTP/1.1\r\nhost: a\r\n{flood}\r\n"),
            &["431"][..],
        ),
        (
            "no host",
            "GET /v1/models HTTP/1.1\r\n\r\n".to_owned(),
            &["400"][..],
        ),
        ("two lengths", smuggled.to_owned(), &["400"][..]),
    ] {
        let text = raw(&stage, &head).await.with_context(|| what.to_owned())?;
        let status = text.split(' ').nth(1).unwrap_or_default();
        ensure!(wanted.contains(&status), "{what}: {text}");
    }
    // A head that never ends is given up on.
    let start = std::time::Instant::now();
    let text = raw(&stage, "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n").await?;
    report!(
        "a slow head was given up after {:?}: {:?}",
        start.elapsed(),
        text.lines().next()
    );
    ensure!(stage.sidecar.chat("m").await?.status == 200);
    ensure!(upstream.count() == 1);
    Ok(())
}

/// What comes back for these bytes until the connection is closed.
async fn raw(stage: &Stage<'_>, text: &str) -> Result<String> {
    let mut socket = TcpStream::connect(stage.sidecar.data).await?;
    // The other end may close before it has read all.
    let _ = socket.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(90), async {
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = socket.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..n]);
        }
    });
    read.await.context("the connection wasn't closed")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn hop_by_hop_headers_and_the_clients_key_do_not_pass() -> Result<()> {
    let upstream = Upstream::with(|seen| {
        Reply::ordinary(seen, "hello")
            .header("x-llmroute-target", "forged")
            .header("keep-alive", "timeout=9")
    })
    .await?;
    let stage = stage("hygiene", &upstream, "").await?;
    let http = Http::new()
        .with("authorization", "Bearer sk-of-the-client")
        .with("connection", "x-secret-hop")
        .with("x-secret-hop", "1")
        .with("te", "trailers")
        .with("proxy-authorization", "Basic eA==")
        .with("x-llmroute-mock", "status=503")
        .with("x-app", "kept");
    let answer = http.post(&stage.sidecar.url(CHAT), &chat("m")).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    ensure!(
        answer.header("x-llmroute-target") == "p" && answer.header("keep-alive").is_empty(),
        "{:?}",
        answer.headers
    );
    let seen = upstream.seen()[0].clone();
    for gone in [
        "authorization",
        "x-secret-hop",
        "te",
        "proxy-authorization",
        "x-llmroute-mock",
    ] {
        ensure!(
            seen.header(gone).is_empty(),
            "{gone} went up: {:?}",
            seen.headers
        );
    }
    ensure!(seen.header("x-app") == "kept", "{:?}", seen.headers);
    Ok(())
}

#[tokio::test]
async fn too_many_at_once_are_told_to_come_again() -> Result<()> {
    let gap = Duration::from_millis(700);
    let upstream = Upstream::with(move |seen| Reply::ordinary(seen, "hello").after(gap)).await?;
    let stage = stage("many", &upstream, "      limits: {maxConcurrent: 2}\n").await?;
    let calls = (0..6).map(|_| stage.sidecar.chat("m"));
    let mut statuses = Vec::new();
    for answer in futures::future::join_all(calls).await {
        let answer = answer?;
        ensure!(
            answer.status == 200
                || (answer.code() == "too_many_concurrent"
                    && !answer.header("retry-after").is_empty()),
            "{}",
            answer.text()
        );
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    ensure!(statuses == [200, 200, 429, 429, 429, 429], "{statuses:?}");
    ensure!(stage.sidecar.chat("m").await?.status == 200);
    Ok(())
}
