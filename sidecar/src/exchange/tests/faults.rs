//! Upstreams that break, stall, lie or never end.

use std::time::{Duration, Instant};

use llmroute_protocol as proto;
use tokio::io::AsyncWriteExt;

use super::Upstream;
use super::sidecar::{BODY, KEY, STREAM, Sidecar, priced, resources};
use super::upstream::{GOOD, Step, answer, chunk, delta, good, good_stream, stream_head};
use crate::table::fixture::{credential, of_provider, of_route, provider, route, rule, target};

fn hurried(rule: &mut proto::Rule) {
    rule.timeouts = Some(proto::Timeouts {
        connect_ms: 200,
        first_byte_ms: 200,
        stream_idle_ms: 200,
        request_ms: 1500,
    });
}

async fn at(base_url: &str) -> Sidecar {
    Sidecar::with([
        of_route(route("chat", [rule("all", [], [target("far")])])),
        of_provider(proto::Provider {
            base_url: base_url.into(),
            models: vec![priced()],
            open_models: true,
            ..provider("far")
        }),
        credential("far", KEY),
    ])
    .await
}

/// A server that speaks, but not TLS.
async fn no_tls() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("binds");
    let url = format!("https://{}/v1", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    });
    url
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_named_by_what_failed() {
    let tls = no_tls().await;
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        format!("http://{}/v1", listener.local_addr().expect("bound"))
    };
    for (base_url, code) in [
        (&*refused, "upstream_connect_failed"),
        ("http://no-such-host.invalid/v1", "upstream_resolve_failed"),
        (&*tls, "upstream_tls_failed"),
        ("http://169.254.169.254/v1", "upstream_address_forbidden"),
    ] {
        let sidecar = at(base_url).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (502, code),
            "{base_url}"
        );
        assert_eq!(answer.header("x-llmroute-provider"), "shop/far");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_moves_on() {
    for reply in [
        vec![Step::Reset],
        vec![Step::Close],
        vec![Step::Send(b"HTTP/1.1 20".to_vec()), Step::Close],
        vec![Step::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), Step::Close],
    ] {
        let (bad, fine) = (
            Upstream::always(reply).await,
            Upstream::always(good()).await,
        );
        let sidecar = Sidecar::over(&[&bad, &fine]).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-llmroute-attempts")),
            (200, "2")
        );
        assert_eq!(bad.seen().len(), 1, "not sent twice to the one that failed");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_moves_on() {
    for reply in [vec![Step::Hang], vec![stream_head(), Step::Hang]] {
        let bad = Upstream::always(reply).await;
        let fine = Upstream::always(good_stream()).await;
        let sidecar = Sidecar::ruled(&[&bad, &fine], hurried).await;
        let answer = sidecar.chat(STREAM).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-llmroute-target")),
            (200, "up1")
        );
        bad.left().await;
        let sidecar = Sidecar::ruled(&[&bad], |rule| {
            hurried(rule);
            rule.retry.as_mut().expect("set").attempts = 0;
        })
        .await;
        let answer = sidecar.chat(STREAM).await;
        let told = (answer.status.as_u16(), answer.code());
        assert_eq!(told, (504, "upstream_first_byte_timeout".into()));
    }
}

#[tokio::test]
async fn one_deadline_holds_for_all_tries() {
    let bad = Upstream::always(vec![Step::Hang]).await;
    let sidecar = Sidecar::ruled(&[&bad], |rule| {
        hurried(rule);
        rule.retry.as_mut().expect("set").attempts = 5;
        rule.timeouts.as_mut().expect("set").request_ms = 500;
    })
    .await;
    let began = Instant::now();
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (504, "request_timeout")
    );
    let took = began.elapsed();
    assert!((400..1200).contains(&took.as_millis()), "{took:?}");
    assert_eq!(bad.seen().len(), 3);
}

#[tokio::test]
async fn a_stream_that_stalls_ends_with_an_error_event() {
    let upstream = Upstream::always(vec![stream_head(), chunk(&delta("Hel")), Step::Hang]).await;
    let sidecar = Sidecar::ruled(&[&upstream], hurried).await;
    let answer = sidecar.chat(STREAM).await;
    let text = answer.text();
    let last = text
        .strip_prefix(&delta("Hel"))
        .expect("what came is relayed");
    let event = last
        .strip_prefix("data: ")
        .and_then(|e| e.strip_suffix("\n\n"));
    let event: serde_json::Value = serde_json::from_str(event.expect("an event")).expect("JSON");
    assert_eq!(event["error"]["code"], "upstream_idle_timeout");
    upstream.left().await;
}

