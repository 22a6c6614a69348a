//! The task between queues of the tests' own, in paused time.

use serde_json::{Value, json};

use super::*;
use crate::admin::Readiness;
use crate::watches::Source;
use crate::world::PodFacts;

struct House {
    seen: mpsc::Sender<Seen>,
    view: watch::Receiver<Option<Arc<dyn View>>>,
    config_maps: watch::Receiver<BTreeSet<ObjectRef>>,
    role: watch::Sender<Role>,
    _trusted: watch::Sender<String>,
    desk: Desk,
    metrics: Metrics,
}

fn house() -> House {
    let (seen, told) = mpsc::channel(QUEUE);
    let (view, view_rx) = watch::channel(None);
    let (config_maps, config_maps_rx) = watch::channel(BTreeSet::new());
    let (role, role_rx) = watch::channel(Role::Standby { epoch: 0 });
    let (trusted, trusted_rx) = watch::channel("a CA".to_owned());
    let (desk, metrics) = (Desk::default(), Metrics::new());
    let deps = Deps {
        seen: told,
        facts: Facts::default(),
        view,
        config_maps,
        trusted: trusted_rx,
        desk: desk.clone(),
        role: role_rx,
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        options: Options::default(),
        clock: || Timestamp::UNIX_EPOCH,
    };
    tokio::spawn(Reconciler::new(deps).run());
    House {
        seen,
        view: view_rx,
        config_maps: config_maps_rx,
        role,
        _trusted: trusted,
        desk,
        metrics,
    }
}

impl House {
    async fn tell(&self, change: Change) {
        let sent = self.seen.send(Seen::change(change)).await;
        sent.expect("the task runs");
    }

    async fn listed(&self) {
        for source in Source::LISTED {
            let sent = self.seen.send(Seen::Synced(source)).await;
            sent.expect("the task runs");
        }
    }

    /// The names of what a pod gets; `None` while nothing is published.
    fn pushed(&self, labels: &[(&str, &str)]) -> Option<Vec<String>> {
        let view = self.view.borrow().clone()?;
        let config = view.config(&pod(labels));
        Some(
            config
                .resources
                .keys()
                .map(|key| key.name.clone())
                .collect(),
        )
    }

    fn lead(&self) {
        self.role.send_replace(Role::Leading { epoch: 1 });
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Object {
    let manifest = json!({
        "kind": kind,
        "metadata": { "namespace": "shop", "name": name, "uid": "u1" },
        "spec": spec,
    });
    Object::from_manifest(&manifest, 1, Timestamp::UNIX_EPOCH).expect("named")
}

fn provider() -> Change {
    Change::Provider(object("LLMProvider", "mock", &json!({ "type": "mock" })))
}

fn route(selector: &Value) -> Change {
    let target = json!({ "providerRef": { "name": "mock" }, "model": "echo" });
    let rule = json!({ "name": "all", "targets": [target] });
    let spec = json!({ "workloadSelector": selector, "rules": [rule] });
    Change::Route(object("LLMRoute", "chat", &spec))
}

fn pod(labels: &[(&str, &str)]) -> PodFacts {
    let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    PodFacts {
        namespace: "shop".into(),
        name: "web".into(),
        uid: "u1".into(),
        labels: labels.collect(),
        service_account: None,
        workload: "Pod/web".into(),
        terminating: false,
        injected: true,
    }
}

fn wants(house: &House) -> usize {
    house.desk.backlog()
}

async fn millis(n: u64) {
    tokio::time::sleep(Duration::from_millis(n)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_before_every_cache_was_listed() {
    let house = house();
    house.tell(provider()).await;
    house.tell(route(&json!({}))).await;
    millis(60_000).await;
    assert_eq!(house.pushed(&[]), None);
    house.listed().await;
    millis(10).await;
    let pushed = house.pushed(&[]).expect("published");
    assert!(pushed.contains(&"shop/chat".to_owned()), "{pushed:?}");
    assert!(pushed.contains(&"shop/mock".to_owned()), "{pushed:?}");
    assert!(
        pushed.contains(&"global".to_owned()),
        "the CA bundle: {pushed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_the_routes_that_select_it() {
    let house = house();
    house.listed().await;
    house.tell(provider()).await;
    let selector = json!({ "matchLabels": { "app": "web" } });
    house.tell(route(&selector)).await;
    millis(10).await;
    let has_route = |labels| {
        let pushed = house.pushed(labels).expect("published");
        pushed.contains(&"shop/chat".to_owned())
    };
    assert!(has_route(&[("app", "web")]));
    assert!(!has_route(&[("app", "other")]));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_other_than_before_is_published_and_one_that_isnt_is_not() {
    let mut house = house();
    house.listed().await;
    millis(10).await;
    house.view.borrow_and_update();
    house.tell(Change::Pod(pod(&[("app", "web")]))).await;
    millis(10).await;
    assert!(house.view.has_changed().expect("open"));
    let id = ObjectRef::new("shop", "web");
    let view = house.view.borrow_and_update().clone().expect("published");
    assert!(view.pod(&id).is_some());
    house.tell(Change::Pod(pod(&[("app", "web")]))).await;
    millis(10).await;
    assert!(
        !house.view.has_changed().expect("open"),
        "a heartbeat of the kubelet"
    );
    house.tell(Change::PodGone(id.clone())).await;
    millis(10).await;
    let view = house.view.borrow_and_update().clone().expect("published");
    assert!(view.pod(&id).is_none());
}

#[tokio::test(start_paused = true)]
async fn statuses_are_the_leaders_and_a_new_leader_computes_them_all() {
    let house = house();
    house.listed().await;
    house.tell(provider()).await;
    house.tell(route(&json!({}))).await;
    millis(1_000).await;
    assert_eq!(wants(&house), 0, "a standby wants nothing");
    house.lead();
    millis(100).await;
    assert_eq!(wants(&house), 2);
    house
        .tell(Change::RouteGone(ObjectRef::new("shop", "chat")))
        .await;
    millis(100).await;
    assert_eq!(wants(&house), 1, "what is gone has no status");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_counted_and_holds_up_no_other() {
    let house = house();
    house.listed().await;
    let bad = object("LLMRoute", "bad", &json!({ "rules": "none" }));
    house.tell(Change::Route(bad)).await;
    house.tell(provider()).await;
    house.tell(route(&json!({}))).await;
    millis(10).await;
    assert_eq!(
        house
            .metrics
            .malformed
            .with_label_values(&["llmroutes"])
            .get(),
        1
    );
    let pushed = house.pushed(&[]).expect("published");
    assert!(pushed.contains(&"shop/chat".to_owned()), "{pushed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_first_named_config_map_is_asked_for_and_waited_for() {
    let mut house = house();
    house.listed().await;
    millis(10).await;
    house.view.borrow_and_update();
    let ca = json!({ "name": "ca", "key": "ca.crt" });
    let endpoint = json!({ "baseURL": "https://llm.example/v1", "caBundleRef": ca });
    let auth = json!({ "type": "None" });
    let spec = json!({ "type": "custom", "dialect": "OpenAI", "endpoint": endpoint, "auth": auth });
    let private = object("LLMProvider", "private", &spec);
    house.tell(Change::Provider(private)).await;
    millis(100).await;
    let id = ObjectRef::new("shop", "ca");
    assert_eq!(*house.config_maps.borrow(), BTreeSet::from([id.clone()]));
    assert!(!house.view.has_changed().expect("open"), "it is waited for");
    house.tell(Change::ConfigMapGone(id)).await;
    millis(10).await;
    assert!(house.view.has_changed().expect("open"));
}
