//! Keys: ours, the caller's, a newer one, a refused one.

use llmroute_protocol as proto;
use llmroute_protocol::auth::Type;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::Notify;

use super::Upstream;
use super::sidecar::{BODY, KEY, STREAM, Sidecar, chat, priced, resources};
use super::upstream::{Step, answer, chunk, failing, good, last_chunk};
use crate::table::fixture::{of_provider, of_route, provider, route, rule, target};

#[tokio::test]
async fn a_key_that_is_refused_answers_502_and_its_target_is_skipped_from_then_on() {
    let (bad, fine) = (
        Upstream::always(failing(401)).await,
        Upstream::always(good()).await,
    );
    let sidecar = Sidecar::over(&[&bad, &fine]).await;
    let refused = sidecar.chat(BODY).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (502, "upstream_unauthorized")
    );
    let skipped = sidecar.chat(BODY).await;
    assert_eq!(
        (skipped.status.as_u16(), skipped.header("x-llmroute-target")),
        (200, "up1")
    );
    assert_eq!(bad.seen().len(), 1);
    let states = sidecar.config.credential_states();
    let state = states
        .iter()
        .find(|s| s.provider == "shop/up0")
        .expect("it has news");
    assert_eq!((state.rejected401, state.accepted), (1, false));
    assert_eq!(sidecar.line(0).await["attempts"][0]["end"], "unauthorized");
}

#[tokio::test]
async fn a_key_that_was_pushed_meanwhile_is_tried_once() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let upstream = Upstream::new(move |n| match n {
        0 => [vec![Step::Held(held.clone())], failing(401)].concat(),
        _ => good(),
    })
    .await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let client = sidecar.client();
    let call = client.call(chat(BODY));
    let rotation = async {
        while upstream.seen().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        sidecar.rotate("up0", "sk-newer");
        gate.notify_one();
    };
    let (answer, ()) = tokio::join!(call, rotation);
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-llmroute-attempts")),
        (200, "2")
    );
    let keys: Vec<_> = upstream
        .seen()
        .iter()
        .map(|s| s.head.contains("sk-newer"))
        .collect();
    assert_eq!(keys, [false, true]);
}

#[tokio::test]
async fn a_rotated_key_serves_the_next_call() {
    let upstream = Upstream::always(good()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    sidecar.chat(BODY).await;
    sidecar.rotate("up0", "sk-newer");
    sidecar.chat(BODY).await;
    assert!(upstream.seen()[0].head.contains(KEY));
    assert!(upstream.seen()[1].head.contains("Bearer sk-newer\r\n"));
    assert_eq!(upstream.connections(), 1, "a rotation rebuilds no pool");
}

async fn passthrough(upstream: &Upstream) -> Sidecar {
    let passing = proto::Auth {
        r#type: Type::Passthrough.into(),
        ..proto::Auth::default()
    };
    Sidecar::with([
        of_route(route("chat", [rule("all", [], [target("own")])])),
        of_provider(proto::Provider {
            base_url: upstream.base_url(),
            auth: Some(passing),
            models: vec![priced()],
            open_models: true,
            ..provider("own")
        }),
    ])
    .await
}

#[tokio::test]
async fn with_passthrough_the_callers_key_goes_through_and_its_401_comes_back() {
    let upstream = Upstream::always(failing(401)).await;
    let sidecar = passthrough(&upstream).await;
    let mut request = chat(BODY);
    request.headers_mut().insert(
        "authorization",
        "Bearer sk-of-the-caller".parse().expect("valid"),
    );
    let answer = sidecar.client().call(request).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "x"));
    assert!(
        upstream.seen()[0]
            .head
            .contains("authorization: Bearer sk-of-the-caller\r\n")
    );
}

#[tokio::test]
async fn the_placeholder_is_no_key_and_goes_nowhere() {
    let upstream = Upstream::always(good()).await;
    let sidecar = passthrough(&upstream).await;
    for value in [
        "Bearer llmroute-placeholder",
        "bearer  llmroute-placeholder",
        "llmroute-placeholder",
    ] {
        let mut request = chat(BODY);
        let headers = request.headers_mut();
        headers.insert("authorization", value.parse().expect("valid"));
        headers.insert("x-api-key", "llmroute-placeholder".parse().expect("valid"));
        assert_eq!(sidecar.client().call(request).await.status, 200);
    }
    for seen in upstream.seen() {
        assert!(!seen.head.contains("placeholder"), "{}", seen.head);
    }
}

/// An upstream that repeats the key that it got, in body and header.
async fn echoing(status: u16) -> Upstream {
    let head = format!("x-said: no {KEY}!\r\nx-said: Bearer {KEY}\r\n");
    let body = format!("Incorrect API key provided: Bearer {KEY}, {KEY}{KEY}");
    Upstream::always(answer(status, &head, &body)).await
}

#[tokio::test]
async fn a_key_that_an_upstream_repeats_is_starred() {
    let stars = "*".repeat(KEY.len());
    for status in [200, 400, 403, 429, 500] {
        let sidecar = Sidecar::over(&[&echoing(status).await]).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(answer.status, status);
        let said: Vec<_> = answer.headers.get_all("x-said").iter().collect();
        assert_eq!(
            said,
            [&*format!("no {stars}!"), &*format!("Bearer {stars}")]
        );
        if status >= 400 {
            let text = format!("Incorrect API key provided: Bearer {stars}, {stars}{stars}");
            assert_eq!(answer.text(), text);
        }
    }
}

#[tokio::test]
async fn a_repeated_key_is_starred_wherever_its_body_is_split() {
    let stars = "*".repeat(KEY.len());
    // The longer one is relayed as it comes, after its first part.
    for before in [3, 256 * 1024 - 5, 300 * 1024] {
        let text = format!("{}{}{KEY} sk-pl", "x".repeat(before), &KEY[..4]);
        let cut = text.len() - 6 - KEY.len() / 2;
        let head = "HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n";
        let reply = vec![
            Step::Send(head.into()),
            chunk(&text[..cut]),
            Step::Wait(std::time::Duration::from_millis(20)),
            chunk(&text[cut..]),
            last_chunk(),
        ];
        let sidecar = Sidecar::over(&[&Upstream::always(reply).await]).await;
        let answer = sidecar.chat(BODY).await;
        assert!(answer.whole && answer.status == 400);
        assert!(answer.text() == text.replace(KEY, &stars), "{before}");
    }
}

#[tokio::test]
async fn a_planted_key_and_prompt_are_found_nowhere_but_upstream() {
    let echo = answer(500, "", "{\"error\":{\"message\":\"no\"}}");
    let upstream = Upstream::new(move |n| match n % 3 {
        0 => good(),
        1 => echo.clone(),
        _ => vec![Step::Reset],
    })
    .await;
    let sidecar = Sidecar::with(resources(&[&upstream], |_| {})).await;
    let mut told = String::new();
    for body in [BODY, STREAM, BODY, "{\"planted prompt\"", BODY] {
        let answer = sidecar.chat(body).await;
        let _ = write!(told, "{answer:?}");
    }
    let log = format!("{:?}", sidecar.log());
    for (place, text) in [
        ("answers", &told),
        ("log", &log),
        ("metrics", &sidecar.metrics()),
    ] {
        assert!(!text.contains("planted"), "in {place}: {text}");
    }
}
