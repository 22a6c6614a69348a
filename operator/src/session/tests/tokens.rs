//! Whose stream it is.

use super::*;

/// The reason in the notice, the status and the metric of a refused stream.
async fn refused(world: &World, token: &str) -> (Notice, Status) {
    let mut sidecar = world.open(token).await;
    let (notice, status) = sidecar.notice().await;
    assert_eq!(notice.reason(), Reason::Refused, "{notice:?}");
    (notice, status.expect("refusals have a status"))
}

fn failures(world: &World, refusal: Refusal) -> u64 {
    let label = refusal.label();
    world
        .metrics
        .auth_failures
        .with_label_values(&[label])
        .get()
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_token_is_refused_unasked() {
    let world = World::new();
    let (notice, status) = refused(&world, "").await;
    assert!(
        notice.message.contains("audience llmroute.dev"),
        "{notice:?}"
    );
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(world.reviewer.asked.load(Ordering::Relaxed), 0);
    assert_eq!(failures(&world, Refusal::NoToken), 1);
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_the_review_reaches_the_sidecar_with_its_reason() {
    let world = World::new();
    for (refusal, code) in [
        (Refusal::NotAuthenticated, Code::Unauthenticated),
        (Refusal::Expired, Code::Unauthenticated),
        (Refusal::WrongAudience, Code::Unauthenticated),
        (Refusal::PodGone, Code::PermissionDenied),
        (Refusal::Unavailable, Code::Unavailable),
        (Refusal::NotAllowed, Code::Unavailable),
    ] {
        let token = format!("token-{}", refusal.label());
        world.refuse(&token, refusal);
        let (notice, status) = refused(&world, &token).await;
        assert_eq!(notice.message, refusal.to_string());
        assert!(notice.reconnect_after_ms > 0, "{notice:?}");
        assert_eq!(status.code(), code, "{refusal:?}");
        assert_eq!(failures(&world, refusal), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_no_pod_is_refused() {
    let world = World::new();
    let unbound = token(&json!({"namespace": "shop"}));
    let (notice, status) = refused(&world, &unbound).await;
    assert_eq!(notice.message, Refusal::NotBound.to_string());
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_and_one_that_took_its_name_are_told_apart() {
    let world = World::new();
    let gone = token(&json!({"namespace": "shop", "pod": "web-9", "uid": "u-9"}));
    let (notice, _) = refused(&world, &gone).await;
    assert_eq!(notice.message, Refusal::PodGone.to_string());

    let pods = &world.pods.pods;
    pods.lock()
        .expect("no panic")
        .insert(web_pod().id(), web_pod());
    let older = token(&json!({"namespace": "shop", "pod": "web-1", "uid": "u-0"}));
    let (notice, _) = refused(&world, &older).await;
    assert_eq!(notice.message, Refusal::PodReplaced.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_the_watch_does_not_show_is_asked_for_once() {
    let world = World::new();
    let unseen = PodFacts {
        name: "web-2".into(),
        uid: "u-2".into(),
        ..web_pod()
    };
    world
        .pods
        .pods
        .lock()
        .expect("no panic")
        .insert(unseen.id(), unseen);
    let claims = json!({"namespace": "shop", "pod": "web-2", "uid": "u-2"});
    let mut sidecar = world.open(&token(&claims)).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
    assert_eq!(sidecar.snapshot().await.resources.len(), 1);
    assert_eq!(world.pods.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_cannot_be_asked_for_the_pod_is_no_fault_of_the_token() {
    let world = World::new();
    *world.pods.cut.lock().expect("no panic") = true;
    let unseen = token(&json!({"namespace": "shop", "pod": "web-2", "uid": "u-2"}));
    let (notice, status) = refused(&world, &unseen).await;
    assert_eq!(notice.message, Refusal::Unavailable.to_string());
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn the_config_is_that_of_the_pod_of_the_token_whatever_the_hello_says() {
    let world = World::new();
    let mut view = FakeView::with_web("one");
    view.set("admin", [route("secret", "x")]);
    view.put(PodFacts {
        name: "admin-1".into(),
        uid: "u-a".into(),
        labels: Labels::from([("app".into(), "admin".into())]),
        ..web_pod()
    });
    world.publish(&view);
    let mut lying = first_hello();
    lying.incarnation.as_mut().expect("set").pod_uid = "u-a".into();
    let mut sidecar = world.hello(lying).await;
    sidecar.welcome().await;
    let snapshot = sidecar.snapshot().await;
    assert_eq!(snapshot.resources[0].name, "shop/chat");
}

#[tokio::test(start_paused = true)]
async fn a_positive_review_is_remembered_for_a_minute_and_a_negative_one_never() {
    let world = World::new();
    for conn in 1..=3 {
        let mut hello = first_hello();
        hello.conn = conn;
        world.hello(hello).await.welcome().await;
    }
    assert_eq!(world.reviewer.asked.load(Ordering::Relaxed), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let mut hello = first_hello();
    hello.conn = 4;
    world.hello(hello).await.welcome().await;
    assert_eq!(world.reviewer.asked.load(Ordering::Relaxed), 2);

    world.refuse("bad", Refusal::NotAuthenticated);
    for asked in 3..=4 {
        refused(&world, "bad").await;
        assert_eq!(world.reviewer.asked.load(Ordering::Relaxed), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_reviewed_at_the_pace_and_the_rest_told_to_come_again() {
    let world = World::bare(Limits {
        reviews_per_second: 2,
        ..Limits::default()
    });
    world.publish(&FakeView::with_web("one"));
    let tokens: Vec<_> = (0..12)
        .map(|n| {
            let mut claims = web_claims();
            claims["exp"] = json!(noon().as_second() + 3600 + n);
            token(&claims)
        })
        .collect();
    let mut streams = Vec::new();
    for token in &tokens {
        streams.push(world.open(token).await);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reviewed = world.reviewer.asked.load(Ordering::Relaxed);
    assert!((6..=8).contains(&reviewed), "{reviewed}");
    assert_eq!(
        failures(&world, Refusal::TooManyReviews),
        12 - reviewed as u64
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token() {
    let world = World::new();
    let mut claims = web_claims();
    claims["exp"] = json!(noon().as_second() + 100);
    let mut sidecar = world.open(&token(&claims)).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
    let start = tokio::time::Instant::now();
    let keep_alive = async {
        loop {
            world.health.renewed();
            tokio::time::sleep(Duration::from_secs(2)).await;
            sidecar.out.send(FromSidecar::default()).await.ok();
        }
    };
    let mut inbound = sidecar.inbound;
    let ended = async {
        loop {
            if let Some(Down::Notice(notice)) =
                inbound.message().await.expect("open").expect("more").frame
            {
                break notice;
            }
        }
    };
    let notice = tokio::select! {
        notice = ended => notice,
        () = keep_alive => unreachable!("it loops"),
    };
    assert_eq!(notice.reason(), Reason::TokenExpired);
    let lived = start.elapsed().as_secs();
    assert!((99..=101).contains(&lived), "{lived}");
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_out_of_reach_an_ended_token_ends_no_stream() {
    let world = World::new();
    let mut claims = web_claims();
    claims["exp"] = json!(noon().as_second() + 20);
    let mut sidecar = world.open(&token(&claims)).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
    sidecar.snapshot().await;
    // Nobody renews the Lease from here on.
    for _ in 0..10 {
        assert!(sidecar.is_quiet(Duration::from_secs(10)).await);
        sidecar
            .say(Up::Ping(llmroute_protocol::Ping::default()))
            .await;
    }
    world.health.renewed();
    let (notice, _) = sidecar.notice().await;
    assert_eq!(notice.reason(), Reason::TokenExpired);
}
