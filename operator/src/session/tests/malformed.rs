//! Bytes of nobody's: they end their stream and nothing else.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;

/// One request on a connection of its own, with any body.
async fn post(world: &World, path: &str, body: Vec<u8>) -> Option<(u16, Option<String>)> {
    let io = TokioIo::new(world.connection());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut send, connection) = handshake.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://operator.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", token(&web_claims())))
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let response = send.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?;
    let trailers = body.trailers();
    let code = trailers.and_then(|t| t.get("grpc-status"));
    let code = code.map(|code| code.to_str().expect("text").to_owned());
    Some((status, code))
}

const SESSION: &str = "/llmroute.session.v1.SessionService/Session";

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_end_the_stream_and_nothing_else() {
    let world = World::new();
    let hello = prost::Message::encode_to_vec(&FromSidecar {
        frame: Some(Up::Hello(first_hello())),
    });
    let mut bodies = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        framed(b"\xff\xff\xff\xff"),
        vec![0, 0xff, 0xff, 0xff, 0xff],
        vec![7, 0, 0, 0, 1, 0],
        framed(&hello)[..12].to_vec(),
        [framed(&hello), framed(b"\x12\xff")].concat(),
        // Two hellos.
        [framed(&hello), framed(&hello)].concat(),
    ];
    fastrand::seed(7);
    for _ in 0..200 {
        let mut body = framed(&hello);
        for _ in 0..fastrand::usize(1..6) {
            let at = fastrand::usize(..body.len());
            body[at] = fastrand::u8(..);
        }
        bodies.push(body);
    }
    for body in bodies {
        let shown = format!("{body:02x?}");
        let answer = post(&world, SESSION, body).await;
        assert!(answer.is_none_or(|(status, _)| status == 200), "{shown}");
    }
    // The server is as it was.
    let mut hello = first_hello();
    hello.incarnation.as_mut().expect("set").born_unix_ms = u64::MAX;
    world.hello(hello).await.welcome().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_method_is_unimplemented() {
    let world = World::new();
    let answer = post(
        &world,
        "/llmroute.session.v1.SessionService/Other",
        framed(b""),
    )
    .await;
    assert!(answer.is_some(), "an answer");
    let answer = post(&world, "/", Vec::new()).await;
    assert!(answer.is_some(), "an answer");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_larger_than_any_of_ours_ends_the_stream() {
    let world = World::new();
    let mut hello = first_hello();
    hello.binary_version = "x".repeat(2 * 1024 * 1024);
    let hello = prost::Message::encode_to_vec(&FromSidecar {
        frame: Some(Up::Hello(hello)),
    });
    post(&world, SESSION, framed(&hello)).await;
    assert_eq!(world.facts.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_a_newer_sidecar_is_let_pass() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    sidecar
        .out
        .send(FromSidecar { frame: None })
        .await
        .expect("open");
    assert!(sidecar.is_quiet(Duration::from_secs(5)).await);
}