#[tokio::test]
async fn a_slow_stream_that_never_stalls_is_no_fault() {
    let mut reply = good_stream();
    for place in (1..6).rev() {
        reply.insert(place, Step::Wait(Duration::from_millis(120)));
    }
    let upstream = Upstream::always(reply).await;
    let sidecar = Sidecar::ruled(&[&upstream], hurried).await;
    let answer = sidecar.chat(STREAM).await;
    assert!(
        answer.whole && answer.text().ends_with("[DONE]\n\n"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn an_endless_answer_ends_with_the_calls_deadline() {
    let pause = Duration::from_millis(5);
    let Step::Send(endless) = chunk(&delta("more")) else {
        unreachable!("a chunk is sent")
    };
    let stream = Upstream::always(vec![stream_head(), Step::Repeat(endless, pause)]).await;
    let sidecar = Sidecar::ruled(&[&stream], hurried).await;
    let answer = sidecar.chat(STREAM).await;
    assert!(answer.text().ends_with("\n\n") && answer.text().contains("request_timeout"));
    stream.left().await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{\"a\":\"";
    let filler = vec![b'x'; 64 * 1024];
    let json = Upstream::always(vec![Step::Send(head.into()), Step::Repeat(filler, pause)]).await;
    let sidecar = Sidecar::ruled(&[&json], hurried).await;
    let answer = sidecar.chat(BODY).await;
    assert!(!answer.whole, "never a clean end");
    json.left().await;
}

#[tokio::test]
async fn a_truncated_answer_is_never_a_clean_end() {
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let short = [head(GOOD.len()).as_bytes(), &GOOD.as_bytes()[..50]].concat();
    let bad = Upstream::always(vec![Step::Send(short), Step::Close]).await;
    let sidecar = Sidecar::over(&[&bad]).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (502, "upstream_truncated")
    );
    assert_eq!(
        bad.seen().len(),
        3,
        "nothing had gone out: it was tried again"
    );
    // Too large to be held: the head has gone out.
    let long = [head(2_000_000).into_bytes(), vec![b'x'; 600_000]].concat();
    let bad = Upstream::always(vec![Step::Send(long), Step::Close]).await;
    let sidecar = Sidecar::over(&[&bad]).await;
    let answer = sidecar.chat(BODY).await;
    assert!(answer.status == 200 && !answer.whole);
    assert_eq!(sidecar.line(0).await["end"], "broken");
}

#[tokio::test]
async fn a_stream_without_its_terminator_gets_an_error_event() {
    let reply = vec![
        stream_head(),
        chunk(&delta("Hel")),
        super::upstream::last_chunk(),
    ];
    let upstream = Upstream::always(reply).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(STREAM).await;
    assert!(
        answer.text().contains("upstream_truncated"),
        "{}",
        answer.text()
    );
    let half = vec![
        stream_head(),
        chunk(&delta("Hel")),
        chunk("data: {\"id\":\"c\",\"half"),
        Step::Wait(Duration::from_millis(20)),
        Step::Reset,
    ];
    let upstream = Upstream::always(half).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let text = sidecar.chat(STREAM).await.text();
    assert!(
        !text.contains("half"),
        "SDKs choke on half a document: {text}"
    );
    let (_, event) = text.rsplit_once("\n\ndata: ").expect("two events");
    assert!(
        event.contains("upstream_truncated") && event.ends_with("\n\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::always(good()).await;
    let location = format!("location: {}/chat/completions\r\n", elsewhere.base_url());
    for status in [301, 302, 307, 308] {
        let reply = answer(status, &location, "");
        let upstream = Upstream::always(reply).await;
        let sidecar = Sidecar::over(&[&upstream]).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (502, "upstream_redirect")
        );
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_no_json_passes_on_and_is_estimated() {
    let upstream = Upstream::always(answer(200, "", "<html>hello</html>")).await;
    let sidecar = Sidecar::with(resources(&[&upstream], |_| {})).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "<html>hello</html>")
    );
    assert_eq!(answer.header("x-llmroute-usage"), "estimated");
}

#[tokio::test]
async fn absurd_usage_is_estimated_instead_of_counted() {
    let absurd = GOOD.replace("15}}", "9000000000000005}}");
    let absurd = absurd.replace("\"prompt_tokens\":10", "\"prompt_tokens\":9000000000000000");
    assert!(absurd.matches("9000000000000").count() == 2, "{absurd}");
    let upstream = Upstream::new(move |_| answer(200, "", &absurd)).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(answer.header("x-llmroute-usage"), "estimated");
    let line = sidecar.line(0).await;
    assert_eq!(line["usage"], "estimated");
    assert!(line["tokens"]["input"].as_u64() < Some(1000), "{line}");
    assert!(!sidecar.metrics().contains("9000000000000"));
}
