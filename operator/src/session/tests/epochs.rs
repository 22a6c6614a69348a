//! Who serves, and under which epoch.

use super::*;
use llmroute_protocol::ServingEpochRequest;

async fn serving(world: &World) -> (u64, bool) {
    let reply = world
        .client()
        .await
        .serving_epoch(ServingEpochRequest {})
        .await;
    let reply = reply.expect("answered without a token").into_inner();
    (reply.epoch, reply.leader)
}

#[tokio::test(start_paused = true)]
async fn a_standby_says_so_and_reviews_no_token() {
    let world = World::new();
    for role in [Role::Standby { epoch: 6 }, Role::Elected { epoch: 6 }] {
        world.role.send_replace(role.clone());
        let mut sidecar = world.hello(first_hello()).await;
        let (notice, status) = sidecar.notice().await;
        assert_eq!(notice.reason(), Reason::NotLeader, "{role:?}");
        assert!(status.is_none(), "{status:?}");
        assert_eq!(serving(&world).await, (6, false));
    }
    assert_eq!(world.reviewer.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_serving_epoch_is_told_to_anybody() {
    assert_eq!(serving(&World::new()).await, (EPOCH, true));
}

#[tokio::test(start_paused = true)]
async fn a_welcome_names_epoch_owner_and_time() {
    let world = World::new();
    let welcome = world.hello(first_hello()).await.welcome().await;
    let expected = Welcome {
        epoch: EPOCH,
        owner: "op-1/abc".into(),
        leader_unix_ms: noon().as_millisecond(),
    };
    assert_eq!(welcome, expected);
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_followed_a_higher_epoch_is_shown_to_the_election_and_not_served() {
    let world = World::new();
    let mut hello = first_hello();
    hello.max_epoch = EPOCH;
    world.hello(hello.clone()).await.welcome().await;
    assert_eq!(*world.shown.borrow(), 0);

    (hello.max_epoch, hello.conn) = (EPOCH + 5, 2);
    let mut sidecar = world.hello(hello.clone()).await;
    let (notice, _) = sidecar.notice().await;
    assert_eq!(notice.reason(), Reason::NotLeader);
    assert!(notice.message.contains("higher epoch"), "{notice:?}");
    assert_eq!(*world.shown.borrow(), EPOCH + 5);

    world.role.send_replace(Role::Leading { epoch: EPOCH + 6 });
    hello.conn = 3;
    let welcome = world.hello(hello).await.welcome().await;
    assert_eq!(welcome.epoch, EPOCH + 6);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_no_leader_can_have_had_does_not_reach_the_election() {
    let world = World::new();
    let mut hello = first_hello();
    hello.max_epoch = u64::MAX;
    let (notice, _) = world.hello(hello).await.notice().await;
    assert_eq!(notice.message, Refusal::WrongEpoch.to_string());
    assert_eq!(*world.shown.borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn sessions_end_when_the_role_is_lost_and_when_the_epoch_changes() {
    let world = World::new();
    for role in [
        Role::Elected { epoch: EPOCH },
        Role::Standby { epoch: EPOCH + 1 },
        Role::Leading { epoch: EPOCH + 1 },
    ] {
        world.role.send_replace(Role::Leading { epoch: EPOCH });
        let mut hello = first_hello();
        hello.incarnation.as_mut().expect("set").born_unix_ms += world.facts_opened();
        let mut sidecar = world.hello(hello).await;
        sidecar.welcome().await;
        world.role.send_replace(role.clone());
        let (notice, _) = sidecar.notice().await;
        assert_eq!(notice.reason(), Reason::NotLeader, "{role:?}");
    }
    let closed = world
        .metrics
        .sessions_closed
        .with_label_values(&["not_leader"]);
    assert_eq!(closed.get(), 3);
}

impl World {
    fn facts_opened(&self) -> u64 {
        self.metrics.sessions_opened.get()
    }
}
