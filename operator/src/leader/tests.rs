//! The election against an API server in memory, in paused time.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::certs;
use crate::epoch::ROOT;
use crate::fake_api::FakeApi;

const LEASE_PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/llmroute-operator";
const ROOT_PATH: &str = "/api/v1/namespaces/ns/configmaps/llmroute-epoch";
const PODS: &str = "/api/v1/namespaces/ns/pods";

struct Process {
    role: watch::Receiver<Role>,
    shown: watch::Sender<u64>,
    health: LeaseHealth,
    stop: CancellationToken,
    ended: JoinHandle<Ended>,
}

fn start(api: &FakeApi, identity: &str) -> Process {
    let (role, role_rx) = watch::channel(Role::Standby { epoch: 0 });
    let (shown, shown_rx) = watch::channel(0);
    let health = LeaseHealth::new();
    let stop = CancellationToken::new();
    let leaf = ServedLeaf::default();
    let names = ["localhost".to_owned()];
    let now = jiff::Timestamp::now();
    let made = certs::renew(&certs::Data::new(), &names, now).expect("issues");
    leaf.replace(&made.expect("a first one").0);
    let candidate = Candidate {
        client: api.client(),
        namespace: "ns".into(),
        pod_name: Some(identity.split('_').next().unwrap_or_default().to_owned()),
        identity: identity.to_owned(),
        role,
        health: health.clone(),
        shown: shown_rx,
        leaf,
        metrics: Metrics::new(),
    };
    Process {
        role: role_rx,
        shown,
        health,
        stop: stop.clone(),
        ended: tokio::spawn(candidate.run(stop)),
    }
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

/// How the election ended; it must, within minutes of its own time.
async fn end(process: JoinHandle<Ended>) -> Ended {
    let ended = tokio::time::timeout(Duration::from_mins(5), process).await;
    ended.expect("the election ends").expect("without a panic")
}

impl Process {
    fn leading(&self) -> Option<u64> {
        self.role.borrow().leading()
    }
}

fn holder(api: &FakeApi) -> Value {
    api.get(LEASE_PATH).expect("a Lease")["spec"]["holderIdentity"].clone()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_the_other_follows_when_it_is_cut_off() {
    let (api, link) = (FakeApi::default(), FakeApi::default());
    let first = start(&api, "a_1");
    seconds(1).await;
    assert_eq!(first.leading(), Some(1));
    let second = start(&api, "b_1");
    seconds(60).await;
    assert_eq!((first.leading(), second.leading()), (Some(1), None));
    // The whole server is gone: the leader keeps leading and says how it stands.
    api.cut(true);
    seconds(120).await;
    assert_eq!(first.leading(), Some(1));
    assert!(first.health.is_unrenewed());
    drop(link);
    api.cut(false);
    seconds(30).await;
    // Whoever wrote first, exactly one leads and the other never believes it does too.
    let leaders = [&first, &second]
        .iter()
        .filter(|p| p.leading().is_some())
        .count();
    assert_eq!(leaders, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_within_17_s_under_a_higher_epoch() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let second = start(&api, "b_1");
    seconds(10).await;
    first.ended.abort();
    seconds(20).await;
    assert_eq!(second.leading(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reads_another_holder_is_deposed_for_good() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let mut lease = api.get(LEASE_PATH).expect("a Lease");
    lease["spec"]["holderIdentity"] = "b_1".into();
    api.put("/apis/coordination.k8s.io/v1/namespaces/ns/leases", lease);
    let ended = end(first.ended).await;
    assert_eq!(ended, Ended::Deposed { by: "b_1".into() });
    assert_eq!(first.role.borrow().leading(), None);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reads_another_owner_is_deposed_for_good() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let map = json!({ "metadata": { "name": ROOT }, "data": { "epoch": "9", "owner": "b_1" } });
    api.put("/api/v1/namespaces/ns/configmaps", map);
    let ended = end(first.ended).await;
    assert_eq!(ended, Ended::Deposed { by: "b_1".into() });
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reads_another_owner_hands_its_lease_over_and_one_that_lost_it_leaves_it() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let map = json!({ "metadata": { "name": ROOT }, "data": { "epoch": "9", "owner": "x" } });
    api.put("/api/v1/namespaces/ns/configmaps", map);
    end(first.ended).await;
    assert_eq!(holder(&api), Value::Null);
    let second = start(&api, "b_1");
    seconds(1).await;
    assert_eq!(second.leading(), Some(10), "at once");
    let mut lease = api.get(LEASE_PATH).expect("a Lease");
    lease["spec"]["holderIdentity"] = "c_1".into();
    api.put("/apis/coordination.k8s.io/v1/namespaces/ns/leases", lease);
    end(second.ended).await;
    assert_eq!(holder(&api), "c_1");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_ends_takes_its_label_off_and_waits_for_nobody_to_do_so() {
    let api = FakeApi::default();
    let labels = || api.get(&format!("{PODS}/a")).expect("there")["metadata"]["labels"].clone();
    // The fake's list knows no selectors: what it lists is worn.
    let worn = json!({ LEADER_LABEL: "true", "app": "x" });
    let pod = json!({ "metadata": { "name": "a", "labels": worn } });
    api.put(PODS, pod);
    let first = start(&api, "a_1");
    seconds(1).await;
    first.stop.cancel();
    end(first.ended).await;
    assert_eq!(labels(), json!({ "app": "x" }));
    assert_eq!(holder(&api), Value::Null);

    let second = start(&api, "a_2");
    seconds(1).await;
    assert_eq!(second.leading(), Some(2));
    api.cut(true);
    let cut = Instant::now();
    second.stop.cancel();
    end(second.ended).await;
    // The label and the Lease, and no turn before.
    let took = cut.elapsed();
    assert!(took <= Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_same_pod_is_another_holder_with_a_higher_epoch() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    first.ended.abort();
    let again = start(&api, "a_2");
    seconds(5).await;
    assert_eq!(again.leading(), None, "the old Lease runs out first");
    seconds(15).await;
    assert_eq!(again.leading(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_leader_hands_over_at_once() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let second = start(&api, "b_1");
    seconds(5).await;
    first.stop.cancel();
    assert_eq!(end(first.ended).await, Ended::Stopped);
    seconds(3).await;
    assert_eq!(second.leading(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_leaves_one_leader() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let second = start(&api, "b_1");
    seconds(5).await;
    api.delete(LEASE_PATH);
    seconds(10).await;
    let leaders = [&first, &second]
        .iter()
        .filter(|p| p.leading().is_some())
        .count();
    assert_eq!(leaders, 1);
    assert!(holder(&api) == "a_1" || holder(&api) == "b_1");
}

#[tokio::test(start_paused = true)]
async fn a_higher_epoch_that_a_sidecar_shows_is_exceeded_once_a_minute_at_most() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    first.shown.send_replace(70);
    seconds(5).await;
    assert_eq!(first.leading(), Some(71), "a store set back shows at once");
    first.shown.send_replace(80);
    seconds(40).await;
    assert_eq!(first.leading(), Some(71), "the last time was just now");
    seconds(25).await;
    assert_eq!(first.leading(), Some(81));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_root_is_owned_again_above_the_last_epoch() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    api.delete(ROOT_PATH);
    seconds(15).await;
    assert_eq!(first.leading(), Some(2));
    assert_eq!(api.get(ROOT_PATH).expect("there")["data"]["epoch"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_root_set_back_to_an_older_copy_of_another_owner_ends_the_leader() {
    let api = FakeApi::default();
    let first = start(&api, "a_1");
    seconds(1).await;
    let old = api.get(ROOT_PATH).expect("there");
    first.stop.cancel();
    end(first.ended).await;
    let second = start(&api, "b_1");
    seconds(5).await;
    assert_eq!(second.leading(), Some(2));
    api.put("/api/v1/namespaces/ns/configmaps", old);
    let ended = end(second.ended).await;
    assert_eq!(ended, Ended::Deposed { by: "a_1".into() });
}

#[tokio::test(start_paused = true)]
async fn the_label_is_taken_from_the_others_and_worn() {
    let api = FakeApi::default();
    let worn = json!({ "llmroute.dev/leader": "true", "app": "x" });
    api.put(
        PODS,
        json!({ "metadata": { "name": "old", "labels": worn } }),
    );
    // The fake's list knows no selectors: a list of wearers, and our own pod among them.
    api.put(
        PODS,
        json!({ "metadata": { "name": "a", "labels": { "llmroute.dev/leader": "true" } } }),
    );
    let first = start(&api, "a_1");
    seconds(1).await;
    assert_eq!(first.leading(), Some(1));
    let labels =
        |pod: &str| api.get(&format!("{PODS}/{pod}")).expect("there")["metadata"]["labels"].clone();
    assert_eq!(labels("old"), json!({ "app": "x" }));
    assert_eq!(labels("a")["llmroute.dev/leader"], "true");
}
