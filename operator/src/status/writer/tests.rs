//! The writer against an API server in memory, in paused time.

use std::time::Duration;

use super::*;
use crate::fake_api::FakeApi;
use crate::status::{StatusRef, Wanted};
use crate::world::ObjectRef;

const PATH: &str = "/apis/llmroute.dev/v1alpha1/namespaces/shop/llmroutes";

struct House {
    api: FakeApi,
    desk: Desk,
    role: watch::Sender<Role>,
    metrics: Metrics,
    notes: tokio::sync::mpsc::Receiver<crate::events::Note>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "llmroute.dev".into(),
        version: "v1alpha1".into(),
        api_version: "llmroute.dev/v1alpha1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

fn house(role: Role) -> House {
    let (api, metrics, desk) = (FakeApi::default(), Metrics::new(), Desk::default());
    let (role, role_rx) = watch::channel(role);
    let (events, notes) = Events::new(&metrics);
    let writer = Writer {
        client: api.client(),
        providers: resource("LLMProvider", "llmproviders"),
        routes: resource("LLMRoute", "llmroutes"),
        desk: desk.clone(),
        role: role_rx,
        events,
        metrics: metrics.clone(),
    };
    let stop = CancellationToken::new();
    House {
        api,
        desk,
        role,
        metrics,
        notes,
        stop: stop.clone(),
        task: tokio::spawn(writer.run(stop)),
    }
}

fn route() -> StatusRef {
    StatusRef {
        kind: StatusKind::Route,
        id: ObjectRef::new("shop", "chat"),
    }
}

fn wanted(generation: i64, reason: &str, connected: u64) -> Wanted {
    let status = json!({
        "observedGeneration": generation,
        "conditions": [{ "type": "Programmed", "reason": reason }],
        "dataplane": { "connected": connected },
    });
    Wanted {
        uid: "u1".into(),
        generation,
        status,
    }
}

impl House {
    fn create(&self) {
        let object = json!({ "metadata": { "name": "chat", "uid": "u1" }, "spec": {} });
        self.api.put(PATH, object);
    }

    fn status(&self) -> Value {
        let object = self.api.get(&format!("{PATH}/chat"));
        object.map_or(Value::Null, |object| object["status"].clone())
    }

    fn writes(&self, outcome: &str) -> u64 {
        self.metrics
            .status_writes
            .with_label_values(&[outcome])
            .get()
    }
}

async fn millis(n: u64) {
    tokio::time::sleep(Duration::from_millis(n)).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_writes_and_a_new_leader_writes_what_it_wanted_before() {
    let house = house(Role::Standby { epoch: 1 });
    house.create();
    house.desk.want(&route(), wanted(1, "Pending", 0));
    millis(60_000).await;
    assert_eq!(house.status(), Value::Null);
    house.role.send_replace(Role::Elected { epoch: 1 });
    millis(1_000).await;
    assert_eq!(house.status(), Value::Null, "no epoch yet");
    house.role.send_replace(Role::Leading { epoch: 2 });
    millis(100).await;
    assert_eq!(house.status()["observedGeneration"], 1);
}

fn references(uid: &str, status: &str, message: &str) -> Wanted {
    let condition =
        json!({ "type": "ResolvedRefs", "status": status, "reason": status, "message": message });
    Wanted {
        uid: uid.into(),
        generation: 1,
        status: json!({ "observedGeneration": 1, "conditions": [condition] }),
    }
}

impl House {
    fn told(&mut self) -> Option<String> {
        self.notes.try_recv().ok().map(|note| note.text)
    }
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_is_there_a_moment_later_is_no_event() {
    let mut house = house(Role::Leading { epoch: 1 });
    house.create();
    let desk = house.desk.clone();
    desk.want(&route(), references("u1", "False", "no provider"));
    millis(50).await;
    let condition = house.status()["conditions"][0]["status"].clone();
    assert_eq!(condition, "False", "the condition is immediate");
    desk.want(&route(), references("u1", "True", ""));
    millis(60_000).await;
    assert_eq!(house.told(), None);
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_stays_unresolved_is_told_after_three_seconds_in_the_words_of_then() {
    let mut house = house(Role::Leading { epoch: 1 });
    house.create();
    let desk = house.desk.clone();
    desk.want(&route(), references("u1", "False", "no provider"));
    millis(2_000).await;
    desk.want(&route(), references("u1", "False", "no secret"));
    millis(900).await;
    assert_eq!(house.told(), None);
    millis(200).await;
    assert_eq!(house.told().as_deref(), Some("no secret"));
    millis(60_000).await;
    assert_eq!(house.told(), None, "once");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_or_another_leaders_is_not_told() {
    let mut house = house(Role::Leading { epoch: 1 });
    house.create();
    house
        .desk
        .want(&route(), references("u1", "False", "no provider"));
    millis(100).await;
    house.desk.gone(&route());
    millis(60_000).await;
    assert_eq!(house.told(), None, "gone");
    house
        .desk
        .want(&route(), references("u1", "False", "no provider"));
    millis(100).await;
    house.role.send_replace(Role::Standby { epoch: 1 });
    millis(60_000).await;
    assert_eq!(house.told(), None, "another leader's");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_status_is_written_once() {
    let house = house(Role::Leading { epoch: 1 });
    house.create();
    for _ in 0..10 {
        house.desk.want(&route(), wanted(1, "Programmed", 1));
        millis(6_000).await;
    }
    assert_eq!(house.writes("applied"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_nobody_waits_for_are_a_write_in_five_seconds() {
    let house = house(Role::Leading { epoch: 1 });
    house.create();
    for n in 0..1000 {
        house.desk.want(&route(), wanted(1, "Programmed", n));
        millis(20).await;
    }
    millis(5_000).await;
    assert_eq!(house.status()["dataplane"]["connected"], 999);
    let writes = house.writes("applied");
    assert!((4..=6).contains(&writes), "{writes} writes in 20 s");
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_a_failure_after_five_seconds_and_is_tried_again() {
    let house = house(Role::Leading { epoch: 1 });
    house.create();
    house.api.cut(true);
    house.desk.want(&route(), wanted(1, "Pending", 0));
    millis(6_000).await;
    assert_eq!(house.writes("timeout"), 1);
    house.api.cut(false);
    millis(5_000).await;
    assert_eq!(house.writes("applied"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_has_gone_is_no_failure() {
    let house = house(Role::Leading { epoch: 1 });
    house.desk.want(&route(), wanted(1, "Pending", 0));
    millis(1_000).await;
    assert_eq!((house.writes("moot"), house.writes("failed")), (1, 0));
    house.desk.gone(&route());
    millis(600_000).await;
    assert_eq!(house.writes("moot"), 1);
    assert_eq!(house.desk.backlog(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_waits_for_calm_and_ends() {
    let house = house(Role::Leading { epoch: 1 });
    house.create();
    house.desk.want(&route(), wanted(1, "Programmed", 1));
    millis(100).await;
    house.desk.want(&route(), wanted(1, "Programmed", 2));
    millis(100).await;
    assert_eq!(house.status()["dataplane"]["connected"], 1);
    house.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(3), house.task);
    ended.await.expect("ends").expect("without a panic");
    assert_eq!(
        house.api.get(&format!("{PATH}/chat")).expect("there")["status"]["dataplane"]["connected"],
        2
    );
}
