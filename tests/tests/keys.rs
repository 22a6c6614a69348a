//! Keys and leave: a rotated Secret, a refused one, a provider of another namespace.

use llmroute_tests::prelude::*;

#[tokio::test]
async fn a_rotated_secret_is_used_by_the_next_call() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = Stage::shared("rotated", "").await?;
    stage.ns.secret("key", "sk-before").await?;
    let manifests = manifests::provider("p", &upstream.base_url(), Some("key"))
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    stage.apply(&manifests).await?;
    stage.sidecar.wait_serves("m", SOON).await?;
    let hash = |status: &Value| status["status"]["credential"]["hash8"].clone();
    let before = hash(&stage.ns.get("llmp/p").await?);
    let start = std::time::Instant::now();
    stage.ns.secret("key", "sk-after").await?;
    eventually("the new key to be used", SOON, async || {
        stage.sidecar.chat("m").await?;
        let seen = upstream.seen();
        let last = seen.last().context("no call")?.bearer().to_owned();
        ensure!(last == "sk-after", "{last}");
        Ok(())
    })
    .await?;
    report!(
        "the new key was used {:?} after kubectl began",
        start.elapsed()
    );
    eventually("the status to show it", SOON, async || {
        ensure!(hash(&stage.ns.get("llmp/p").await?) != before);
        Ok(())
    })
    .await?;
    // Never anything but one of the two.
    ensure!(
        upstream
            .seen()
            .iter()
            .all(|s| ["sk-before", "sk-after"].contains(&s.bearer()))
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_key_is_reported_skipped_and_cured_by_rotation() -> Result<()> {
    let upstream = Upstream::with(|seen| {
        if seen.bearer() == "sk-good" {
            Reply::ordinary(seen, "hello")
        } else {
            Reply::error(401, "Incorrect API key provided: sk-b***")
        }
    })
    .await?;
    let stage = Stage::shared("refused", "").await?;
    stage.ns.secret("key", "sk-bad").await?;
    let manifests = manifests::provider("p", &upstream.base_url(), Some("key"))
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    stage.apply(&manifests).await?;
    let answer = stage.sidecar.chat("m").await?;
    ensure!(
        answer.status == 502 && answer.code() == "upstream_unauthorized",
        "{}",
        answer.text()
    );
    stage
        .ns
        .wait_condition("llmp/p", "CredentialsReady", "False", "Rejected401", SOON)
        .await?;
    let asked = upstream.count();
    let answer = stage.sidecar.chat("m").await?;
    ensure!(
        !answer.status.is_success() && upstream.count() == asked,
        "the target wasn't skipped"
    );
    stage.ns.secret("key", "sk-good").await?;
    stage.sidecar.wait_serves("m", SOON).await?;
    stage
        .ns
        .wait_condition("llmp/p", "CredentialsReady", "True", "Ready", SOON)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_of_another_namespace_is_called_only_with_its_leave() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = Stage::shared("guest", "").await?;
    let team = Installation::shared()
        .await
        .cluster()
        .namespace("host")
        .await?;
    let provider = manifests::provider("shared", &upstream.base_url(), None);
    team.apply(&provider).await?;
    let target = format!(
        "{{providerRef: {{name: shared, namespace: {}}}, model: m}}",
        team.name
    );
    stage
        .ns
        .apply(&manifests::route("chat", "shop", &[("m", &target)]))
        .await?;
    stage
        .ns
        .wait_condition("llmr/chat", "ResolvedRefs", "False", "NotAllowed", SOON)
        .await?;
    let answer = stage.sidecar.chat("m").await?;
    ensure!(
        !answer.status.is_success() && upstream.count() == 0,
        "{}",
        answer.text()
    );
    team.apply(&provider.replace("spec:\n", "spec:\n  allowedNamespaces: {from: All}\n"))
        .await?;
    stage.sidecar.wait_serves("m", SOON).await?;
    Ok(())
}
