//! Pods that no watch shows are followed all the same.

use super::*;

/// A pod of the API server that the view doesn't know.
fn unseen(app: &str) -> PodFacts {
    PodFacts {
        name: "bare-1".into(),
        uid: "u-b".into(),
        labels: Labels::from([("app".into(), app.into())]),
        injected: false,
        ..web_pod()
    }
}

fn exists(world: &World, pod: PodFacts) {
    let mut pods = world.pods.pods.lock().expect("no panic");
    pods.insert(pod.id(), pod);
}

fn asked(world: &World) -> usize {
    world.pods.asked.load(Ordering::Relaxed)
}

/// A session of that pod that has acknowledged its snapshot.
async fn session(world: &World) -> Sidecar {
    exists(world, unseen("web"));
    let claims = json!({"namespace": "shop", "pod": "bare-1", "uid": "u-b"});
    let mut sidecar = world.open(&token(&claims)).await;
    sidecar.say(Up::Hello(first_hello())).await;
    sidecar.welcome().await;
    let snapshot = sidecar.snapshot().await;
    sidecar.ack(snapshot.epoch, snapshot.seq, vec![]).await;
    world.until(|facts| facts.acked == 1).await;
    sidecar
}

/// So many seconds with an API server within reach and a sidecar that is alive.
async fn pass(world: &World, sidecar: &Sidecar, seconds: u64) {
    for _ in 0..seconds {
        world.health.renewed();
        // One that was refused is told so anyway.
        let _ = sidecar.out.send(FromSidecar::default()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_watch_shows_loses_its_session_when_it_is_deleted() {
    let world = World::new();
    let mut sidecar = session(&world).await;
    pass(&world, &sidecar, 30).await;
    assert_eq!(world.facts.sessions(), 1);
    world.pods.pods.lock().expect("no panic").clear();
    pass(&world, &sidecar, 11).await;
    assert_eq!(world.facts.sessions(), 0);
    let (notice, status) = sidecar.notice().await;
    assert_eq!(notice.message, Refusal::PodGone.to_string());
    assert_eq!(status.map(|s| s.code()), Some(Code::PermissionDenied));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_watch_shows_loses_its_session_to_no_other_of_its_name() {
    let world = World::new();
    let mut sidecar = session(&world).await;
    let other = PodFacts {
        uid: "u-c".into(),
        ..unseen("web")
    };
    exists(&world, other);
    pass(&world, &sidecar, 11).await;
    let (notice, _) = sidecar.notice().await;
    assert_eq!(notice.message, Refusal::PodReplaced.to_string());
    assert_eq!(world.facts.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_watch_shows_gets_what_its_new_labels_need() {
    let world = World::new();
    let mut view = FakeView::with_web("one");
    view.set("admin", [route("other", "x")]);
    world.publish(&view);
    let mut sidecar = session(&world).await;
    exists(&world, unseen("admin"));
    pass(&world, &sidecar, 11).await;
    let delta = sidecar.delta().await;
    assert_eq!(delta.upserts[0].name, "shop/other");
    assert_eq!(delta.removed[0].name, "shop/chat");
}

#[tokio::test(start_paused = true)]
async fn a_terminating_pod_that_no_watch_shows_is_served_and_not_counted() {
    let world = World::new();
    let sidecar = session(&world).await;
    assert_eq!(world.counted().connected, 1);
    let terminating = PodFacts {
        terminating: true,
        ..unseen("web")
    };
    exists(&world, terminating);
    pass(&world, &sidecar, 11).await;
    assert_eq!(world.counted().connected, 0);
    assert_eq!(world.facts.sessions(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_looked_at_every_10_s_and_never_once_the_watch_shows_it() {
    let world = World::new();
    let sidecar = session(&world).await;
    assert_eq!(asked(&world), 1);
    pass(&world, &sidecar, 100).await;
    let looks = asked(&world) - 1;
    assert!((9..=11).contains(&looks), "{looks}");
    let mut view = FakeView::with_web("one");
    view.put(unseen("web"));
    world.publish(&view);
    pass(&world, &sidecar, 1).await;
    let before = asked(&world);
    pass(&world, &sidecar, 100).await;
    assert_eq!(asked(&world), before);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_ends_no_session_and_out_of_reach_none_is_tried() {
    let world = World::new();
    let sidecar = session(&world).await;
    *world.pods.cut.lock().expect("no panic") = true;
    pass(&world, &sidecar, 30).await;
    assert_eq!(world.facts.sessions(), 1);
    let before = asked(&world);
    for _ in 0..60 {
        // Nobody renews the Lease from here on.
        let _ = sidecar.out.send(FromSidecar::default()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let looks = asked(&world) - before;
    assert!(looks <= 1, "{looks}");
    assert_eq!(world.facts.sessions(), 1);
    // And it is looked at again when it can be.
    *world.pods.cut.lock().expect("no panic") = false;
    world.pods.pods.lock().expect("no panic").clear();
    pass(&world, &sidecar, 11).await;
    assert_eq!(world.facts.sessions(), 0);
}
