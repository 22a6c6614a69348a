//! Who may open a session and what it is sent, tried by a client in the test's hands
//! against the operator with real tokens.

use std::collections::BTreeMap;

use llmroute_protocol::{Key, Kind};
use llmroute_tests::prelude::*;
use llmroute_tests::session_client::{Answered, Caller, SessionClient, State, refused};

const SOON: Duration = Duration::from_secs(20);

async fn caller(token: String) -> Result<Caller> {
    let installation = Installation::shared().await;
    Ok(Caller {
        address: installation.address(),
        ca_pem: installation.ca_pem().await?,
        token,
        held: BTreeMap::default(),
        max_epoch: 0,
    })
}

async fn open(token: String) -> Result<SessionClient> {
    let session = SessionClient::open(caller(token).await?, |_| Answered::Ok).await?;
    session.map_err(|status| anyhow!("refused: {status}"))
}

async fn namespace(name: &str) -> Result<Namespace<'static>> {
    Installation::shared().await.cluster().namespace(name).await
}

fn chat(app: &str) -> String {
    manifests::mock("mock")
        + &manifests::route("chat", app, &[("chat", &manifests::target("mock", "echo"))])
}

#[tokio::test]
async fn a_token_that_is_not_bound_to_a_pod_is_refused() -> Result<()> {
    let ns = namespace("unbound").await?;
    let token = ns.token_with(&["--audience", "llmroute.dev"]).await?;
    let status = refused(caller(token).await?).await?;
    ensure!(
        status.message().contains("isn't bound to a pod"),
        "{status}"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() -> Result<()> {
    let ns = namespace("audience").await?;
    ns.pod("app", "shop").await?;
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", "app"];
    // For the API server itself, and for a stranger.
    for audience in [&[][..], &["--audience", "vault"]] {
        let args: Vec<_> = bound.iter().chain(audience).copied().collect();
        let token = ns.token_with(&args).await?;
        let status = refused(caller(token).await?).await?;
        ensure!(status.message().contains("another audience"), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_deleted_pod_is_refused_also_when_the_name_is_taken_again() -> Result<()> {
    let ns = namespace("deleted").await?;
    ns.pod("app", "shop").await?;
    let token = ns.token("app").await?;
    ns.kubectl(&["delete", "pod", "app", "--force", "--grace-period=0"])
        .await?;
    let status = refused(caller(token.clone()).await?).await?;
    ensure!(status.message().contains("deleted"), "{status}");
    ns.pod("app", "shop").await?;
    let status = refused(caller(token).await?).await?;
    ensure!(status.message().contains("deleted"), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_forged_token_and_none_are_refused() -> Result<()> {
    let ns = namespace("forged").await?;
    ns.pod("app", "shop").await?;
    let token = ns.token("app").await?;
    let (head, signature) = token.rsplit_once('.').context("not a JWT")?;
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    // Of another cluster: as good a token as any, signed by a stranger.
    for token in [forged, "nonsense".to_owned()] {
        let status = refused(caller(token).await?).await?;
        ensure!(
            status.message().contains("doesn't know the token"),
            "{status}"
        );
    }
    let status = refused(caller(String::new()).await?).await?;
    ensure!(status.message().contains("token"), "{status}");
    Ok(())
}

#[tokio::test]
async fn each_refusal_is_counted_by_its_reason() -> Result<()> {
    let ns = namespace("counted").await?;
    let token = ns.token_with(&["--audience", "llmroute.dev"]).await?;
    refused(caller(token).await?).await?;
    let operator = Installation::shared_operator().await;
    let labels = [r#"reason="not_bound""#];
    let count = operator
        .metric("llmroute_auth_failures_total", &labels)
        .await?;
    ensure!(count >= 1, "{count}");
    Ok(())
}

#[tokio::test]
async fn a_pod_is_sent_what_it_needs_and_no_more() -> Result<()> {
    let ns = namespace("needs").await?;
    ns.secret("openai", "sk-of-this-pod").await?;
    ns.secret("other", "sk-of-another-pod").await?;
    for name in ["openai", "other"] {
        ns.apply(&manifests::provider(
            name,
            "https://llm.example.com/v1",
            Some(name),
        ))
        .await?;
        let target = manifests::target(name, "m");
        ns.apply(&manifests::route(name, name, &[("m", &target)]))
            .await?;
    }
    ns.pod("app", "openai").await?;
    let session = open(ns.token("app").await?).await?;
    let name = format!("{}/openai", ns.name);
    for kind in [Kind::Route, Kind::Provider, Kind::Credential] {
        session
            .wait_holds(&Key::new(kind, name.clone()), SOON)
            .await?;
    }
    let state = session.state();
    ensure!(
        state
            .held
            .keys()
            .all(|k| k.name == name || k.kind == Kind::Global),
        "{}",
        state.summary()
    );
    Ok(())
}

#[tokio::test]
async fn a_rotated_secret_is_one_small_push_of_the_credential_alone() -> Result<()> {
    let ns = namespace("rotation").await?;
    ns.secret("openai", "sk-before").await?;
    ns.apply(&manifests::provider(
        "openai",
        "https://llm.example.com/v1",
        Some("openai"),
    ))
    .await?;
    ns.apply(&manifests::route(
        "chat",
        "shop",
        &[("m", &manifests::target("openai", "m"))],
    ))
    .await?;
    ns.pod("app", "shop").await?;
    let session = open(ns.token("app").await?).await?;
    let key = Key::new(Kind::Credential, format!("{}/openai", ns.name));
    let before = session.wait_holds(&key, SOON).await?;
    let frames = session.state().frames.len();
    ns.secret("openai", "sk-after").await?;
    session
        .wait("the rotation", SOON, |s| {
            (s.held.get(&key)? != &before).then_some(())
        })
        .await?;
    let pushed = State {
        frames: session.state().frames[frames..].to_vec(),
        ..State::default()
    };
    ensure!(pushed.sent() == 1, "{} resources were sent", pushed.sent());
    Ok(())
}

#[tokio::test]
async fn a_client_that_holds_everything_is_sent_nothing_again() -> Result<()> {
    let ns = namespace("resume").await?;
    ns.apply(&chat("shop")).await?;
    ns.pod("app", "shop").await?;
    let token = ns.token("app").await?;
    let first = open(token.clone()).await?;
    let route = Key::new(Kind::Route, format!("{}/chat", ns.name));
    first.wait_holds(&route, SOON).await?;
    let held = first.state().held;
    drop(first);
    let mut again = caller(token).await?;
    again.held = held.clone();
    let second = SessionClient::open(again, |_| Answered::Ok)
        .await?
        .map_err(|s| anyhow!("{s}"))?;
    // It acknowledges that it is up to date, or the operator that it needn't.
    ns.wait_condition("llmr/chat", "Programmed", "True", "Programmed", SOON)
        .await?;
    let state = second.state();
    ensure!(
        state.sent() == 0 && state.held == held,
        "{} sent; {}",
        state.sent(),
        state.summary()
    );
    Ok(())
}

#[tokio::test]
async fn a_resource_that_one_of_two_refuses_is_partially_programmed_and_harms_no_other()
-> Result<()> {
    let ns = namespace("partly").await?;
    let target = manifests::target("mock", "echo");
    ns.apply(&manifests::mock("mock")).await?;
    for name in ["chat", "other"] {
        ns.apply(&manifests::route(name, "shop", &[(name, &target)]))
            .await?;
    }
    for pod in ["good", "bad"] {
        ns.pod(pod, "shop").await?;
    }
    let good = open(ns.token("good").await?).await?;
    let chat = format!("{}/chat", ns.name);
    let refuses = chat.clone();
    let judge = move |resource: &llmroute_protocol::Resource| {
        if resource.kind() == Kind::Route && resource.name == refuses {
            return Answered::Error {
                path: "spec.rules[0].targets[0].model".to_owned(),
                message: "the test can't stand it".to_owned(),
            };
        }
        Answered::Ok
    };
    let bad = SessionClient::open(caller(ns.token("bad").await?).await?, judge)
        .await?
        .map_err(|s| anyhow!("{s}"))?;
    let found = ns
        .wait_condition(
            "llmr/chat",
            "Programmed",
            "False",
            "PartiallyProgrammed",
            SOON,
        )
        .await?;
    let status = ns.get("llmr/chat").await?["status"].clone();
    let sample = &status["rejections"][0];
    ensure!(
        sample["pod"] == "bad"
            && sample["path"] == "spec.rules[0].targets[0].model"
            && sample["message"] == "the test can't stand it",
        "{status:#}"
    );
    ensure!(
        status["dataplane"]["connected"] == 2 && status["dataplane"]["rejected"] == 1,
        "{status:#}"
    );
    report!("Programmed: {}", found["message"]);
    ns.wait_condition("llmr/other", "Programmed", "True", "Programmed", SOON)
        .await?;
    // The same bytes are not sent again until they change.
    let sent = bad.state().sent();
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(bad.state().sent() == sent, "resent after an error");
    ensure!(good.state().ended.is_none() && bad.state().ended.is_none());
    Ok(())
}

#[tokio::test]
async fn programmed_counts_sidecars_as_they_come_and_go() -> Result<()> {
    let ns = namespace("count").await?;
    ns.apply(&chat("shop")).await?;
    ns.wait_condition("llmr/chat", "Programmed", "Unknown", "NoSidecars", SOON)
        .await?;
    ns.pod("app", "shop").await?;
    let session = open(ns.token("app").await?).await?;
    ns.wait_condition("llmr/chat", "Programmed", "True", "Programmed", SOON)
        .await?;
    ns.wait_for("llmr/chat", "Programmed").await?;
    let summary = ns.get("llmr/chat").await?["status"]["summary"]["sidecars"].clone();
    ensure!(summary == "1/1", "{summary}");
    drop(session);
    ns.wait_condition("llmr/chat", "Programmed", "Unknown", "NoSidecars", SOON)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_bad_edit_leaves_what_was_pushed_and_says_so() -> Result<()> {
    let ns = namespace("badedit").await?;
    ns.apply(&chat("shop")).await?;
    ns.pod("app", "shop").await?;
    let session = open(ns.token("app").await?).await?;
    let route = Key::new(Kind::Route, format!("{}/chat", ns.name));
    let good = session.wait_holds(&route, SOON).await?;
    // Past the schema and CEL, but not past validation: a type that is in no catalog.
    ns.apply(
        &manifests::mock("typo").replace("type: mock", "type: opnai\n  auth: {type: Passthrough}"),
    )
    .await?;
    ns.wait_condition("llmp/typo", "Accepted", "False", "UnknownType", SOON)
        .await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(session.state().held.get(&route) == Some(&good));
    Ok(())
}
