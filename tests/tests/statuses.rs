//! The operator under the RBAC that is shipped: what each object's status says,
//! and that it follows what the object refers to. No sidecar is connected.

use llmroute_tests::prelude::*;

/// From a change to the status that follows from it. A status may be held back
/// for 5 s after another one.
const SOON: Duration = Duration::from_secs(15);

async fn namespace(name: &str) -> Result<Namespace<'static>> {
    Installation::shared().await.cluster().namespace(name).await
}

fn chat(provider: &str) -> String {
    manifests::route("chat", "shop", &[("m", &manifests::target(provider, "m"))])
}

#[tokio::test]
async fn a_good_provider_and_a_route_to_it_are_ready() -> Result<()> {
    let ns = namespace("good").await?;
    ns.apply(
        &(manifests::mock("mock")
            + &manifests::route(
                "chat",
                "shop",
                &[("m", "{providerRef: {name: mock}, model: echo}")],
            )),
    )
    .await?;
    ns.wait_condition("llmp/mock", "Ready", "True", "Ready", SOON)
        .await?;
    ns.wait_condition("llmr/chat", "Accepted", "True", "Accepted", SOON)
        .await?;
    ns.wait_condition("llmr/chat", "Programmed", "Unknown", "NoSidecars", SOON)
        .await?;
    // A route that comes before its app must not hold a GitOps wave back.
    ns.wait_for("llmr/chat", "Ready").await?;
    for object in ["llmp/mock", "llmr/chat"] {
        let status = ns.get(object).await?["status"].to_string();
        ensure!(!status.contains("1970-01-01"), "{object}: {status}");
    }
    eventually("the provider to count its route", SOON, async || {
        let routes = ns.get("llmp/mock").await?["status"]["summary"]["routes"].clone();
        ensure!(routes == "1", "{routes}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_without_our_label_is_named_with_the_command_that_labels_it() -> Result<()> {
    let ns = namespace("unlabelled").await?;
    ns.secret_with("openai", "sk-planted", &json!({})).await?;
    ns.apply(&manifests::provider(
        "openai",
        "https://llm.example.com/v1",
        Some("openai"),
    ))
    .await?;
    let found = ns
        .wait_condition(
            "llmp/openai",
            "ResolvedRefs",
            "False",
            "SecretNotFound",
            SOON,
        )
        .await?;
    let name = &ns.name;
    let wanted = format!(
        "no Secret {name}/openai labelled llmroute.dev/credential=true; if it exists: kubectl -n {name} label secret openai llmroute.dev/credential=true"
    );
    ensure!(
        found["message"] == wanted.as_str(),
        "{found}\nwanted: {wanted}"
    );
    // The command cures it.
    ns.kubectl(&["label", "secret", "openai", "llmroute.dev/credential=true"])
        .await?;
    ns.wait_condition("llmp/openai", "Ready", "True", "Ready", SOON)
        .await?;
    let credential = ns.get("llmp/openai").await?["status"]["credential"].clone();
    ensure!(
        credential["hash8"].as_str().is_some_and(|h| h.len() == 8),
        "{credential}"
    );
    Ok(())
}

#[tokio::test]
async fn a_secret_without_the_key_says_which_key_is_missing() -> Result<()> {
    let ns = namespace("nokey").await?;
    ns.secret("openai", "sk-planted").await?;
    let manifest = manifests::provider("openai", "https://llm.example.com/v1", Some("openai"))
        .replace("{name: openai}}", "{name: openai, key: other}}");
    ns.apply(&manifest).await?;
    let found = ns
        .wait_condition("llmp/openai", "ResolvedRefs", "False", "KeyNotFound", SOON)
        .await?;
    ensure!(
        found["message"]
            .as_str()
            .is_some_and(|m| m.contains("other")),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn a_route_follows_its_secret_provider_and_their_return() -> Result<()> {
    let ns = namespace("follows").await?;
    ns.apply(&chat("openai")).await?;
    ns.wait_condition(
        "llmr/chat",
        "ResolvedRefs",
        "False",
        "ProviderNotFound",
        SOON,
    )
    .await?;
    ns.apply(&manifests::provider(
        "openai",
        "https://llm.example.com/v1",
        Some("openai"),
    ))
    .await?;
    ns.wait_condition("llmr/chat", "ResolvedRefs", "False", "SecretNotFound", SOON)
        .await?;
    ns.secret("openai", "sk-planted").await?;
    ns.wait_condition("llmr/chat", "ResolvedRefs", "True", "ResolvedRefs", SOON)
        .await?;
    ns.kubectl(&["delete", "secret", "openai"]).await?;
    ns.wait_condition("llmr/chat", "ResolvedRefs", "False", "SecretNotFound", SOON)
        .await?;
    ns.kubectl(&["delete", "llmp", "openai"]).await?;
    ns.wait_condition(
        "llmr/chat",
        "ResolvedRefs",
        "False",
        "ProviderNotFound",
        SOON,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_of_another_namespace_needs_its_leave_and_follows_it() -> Result<()> {
    let (team, app) = (namespace("team").await?, namespace("app").await?);
    let cluster = team.cluster;
    let provider = manifests::provider("shared", "https://llm.example.com/v1", None);
    team.apply(&provider).await?;
    let target = format!(
        "{{providerRef: {{name: shared, namespace: {}}}, model: m}}",
        team.name
    );
    app.apply(&manifests::route("chat", "shop", &[("m", &target)]))
        .await?;
    let found = app
        .wait_condition("llmr/chat", "ResolvedRefs", "False", "NotAllowed", SOON)
        .await?;
    ensure!(
        found["message"]
            .as_str()
            .is_some_and(|m| m.contains("allowedNamespaces")),
        "{found}"
    );
    // A selector over the labels of namespaces, which change.
    let selected = provider.replace(
        "spec:\n",
        "spec:\n  allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}\n",
    );
    team.apply(&selected).await?;
    cluster
        .kubectl(["label", "namespace", &app.name, "tier=gold"])
        .await?;
    app.wait_condition("llmr/chat", "ResolvedRefs", "True", "ResolvedRefs", SOON)
        .await?;
    cluster
        .kubectl(["label", "namespace", &app.name, "tier-"])
        .await?;
    app.wait_condition("llmr/chat", "ResolvedRefs", "False", "NotAllowed", SOON)
        .await?;
    team.apply(&provider.replace("spec:\n", "spec:\n  allowedNamespaces: {from: All}\n"))
        .await?;
    app.wait_condition("llmr/chat", "ResolvedRefs", "True", "ResolvedRefs", SOON)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_private_ca_is_found_missed_and_found_again() -> Result<()> {
    let ns = namespace("ca").await?;
    let manifest = manifests::provider("vllm", "https://vllm.models.svc/v1", None).replace(
        "  auth:",
        "    caBundleRef: {name: ca, key: ca.crt}\n  auth:",
    );
    ns.apply(&manifest).await?;
    ns.wait_condition(
        "llmp/vllm",
        "ResolvedRefs",
        "False",
        "ConfigMapNotFound",
        SOON,
    )
    .await?;
    let pem = llmroute_tests::pki::Ca::new("private")?.pem().to_owned();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": ns.name}, "data": {"ca.crt": pem}
    });
    ns.cluster.apply(&map).await?;
    ns.wait_condition("llmp/vllm", "Ready", "True", "Ready", SOON)
        .await?;
    ns.kubectl(&["delete", "configmap", "ca"]).await?;
    ns.wait_condition(
        "llmp/vllm",
        "ResolvedRefs",
        "False",
        "ConfigMapNotFound",
        SOON,
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_type_names_the_nearest() -> Result<()> {
    let ns = namespace("type").await?;
    ns.apply(
        &manifests::mock("p").replace("type: mock", "type: opnai\n  auth: {type: Passthrough}"),
    )
    .await?;
    let found = ns
        .wait_condition("llmp/p", "Accepted", "False", "UnknownType", SOON)
        .await?;
    ensure!(
        found["message"]
            .as_str()
            .is_some_and(|m| m.contains("openai")),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn the_younger_of_two_routes_with_the_same_match_is_told_of_the_older() -> Result<()> {
    let ns = namespace("twice").await?;
    ns.apply(&manifests::mock("mock")).await?;
    let target = manifests::target("mock", "echo");
    ns.apply(&manifests::route("older", "shop", &[("chat", &target)]))
        .await?;
    ns.wait_condition("llmr/older", "Accepted", "True", "Accepted", SOON)
        .await?;
    // Creation times have whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    ns.apply(&manifests::route(
        "a-younger",
        "shop",
        &[("chat", &target), ("other", &target)],
    ))
    .await?;
    let found = ns
        .wait_condition("llmr/a-younger", "Accepted", "False", "Conflicted", SOON)
        .await?;
    ensure!(
        found["message"]
            .as_str()
            .is_some_and(|m| m.contains("older")),
        "{found}"
    );
    ns.condition("llmr/older", "Accepted").await.and_then(|c| {
        ensure!(c["status"] == "True", "{c}");
        Ok(())
    })?;
    ns.kubectl(&["delete", "llmr", "older"]).await?;
    ns.wait_condition("llmr/a-younger", "Accepted", "True", "Accepted", SOON)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_unchanged_status_is_not_written_again() -> Result<()> {
    let ns = namespace("quiet").await?;
    ns.apply(&manifests::mock("mock")).await?;
    ns.wait_condition("llmp/mock", "Ready", "True", "Ready", SOON)
        .await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let before = ns.get("llmp/mock").await?["metadata"]["resourceVersion"].clone();
    // Everything it could be reconciled for again, but nothing that changes it.
    ns.secret("unrelated", "sk-other").await?;
    ns.kubectl(&["annotate", "llmp", "mock", "note=1"]).await?;
    let annotated = ns.get("llmp/mock").await?["metadata"]["resourceVersion"].clone();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let after = ns.get("llmp/mock").await?["metadata"]["resourceVersion"].clone();
    ensure!(
        annotated != before && after == annotated,
        "{before} {annotated} {after}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_told_as_an_event_beside_the_object() -> Result<()> {
    let ns = namespace("event").await?;
    ns.apply(&chat("nobody")).await?;
    ns.wait_condition(
        "llmr/chat",
        "ResolvedRefs",
        "False",
        "ProviderNotFound",
        SOON,
    )
    .await?;
    eventually("an Event", SOON, async || {
        let events = ns.kubectl(&["get", "events.events.k8s.io"]).await?;
        ensure!(
            events.contains("UnresolvedRefs") && events.contains("llmroute/chat"),
            "{events}"
        );
        Ok(())
    })
    .await
}
