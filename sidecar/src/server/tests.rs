//! Patience with clients, in paused time and in memory.

use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;

use super::*;

struct Hello;

impl Handler for Hello {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, _: Request<Incoming>) -> Response<Full<Bytes>> {
        sleep(Duration::from_mins(30)).await;
        Response::new(Full::from("hello"))
    }
}

/// Sends `bytes` and waits until the server closes; what came, and when.
async fn until_closed(protocol: Protocol, bytes: &[u8]) -> (String, Duration) {
    let (mut client, server) = duplex(4096);
    let shared = Arc::new(Shared {
        handler: Arc::new(Hello),
        limits: Limits::default(),
        drain: Drain::default(),
        open: Open::default(),
    });
    let began = Instant::now();
    tokio::spawn(async move { connection::serve(server, protocol, &shared).await });
    client.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    client
        .read_to_end(&mut answer)
        .await
        .expect("closed in order");
    (
        String::from_utf8_lossy(&answer).into_owned(),
        began.elapsed(),
    )
}

#[tokio::test(start_paused = true)]
async fn half_a_head_is_waited_for_ten_seconds() {
    let (answer, after) = until_closed(Protocol::Http1, b"GET / HTTP/1.1\r\nho").await;
    assert!(answer.is_empty(), "{answer}");
    assert!((10..11).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_ten_minutes_in_both_protocols() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for (protocol, bytes) in [
        (Protocol::Http1, b"".as_slice()),
        (Protocol::Http2, preface),
    ] {
        let (_, after) = until_closed(protocol, bytes).await;
        assert!(
            (600..602).contains(&after.as_secs()),
            "{protocol:?} {after:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_not_idle_however_long_it_takes() {
    let head = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let (answer, after) = until_closed(Protocol::Http1, head).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!((1800..1801).contains(&after.as_secs()), "{after:?}");
}
