//! Bounds in number and time, and the end of the process.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::client::Answer;
use super::sidecar::{BODY, STREAM, Sidecar, chat};
use super::upstream::{Step, Upstream, chunk, delta, good, stream_head};
use crate::exchange::Exchange;
use crate::server::{Handler, Limits};

const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn more_calls_at_once_than_the_rule_allows_are_refused_and_the_place_is_given_back() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let upstream = Upstream::new(move |n| match n {
        0 => [vec![Step::Held(held.clone())], good()].concat(),
        _ => good(),
    })
    .await;
    let sidecar = Sidecar::ruled(&[&upstream], |rule| {
        rule.limits.get_or_insert_default().max_concurrent = 1;
    })
    .await;
    let client = sidecar.client();
    let first = client.call(chat(BODY));
    let second = async {
        while upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let answer = sidecar.chat(BODY).await;
        gate.notify_one();
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!(
        (second.status.as_u16(), second.code().as_str()),
        (429, "too_many_concurrent")
    );
    assert_eq!(second.header("retry-after"), "1");
    assert_eq!(sidecar.chat(BODY).await.status, 200);
}

async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .expect("it is closed");
    assert!(
        read.is_err() || rest.is_empty(),
        "{}",
        String::from_utf8_lossy(&rest)
    );
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let limits = Limits {
        head_within: Duration::from_millis(200),
        ..Limits::default()
    };
    let sidecar = Sidecar::bare(limits).await;
    let mut stream = TcpStream::connect(sidecar.address).await.expect("connects");
    stream
        .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nho")
        .await
        .expect("sent");
    closes(stream).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_with_a_call_is_not() {
    let limits = Limits {
        idle_for: Duration::from_millis(200),
        ..Limits::default()
    };
    let upstream =
        Upstream::always([vec![Step::Wait(Duration::from_millis(500))], good()].concat()).await;
    let sidecar = Sidecar::bare(limits).await;
    sidecar
        .config
        .apply(crate::table::fixture::snapshot(super::sidecar::resources(
            &[&upstream],
            |_| {},
        )));
    assert_eq!(sidecar.chat(BODY).await.status, 200);
    closes(TcpStream::connect(sidecar.address).await.expect("connects")).await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_given_up() {
    let limits = Limits {
        write_stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let Step::Send(bytes) = chunk(&delta(&"x".repeat(60_000))) else {
        unreachable!("a chunk is sent")
    };
    let endless = vec![stream_head(), Step::Repeat(bytes, Duration::ZERO)];
    let upstream = Upstream::always(endless).await;
    let sidecar = Sidecar::bare(limits).await;
    sidecar
        .config
        .apply(crate::table::fixture::snapshot(super::sidecar::resources(
            &[&upstream],
            |_| {},
        )));
    let mut stream = TcpStream::connect(sidecar.address).await.expect("connects");
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ";
    let request = format!("{head}{}\r\n\r\n{STREAM}", STREAM.len());
    stream.write_all(request.as_bytes()).await.expect("sent");
    timeout(SOON, upstream.left())
        .await
        .expect("the upstream is left");
    assert_eq!(sidecar.line(0).await["end"], "cancelled");
}

#[tokio::test]
async fn draining_lets_calls_end_and_accepts_on_until_none_is_open() {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let upstream = Upstream::new(move |n| match n {
        0 => [vec![Step::Held(held.clone())], good()].concat(),
        _ => good(),
    })
    .await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let idle = TcpStream::connect(sidecar.address).await.expect("connects");
    let client = sidecar.client();
    let first = client.call(chat(BODY));
    let late = async {
        while upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sidecar.drain.begin();
        let late = sidecar.chat(BODY).await;
        gate.notify_one();
        late
    };
    let (first, late) = tokio::join!(first, late);
    assert_eq!((first.status.as_u16(), late.status.as_u16()), (200, 200));
    timeout(SOON, sidecar.served)
        .await
        .expect("it ends")
        .expect("without a panic");
    closes(idle).await;
}

#[tokio::test]
async fn a_call_that_outlives_the_drain_ends_with_an_error_event() {
    let limits = Limits {
        drain_for: Duration::from_millis(200),
        ..Limits::default()
    };
    let upstream = Upstream::always(vec![stream_head(), chunk(&delta("Hel")), Step::Hang]).await;
    let sidecar = Sidecar::bare(limits).await;
    sidecar
        .config
        .apply(crate::table::fixture::snapshot(super::sidecar::resources(
            &[&upstream],
            |_| {},
        )));
    let response = sidecar.client().send(chat(STREAM)).await;
    sidecar.drain.begin();
    let answer = Answer::read(response).await;
    assert!(
        answer.whole && answer.text().contains("shutting_down"),
        "{}",
        answer.text()
    );
    timeout(SOON, sidecar.served)
        .await
        .expect("it ends")
        .expect("without a panic");
}

#[tokio::test]
async fn a_call_without_an_answer_yet_is_told_that_the_process_ends() {
    let limits = Limits {
        drain_for: Duration::from_millis(200),
        ..Limits::default()
    };
    let upstream = Upstream::always(vec![Step::Hang]).await;
    let sidecar = Sidecar::bare(limits).await;
    sidecar
        .config
        .apply(crate::table::fixture::snapshot(super::sidecar::resources(
            &[&upstream],
            |_| {},
        )));
    let client = sidecar.client();
    let call = client.call(chat(BODY));
    let drain = async {
        while upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sidecar.drain.begin();
    };
    let (answer, ()) = tokio::join!(call, drain);
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (503, "shutting_down")
    );
    upstream.left().await;
}

#[tokio::test]
async fn a_hundred_streams_at_once_are_all_whole() {
    let reply = vec![
        stream_head(),
        chunk(&delta("a")),
        Step::Wait(Duration::from_millis(50)),
    ];
    let rest = super::upstream::good_stream().split_off(2);
    let upstream = Upstream::always([reply, rest].concat()).await;
    let sidecar = Sidecar::over(&[&upstream]).await;
    let calls = (0..100).map(|_| sidecar.chat(STREAM));
    for answer in futures::future::join_all(calls).await {
        assert!(answer.whole && answer.text().ends_with("[DONE]\n\n"));
    }
    let metrics = sidecar.metrics();
    assert!(metrics.contains("llmroute_open_streams 0"), "{metrics}");
    let mut response = sidecar.client().send(chat(STREAM)).await;
    response
        .body_mut()
        .frame()
        .await
        .expect("a frame")
        .expect("whole");
    assert!(sidecar.metrics().contains("llmroute_open_streams 1"));
}

fn size_of_future<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// Hyper keeps room for it as long as a connection is open.
#[test]
fn a_call_under_way_is_small() {
    let size = size_of_future(<Exchange as Handler>::handle);
    assert!(size <= 4096, "{size} bytes");
    let call = size_of::<super::super::call::Call>();
    assert!(call <= 2048, "{call} bytes");
}
