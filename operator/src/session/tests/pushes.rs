//! What is sent, when, and what an answer leads to.

use super::*;
use llmroute_protocol::{CHUNK_BYTES, Credential, CredentialState, Held, Kind};

fn held(resource: &llmroute_protocol::Resource) -> Held {
    Held {
        kind: resource.kind,
        name: resource.name.clone(),
        version: resource.version.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pushed_before_the_caches_are_synced() {
    let world = World::bare(Limits::default());
    world
        .pods
        .pods
        .lock()
        .expect("no panic")
        .insert(web_pod().id(), web_pod());
    let mut sidecar = world.welcomed().await;
    assert!(sidecar.is_quiet(Duration::from_secs(20)).await);
    world.publish(&FakeView::with_web("one"));
    assert_eq!(sidecar.snapshot().await.resources.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_sends_what_differs_and_lists_what_is_held() {
    let world = World::new();
    let (chat, other) = (
        route("chat", "one").into_resource(),
        route("other", "x").into_resource(),
    );
    let mut view = FakeView::with_web("one");
    view.set("web", [route("chat", "one"), route("other", "y")]);
    world.publish(&view);
    let mut hello = first_hello();
    hello.held = vec![held(&chat), held(&other)];
    let mut sidecar = world.hello(hello).await;
    sidecar.welcome().await;
    let snapshot = sidecar.snapshot().await;
    assert_eq!(snapshot.unchanged, [held(&chat)]);
    assert_eq!(snapshot.resources, [route("other", "y").into_resource()]);
    assert!(snapshot.last);
    let expected = &view.configs["web"].hash;
    assert_eq!(&snapshot.hash, expected);

    sidecar.ack(snapshot.epoch, snapshot.seq, vec![]).await;
    world.until(|d| (d.connected, d.acked) == (1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_one_delta_of_what_changed() {
    let world = World::new();
    let mut view = FakeView::with_web("one");
    view.set(
        "web",
        [route("chat", "one"), route("gone", "x"), route("same", "x")],
    );
    world.publish(&view);
    let mut sidecar = world.settled().await;
    view.set("web", [route("chat", "two"), route("same", "x")]);
    world.publish(&view);
    let delta = sidecar.delta().await;
    assert_eq!(delta.upserts, [route("chat", "two").into_resource()]);
    assert_eq!(delta.removed.len(), 1);
    assert_eq!(delta.removed[0].name, "shop/gone");
    assert_eq!(delta.hash, view.configs["web"].hash);
}

#[tokio::test(start_paused = true)]
async fn a_view_that_changes_nothing_for_the_pod_is_not_pushed() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    let mut view = FakeView::with_web("one");
    view.set("other", [route("other", "x")]);
    world.publish(&view);
    assert!(sidecar.is_quiet(Duration::from_secs(20)).await);
}

#[tokio::test(start_paused = true)]
async fn one_push_at_a_time_is_unanswered_and_newer_state_coalesces() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    world.publish(&FakeView::with_web("two"));
    let first = sidecar.delta().await;
    for body in ["three", "four", "five"] {
        world.publish(&FakeView::with_web(body));
        assert!(sidecar.is_quiet(Duration::from_secs(5)).await, "{body}");
    }
    // Neither another seq nor another epoch answers it.
    sidecar.ack(first.epoch, first.seq + 1, vec![]).await;
    sidecar.ack(first.epoch + 1, first.seq, vec![]).await;
    assert!(sidecar.is_quiet(Duration::from_secs(5)).await);

    sidecar.ack(first.epoch, first.seq, vec![]).await;
    let second = sidecar.delta().await;
    assert_eq!(second.upserts, [route("chat", "five").into_resource()]);
    assert!(second.seq > first.seq);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_resource_is_shown_with_its_path_and_not_sent_again() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    world.publish(&FakeView::with_web("bad"));
    let delta = sidecar.delta().await;
    let error = answer(&delta.upserts[0], Outcome::Error);
    sidecar.ack(delta.epoch, delta.seq, vec![error]).await;
    world.until(|d| d.rejected == 1).await;
    let rejection = &world.counted().rejections[0];
    assert_eq!(rejection.pod, "web-1");
    assert_eq!(rejection.path, "spec.rules[0].targets[1].model");
    assert_eq!(rejection.message, "no such model");
    assert_eq!(rejection.at, noon());

    // Another publication of the same bytes changes nothing.
    world.publish(&FakeView::with_web("bad"));
    assert!(sidecar.is_quiet(Duration::from_secs(20)).await);
    world.publish(&FakeView::with_web("good"));
    let delta = sidecar.delta().await;
    sidecar
        .ack(
            delta.epoch,
            delta.seq,
            vec![answer(&delta.upserts[0], Outcome::Ok)],
        )
        .await;
    world.until(|d| (d.acked, d.rejected) == (1, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_taken_and_counted() {
    let world = World::new();
    let mut sidecar = world.welcomed().await;
    let snapshot = sidecar.snapshot().await;
    let warning = answer(&snapshot.resources[0], Outcome::Warn);
    sidecar
        .ack(snapshot.epoch, snapshot.seq, vec![warning])
        .await;
    world.until(|d| d.acked == 1).await;
    let results = &world.metrics.ack_results;
    assert_eq!(results.with_label_values(&["warn"]).get(), 1);
    assert_eq!(results.with_label_values(&["ok"]).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_sidecar_writes_into_a_status_is_cut_and_printable() {
    let world = World::new();
    let mut sidecar = world.welcomed().await;
    let snapshot = sidecar.snapshot().await;
    let mut error = answer(&snapshot.resources[0], Outcome::Error);
    error.message = format!("line\n{}", "ä".repeat(5000));
    error.path = "p".repeat(5000);
    sidecar.ack(snapshot.epoch, snapshot.seq, vec![error]).await;
    world.until(|d| d.rejected == 1).await;
    let rejection = &world.counted().rejections[0];
    assert!(rejection.message.starts_with("line ä"), "{rejection:?}");
    assert!(rejection.message.len() <= 512 && rejection.path.len() <= 256);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_version_answers_nothing() {
    let world = World::new();
    let mut sidecar = world.welcomed().await;
    let snapshot = sidecar.snapshot().await;
    let mut other = answer(&snapshot.resources[0], Outcome::Ok);
    other.version = "0123456789abcdef".into();
    sidecar.ack(snapshot.epoch, snapshot.seq, vec![other]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counted = world.counted();
    assert_eq!(
        (counted.connected, counted.acked, counted.pending()),
        (1, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_without_an_answer_is_stale_after_30_s_and_not_before() {
    let world = World::new();
    let mut sidecar = world.welcomed().await;
    let snapshot = sidecar.snapshot().await;
    sidecar
        .say(Up::Ping(llmroute_protocol::Ping::default()))
        .await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!((world.counted().pending(), world.counted().stale), (1, 0));
    while world.facts.touched().await.routes.is_empty() {}
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((world.counted().pending(), world.counted().stale), (0, 1));
    let touched = world.facts.touched().await;
    assert!(
        touched.routes.contains(&ObjectRef::new("shop", "chat")),
        "{touched:?}"
    );
    sidecar.ack(snapshot.epoch, snapshot.seq, vec![]).await;
    world.until(|d| (d.acked, d.stale) == (1, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_labels_change_gets_what_it_then_needs() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    let mut view = FakeView::with_web("one");
    view.set("admin", [route("admin", "x")]);
    view.put(PodFacts {
        labels: Labels::from([("app".into(), "admin".into())]),
        ..web_pod()
    });
    world.publish(&view);
    let delta = sidecar.delta().await;
    assert_eq!(delta.upserts[0].name, "shop/admin");
    assert_eq!(delta.removed[0].name, "shop/chat");
}

#[tokio::test(start_paused = true)]
async fn a_terminating_pod_still_gets_config_but_no_longer_counts() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    let mut view = FakeView::with_web("two");
    view.put(PodFacts {
        terminating: true,
        ..web_pod()
    });
    world.publish(&view);
    let delta = sidecar.delta().await;
    assert_eq!(delta.upserts.len(), 1);
    assert_eq!(world.counted().connected, 0);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_deleted_pod_ends() {
    for replaced in [false, true] {
        let world = World::new();
        let mut sidecar = world.settled().await;
        let mut view = FakeView::with_web("one");
        view.pods.clear();
        if replaced {
            view.put(PodFacts {
                uid: "u-2".into(),
                ..web_pod()
            });
        }
        world.publish(&view);
        let (notice, _) = sidecar.notice().await;
        assert_eq!(notice.reason(), Reason::Refused, "replaced: {replaced}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_larger_than_a_chunk_comes_in_several_with_one_answer() {
    let world = World::new();
    let large = "x".repeat(CHUNK_BYTES / 3);
    let mut view = FakeView::with_web("one");
    view.set("web", (0..10).map(|n| route(&format!("r-{n}"), &large)));
    world.publish(&view);
    let mut sidecar = world.welcomed().await;
    let mut chunks = vec![sidecar.snapshot().await];
    while !chunks.last().expect("one").last {
        chunks.push(sidecar.snapshot().await);
    }
    assert!(chunks.len() > 2, "{}", chunks.len());
    let seqs: Vec<_> = chunks.iter().map(|chunk| chunk.seq).collect();
    assert!(seqs.iter().all(|seq| *seq == seqs[0]), "{seqs:?}");
    let resources: usize = chunks.iter().map(|chunk| chunk.resources.len()).sum();
    assert_eq!(resources, 10);
    sidecar.ack(EPOCH, seqs[0], vec![]).await;
    world.until(|d| d.acked == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_is_larger_than_a_chunk_is_several_and_routes_come_last() {
    let world = World::new();
    let mut sidecar = world.settled().await;
    let large = "x".repeat(CHUNK_BYTES / 2);
    let provider = |name: &str| {
        Body::Provider(llmroute_protocol::Provider {
            namespace: "shop".into(),
            name: name.into(),
            ca_pem: large.clone(),
            ..llmroute_protocol::Provider::default()
        })
    };
    let mut view = FakeView::with_web("one");
    view.set(
        "web",
        [
            route("new", "x"),
            provider("a"),
            provider("b"),
            provider("c"),
        ],
    );
    world.publish(&view);
    let (mut names, mut deltas) = (Vec::new(), Vec::new());
    while names.len() < 4 {
        let delta = sidecar.delta().await;
        sidecar.ack(delta.epoch, delta.seq, vec![]).await;
        names.extend(delta.upserts.iter().map(|r| r.name.clone()));
        deltas.push(delta);
    }
    assert!(deltas.len() > 1);
    assert_eq!(names, ["shop/a", "shop/b", "shop/c", "shop/new"]);
    let (last, others) = deltas.split_last().expect("some");
    assert_eq!(last.removed[0].name, "shop/chat");
    assert_eq!(last.hash, view.configs["web"].hash);
    for delta in others {
        assert!(delta.removed.is_empty() && delta.hash != last.hash);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_credential_is_one_small_push() {
    let world = World::new();
    let credential = |value: &'static str| {
        Body::Credential(Credential {
            provider: "shop/openai".into(),
            value: value.as_bytes().into(),
            hash8: "12345678".into(),
        })
    };
    let mut view = FakeView::with_web("one");
    view.set("web", [route("chat", &"x".repeat(4000)), credential("old")]);
    world.publish(&view);
    let mut sidecar = world.settled().await;
    view.set("web", [route("chat", &"x".repeat(4000)), credential("new")]);
    world.publish(&view);
    let delta = sidecar.delta().await;
    assert_eq!(delta.upserts.len(), 1);
    assert_eq!(delta.upserts[0].kind(), Kind::Credential);
    assert!(prost::Message::encoded_len(&delta) < 150);
}

#[tokio::test(start_paused = true)]
async fn what_sidecars_say_of_a_credential_counts_for_those_who_have_it() {
    let world = World::new();
    let said = |provider: &str| CredentialState {
        provider: provider.into(),
        hash8: "12345678".into(),
        rejected401: 3,
        accepted: false,
    };
    let mut sidecar = world.welcomed().await;
    // Before the snapshot, as a sidecar does that resumes.
    for provider in ["shop/openai", "other/secret"] {
        sidecar.say(Up::CredentialState(said(provider))).await;
    }
    let mut view = FakeView::with_web("one");
    let credential = Credential {
        provider: "shop/openai".into(),
        ..Credential::default()
    };
    view.set("web", [route("chat", "one"), Body::Credential(credential)]);
    world.publish(&view);
    let snapshot = sidecar.snapshot().await;
    sidecar.ack(snapshot.epoch, snapshot.seq, vec![]).await;
    sidecar.delta().await;
    let facts = |provider: &str, hash8: &str| {
        world
            .facts
            .credential(&ObjectRef::parse(provider).expect("a name"), hash8)
    };
    let rejected = facts("shop/openai", "12345678");
    assert_eq!(
        (rejected.rejecting, rejected.accepting, rejected.rejected401),
        (1, 0, 3)
    );
    assert_eq!(facts("shop/openai", "87654321").rejecting, 0);
    assert_eq!(facts("other/secret", "12345678").rejecting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_without_a_common_schema_keeps_what_it_has_and_is_stale() {
    let world = World::new();
    let mut hello = first_hello();
    (hello.schema_min, hello.schema_max) = (90, 99);
    let mut sidecar = world.hello(hello).await;
    sidecar.welcome().await;
    assert!(sidecar.is_quiet(Duration::from_secs(20)).await);
    assert_eq!((world.counted().connected, world.counted().stale), (1, 1));
}
