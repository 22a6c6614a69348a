use serde_json::{Value, json};

use super::super::push::Answered;
use super::*;
use crate::controllers::{Engine, Options};
use crate::world::{Change, Labels, Object, SecretFacts};

/// A route for the pods `app: web`, its provider and its secret.
fn built() -> Arc<Built> {
    let mut engine = Engine::new(Options::default());
    let id = ObjectRef::new("shop", "openai");
    let key = ("api-key".to_owned(), b"sk-test".to_vec());
    engine.apply(Change::Secret(SecretFacts::new(id, [key])));
    let object = |manifest: Value| {
        Object::from_manifest(&manifest, 1, Timestamp::UNIX_EPOCH).expect("it has a name")
    };
    engine.apply(Change::Provider(object(json!({
        "metadata": {"namespace": "shop", "name": "openai"},
        "spec": {"type": "openai", "auth": {"type": "SecretRef", "secretRef": {"name": "openai"}}},
    }))));
    engine.apply(Change::Route(object(json!({
        "metadata": {"namespace": "shop", "name": "chat"},
        "spec": {
            "workloadSelector": {"matchLabels": {"app": "web"}},
            "rules": [{"name": "r", "targets": [{"providerRef": {"name": "openai"}, "model": "gpt-4o"}]}],
        },
    }))));
    engine.built()
}

fn pod(name: &str, app: &str) -> Arc<PodFacts> {
    Arc::new(PodFacts {
        namespace: "shop".into(),
        name: name.into(),
        uid: name.into(),
        labels: Labels::from([("app".into(), app.into())]),
        service_account: None,
        workload: "Deployment/web".into(),
        terminating: false,
        injected: true,
    })
}

fn chat() -> ObjectRef {
    ObjectRef::new("shop", "chat")
}

/// A session that was pushed what its pod needs, and answers it so.
fn answers(facts: &Facts, built: &Built, pod: Arc<PodFacts>, refuses: Option<Kind>) -> OpenFacts {
    let config = Arc::new(built.for_pod(&pod));
    let open = facts.open(pod);
    open.waits(config.clone(), Waiting::Ack);
    let answers = config.resources.values().map(|resource| Answered {
        resource: resource.clone(),
        error: (refuses == Some(resource.kind())).then(|| ("spec.x".into(), "no".into())),
    });
    open.answered(answers.collect(), Timestamp::UNIX_EPOCH);
    open
}

#[tokio::test]
async fn the_sidecars_of_a_route_are_those_that_it_selects() {
    let (facts, built) = (Facts::default(), built());
    assert_eq!(built.needs(&chat()).len(), 3, "route, provider, credential");
    let _selected = answers(&facts, &built, pod("a", "web"), None);
    let _other = answers(&facts, &built, pod("b", "admin"), None);
    let counted = facts.route(&built, &chat());
    assert_eq!((counted.connected, counted.acked), (1, 1));
}

#[tokio::test]
async fn a_route_is_in_force_only_with_all_that_it_needs() {
    let (facts, built) = (Facts::default(), built());
    let _a = answers(&facts, &built, pod("a", "web"), Some(Kind::Provider));
    let _b = answers(&facts, &built, pod("b", "web"), Some(Kind::Credential));
    let _c = answers(&facts, &built, pod("c", "web"), None);
    let counted = facts.route(&built, &chat());
    assert_eq!(
        (counted.acked, counted.rejected, counted.pending()),
        (1, 2, 0)
    );
    let samples: Vec<_> = counted
        .rejections
        .iter()
        .map(|r| (&*r.pod, r.resource.kind))
        .collect();
    assert_eq!(samples, [("a", Kind::Provider), ("b", Kind::Credential)]);
}

#[tokio::test]
async fn a_session_that_was_not_pushed_the_newest_is_connected_and_pending() {
    let (facts, built) = (Facts::default(), built());
    let _open = facts.open(pod("a", "web"));
    let counted = facts.route(&built, &chat());
    assert_eq!((counted.connected, counted.pending()), (1, 1));
}

#[tokio::test]
async fn nothing_is_kept_of_a_stream_that_ended_and_its_routes_are_told() {
    let (facts, built) = (Facts::default(), built());
    let open = answers(&facts, &built, pod("a", "web"), None);
    let said = CredentialState {
        provider: "shop/openai".into(),
        accepted: true,
        ..CredentialState::default()
    };
    open.credential(said.clone());
    assert_eq!(
        facts
            .credential(&ObjectRef::new("shop", "openai"), &said.hash8)
            .accepting,
        1
    );
    facts.touched().await;
    drop(open);
    let touched = facts.touched().await;
    assert!(touched.routes.contains(&chat()), "{touched:?}");
    assert!(
        touched
            .providers
            .contains(&ObjectRef::new("shop", "openai")),
        "{touched:?}"
    );
    assert_eq!(facts.route(&built, &chat()), Dataplane::default());
    assert_eq!(facts.sessions(), 0);
}

#[tokio::test]
async fn samples_are_few_and_the_first_by_name() {
    let (facts, built) = (Facts::default(), built());
    let names: Vec<_> = (0..9).rev().map(|n| format!("web-{n}")).collect();
    let open = names
        .iter()
        .map(|n| answers(&facts, &built, pod(n, "web"), Some(Kind::Route)));
    let _open: Vec<_> = open.collect();
    let counted = facts.route(&built, &chat());
    assert_eq!(counted.rejected, 9);
    let samples: Vec<_> = counted.rejections.iter().map(|r| r.pod.as_str()).collect();
    assert_eq!(samples, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
}
