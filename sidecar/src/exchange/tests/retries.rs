//! When another try is made, where, and when not.

use std::time::{Duration, Instant};

use super::Upstream;
use super::sidecar::{BODY, STREAM, Sidecar};
use super::upstream::{
    DONE, GOOD, Step, answer, chunk, delta, failing, good, good_stream, last_chunk, stream_head,
};

#[tokio::test]
async fn each_cause_moves_on_to_another_target() {
    for status in [408, 429, 500, 502, 503, 504, 529] {
        let (bad, fine) = (
            Upstream::always(failing(status)).await,
            Upstream::always(good()).await,
        );
        let sidecar = Sidecar::over(&[&bad, &fine]).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (200, GOOD),
            "{status}"
        );
        assert_eq!(answer.header("x-llmroute-target"), "up1");
        assert_eq!(answer.header("x-llmroute-attempts"), "2");
        assert_eq!(answer.header("x-should-retry"), "false");
        let line = sidecar.line(0).await;
        assert_eq!(line["attempts"][0]["status"], status);
        assert_eq!(line["attempts"][1]["end"], "answered");
        assert!(sidecar.metrics().contains("llmroute_retries_total{"));
    }
}

#[tokio::test]
async fn the_callers_own_mistakes_pass_on_untouched_and_once() {
    for status in [400, 402, 403, 404, 409, 413, 422, 451] {
        let (bad, fine) = (
            Upstream::always(failing(status)).await,
            Upstream::always(good()).await,
        );
        let sidecar = Sidecar::over(&[&bad, &fine]).await;
        let answer = sidecar.chat(BODY).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["error"]["message"], "upstream says no");
        assert_eq!(answer.header("x-llmroute-attempts"), "1");
        assert_eq!((bad.seen().len(), fine.seen().len()), (1, 0));
        let line = sidecar.line(0).await;
        assert_eq!(
            (&line["tokens"], &line["end"]),
            (&().into(), &"client_error".into())
        );
    }
}

#[tokio::test]
async fn without_a_try_left_the_upstreams_own_answer_is_the_clients() {
    let bad = Upstream::always(answer(
        429,
        "retry-after: 7\r\n",
        r#"{"error":{"code":"slow_down"}}"#,
    ))
    .await;
    let sidecar = Sidecar::ruled(&[&bad], |rule| {
        rule.retry.as_mut().expect("set").attempts = 0;
    })
    .await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (429, "slow_down")
    );
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(bad.seen().len(), 1);
}

#[tokio::test]
async fn a_cause_that_the_rule_does_not_name_is_no_reason() {
    let (bad, fine) = (
        Upstream::always(failing(503)).await,
        Upstream::always(good()).await,
    );
    let sidecar = Sidecar::ruled(&[&bad, &fine], |rule| {
        rule.retry.as_mut().expect("set").on = vec![1, 2, 3, 4];
    })
    .await;
    assert_eq!(sidecar.chat(BODY).await.status, 503);
    assert_eq!(fine.seen().len(), 0);
}

#[tokio::test]
async fn tries_are_counted_and_end() {
    let bad = Upstream::always(failing(500)).await;
    let sidecar = Sidecar::over(&[&bad]).await;
    let answer = sidecar.chat(BODY).await;
    assert_eq!((answer.status.as_u16(), bad.seen().len()), (500, 3));
    assert_eq!(answer.header("x-llmroute-attempts"), "3");
}

#[tokio::test]
async fn the_same_target_is_asked_again_when_it_said_so() {
    let reply = |n| match n {
        0 => answer(429, "retry-after: 0.3\r\n", "{}"),
        _ => good(),
    };
    let upstream = Upstream::new(reply).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let began = Instant::now();
    assert_eq!(sidecar.chat(BODY).await.status, 200);
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn nobody_waits_for_a_retry_after_beyond_the_longest_pause() {
    let upstream = Upstream::always(answer(429, "retry-after: 3600\r\n", "{}")).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let began = Instant::now();
    let answer = sidecar.chat(BODY).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "3600")
    );
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_stream_that_begins_with_an_error_moves_on() {
    let error = "data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"code\":\"server_is_overloaded\"}}\n\n";
    let bad = Upstream::always(vec![stream_head(), chunk(error), last_chunk()]).await;
    let fine = Upstream::always(good_stream()).await;
    let sidecar = Sidecar::over(&[&bad, &fine]).await;
    let answer = sidecar.chat(STREAM).await;
    assert!(answer.text().ends_with(DONE), "{}", answer.text());
    assert_eq!(answer.header("x-llmroute-attempts"), "2");
    // Alone, it is the client's to see.
    let sidecar = Sidecar::over(&[&bad]).await;
    let answer = sidecar.chat(STREAM).await;
    assert_eq!(answer.text(), error);
    assert_eq!(sidecar.line(0).await["end"], "broken");
}

#[tokio::test]
async fn there_is_no_other_try_after_the_first_byte() {
    let broken = vec![
        stream_head(),
        chunk(&delta("Hel")),
        Step::Wait(Duration::from_millis(20)),
        Step::Reset,
    ];
    let (bad, fine) = (
        Upstream::always(broken).await,
        Upstream::always(good_stream()).await,
    );
    let sidecar = Sidecar::over(&[&bad, &fine]).await;
    let answer = sidecar.chat(STREAM).await;
    assert_eq!(fine.seen().len(), 0);
    assert!(
        answer.text().contains("upstream_truncated"),
        "{}",
        answer.text()
    );
    assert!(!answer.text().contains("[DONE]"));
    let line = sidecar.line(0).await;
    assert_eq!(
        (&line["end"], &line["error"]),
        (&"broken".into(), &"upstream_truncated".into())
    );
    assert_eq!(
        (&line["status"], &line["usage"]),
        (&200.into(), &"estimated".into())
    );
}

#[tokio::test]
async fn a_target_that_keeps_failing_is_left_out() {
    let (bad, fine) = (
        Upstream::always(failing(500)).await,
        Upstream::always(good()).await,
    );
    let sidecar = Sidecar::over(&[&bad, &fine]).await;
    for _ in 0..5 {
        assert_eq!(sidecar.chat(BODY).await.status, 200);
    }
    // Two failures in a row eject, in the fixture's policy.
    assert_eq!((bad.seen().len(), fine.seen().len()), (2, 5));
    let metrics = sidecar.metrics();
    assert!(metrics.contains("llmroute_ejections_total{model=\"gpt-4o\",provider=\"shop/up0\"} 1"));
}
