//! How a stream goes on, and how it ends.

use super::*;
use llmroute_protocol::Ping;
use tokio::time::Instant;

async fn ping(sidecar: &mut Sidecar) -> Ping {
    loop {
        match sidecar.frame().await {
            Some(Ok(Down::Ping(ping))) => return ping,
            Some(Ok(_)) => {}
            other => panic!("no ping but {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_comes_every_15_s_with_the_leaders_time() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    ping(&mut sidecar).await;
    for _ in 0..3 {
        sidecar.say(Up::Ping(Ping::default())).await;
        let before = Instant::now();
        tokio::time::sleep(Duration::from_secs(7)).await;
        world.health.renewed();
        let sent = ping(&mut sidecar).await;
        assert_eq!(before.elapsed().as_secs(), 15);
        assert_eq!(sent.leader_unix_ms, noon().as_millisecond());
        assert!(!sent.lease_unrenewed);
    }
}

#[tokio::test(start_paused = true)]
async fn sidecars_are_told_that_the_lease_goes_unrenewed() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    // From here on nobody renews it.
    ping(&mut sidecar).await;
    sidecar.say(Up::Ping(Ping::default())).await;
    assert!(ping(&mut sidecar).await.lease_unrenewed);
    world.health.renewed();
    sidecar.say(Up::Ping(Ping::default())).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    world.health.renewed();
    assert!(!ping(&mut sidecar).await.lease_unrenewed);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_was_silent_for_45_s_is_given_up() {
    let world = World::new();
    let sidecar = world.settled().await;
    tokio::time::sleep(Duration::from_secs(44)).await;
    assert_eq!(world.facts.sessions(), 1);
    sidecar.say(Up::Ping(Ping::default())).await;
    tokio::time::sleep(Duration::from_secs(44)).await;
    assert_eq!(world.facts.sessions(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.facts.sessions(), 0);
    let closed = &world.metrics.sessions_closed;
    assert_eq!(closed.with_label_values(&["silent"]).get(), 1);
    assert_eq!(world.metrics.sessions.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_leaves_is_forgotten_at_once() {
    let world = World::new();
    let sidecar = world.settled().await;
    assert_eq!(world.counted().connected, 1);
    drop(sidecar);
    world.until(|d| d.connected == 0).await;
    let closed = &world.metrics.sessions_closed;
    assert_eq!(closed.with_label_values(&["gone"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_newer_stream_of_the_same_pod_supersedes_the_older_and_never_the_other_way() {
    let world = World::new();
    let mut first = world.settled().await;
    let mut newer = first_hello();
    newer.conn = 2;
    let mut second = world.hello(newer).await;
    second.welcome().await;
    let (notice, _) = first.notice().await;
    assert_eq!(notice.reason(), Reason::Superseded);

    let mut late = world.hello(first_hello()).await;
    let (notice, _) = late.notice().await;
    assert_eq!(notice.reason(), Reason::Superseded);
    second.snapshot().await;
    assert_eq!(world.facts.sessions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_tells_everybody_to_come_back_later_and_takes_nobody_new() {
    let world = World::new();
    let mut open = world.settled().await;
    world.server.0.drain.cancel();
    let (notice, _) = open.notice().await;
    assert_eq!(notice.reason(), Reason::Drain);
    assert!(notice.reconnect_after_ms >= 500, "{notice:?}");
}

#[tokio::test(start_paused = true)]
async fn seats_are_bounded() {
    let world = World::bare(Limits {
        sessions: 1,
        ..Limits::default()
    });
    let mut view = FakeView::with_web("one");
    view.put(PodFacts {
        name: "web-2".into(),
        uid: "u-2".into(),
        ..web_pod()
    });
    world.publish(&view);
    let _held = world.settled().await;
    let claims = json!({"namespace": "shop", "pod": "web-2", "uid": "u-2"});
    let mut second = world.open(&token(&claims)).await;
    second.say(Up::Hello(first_hello())).await;
    let (notice, status) = second.notice().await;
    assert_eq!(notice.message, Refusal::Full.to_string());
    assert_eq!(status.map(|s| s.code()), Some(Code::ResourceExhausted));
}

#[tokio::test(start_paused = true)]
async fn who_says_no_hello_is_not_waited_for() {
    let world = World::new();
    let mut silent = world.open(&token(&web_claims())).await;
    let start = Instant::now();
    let (notice, _) = silent.notice().await;
    assert_eq!(notice.message, Refusal::NoHello.to_string());
    assert_eq!(
        start.elapsed().as_secs(),
        Limits::default().handshake.as_secs()
    );

    let mut rude = world.open(&token(&web_claims())).await;
    rude.say(Up::Ack(Ack::default())).await;
    let (notice, _) = rude.notice().await;
    assert_eq!(notice.message, Refusal::NoHello.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_reads_nothing_holds_up_nobody_and_is_given_up() {
    let world = World::new();
    // Far more than the windows and the pipe hold.
    let mut view = FakeView::with_web("one");
    let large = "x".repeat(400_000);
    view.set("web", (0..40).map(|n| route(&format!("r-{n}"), &large)));
    view.set("other", [route("small", "x")]);
    view.put(PodFacts {
        name: "web-2".into(),
        uid: "u-2".into(),
        labels: Labels::from([("app".into(), "other".into())]),
        ..web_pod()
    });
    world.publish(&view);
    let stuck = world.hello(first_hello()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let claims = json!({"namespace": "shop", "pod": "web-2", "uid": "u-2"});
    let mut other = world.open(&token(&claims)).await;
    other.say(Up::Hello(first_hello())).await;
    other.welcome().await;
    assert_eq!(other.snapshot().await.resources.len(), 1);
    assert_eq!(world.facts.sessions(), 2);
    tokio::time::sleep(Duration::from_secs(40)).await;
    other.say(Up::Ping(Ping::default())).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.facts.sessions(), 1);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_stream_is_closed() {
    use tokio::io::AsyncReadExt;
    let world = World::new();
    let mut connection = world.connection();
    let mut read = Vec::new();
    let start = Instant::now();
    // The server's preface, and then the end.
    let closed = tokio::time::timeout(Duration::from_mins(1), connection.read_to_end(&mut read));
    assert!(closed.await.is_ok());
    let limits = Limits::default();
    let took = start.elapsed();
    assert!(
        took <= limits.idle + limits.drain + Duration::from_secs(1),
        "{took:?}"
    );
}
