//! What a user sees of the kinds with no operator at all: names, columns,
//! defaults that explain themselves, examples that apply.

use llmroute_tests::assets;
use llmroute_tests::prelude::*;

#[tokio::test]
async fn an_object_with_no_operator_explains_itself() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("kinds").await?;
    namespace.apply(&manifests::mock("mock")).await?;
    let target = manifests::target("mock", "echo");
    namespace
        .apply(&manifests::route("chat", "shop", &[("chat", &target)]))
        .await?;
    for (object, kinds) in [
        (
            "llmp/mock",
            &["Accepted", "ResolvedRefs", "CredentialsReady", "Ready"][..],
        ),
        (
            "llmr/chat",
            &["Accepted", "ResolvedRefs", "Programmed", "Ready"][..],
        ),
    ] {
        for kind in kinds {
            let condition = namespace.condition(object, kind).await?;
            ensure!(
                condition["status"] == "Unknown"
                    && condition["reason"] == "Pending"
                    && condition["lastTransitionTime"] == "1970-01-01T00:00:00Z"
                    && condition["message"].as_str().is_some_and(|m| !m.is_empty()),
                "{object} {condition}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_get_llm_shows_the_columns_of_both_kinds() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("kinds").await?;
    namespace.apply(&manifests::mock("mock")).await?;
    let target = manifests::target("mock", "echo");
    namespace
        .apply(&manifests::route("chat", "shop", &[("chat", &target)]))
        .await?;
    let shown = namespace.kubectl(&["get", "llm"]).await?;
    for header in [
        &["NAME", "TYPE", "READY", "ROUTES", "AGE"][..],
        &["NAME", "MODELS", "READY", "PROGRAMMED", "SIDECARS", "AGE"][..],
    ] {
        ensure!(
            shown
                .lines()
                .any(|l| l.split_whitespace().eq(header.iter().copied())),
            "no {header:?} in\n{shown}"
        );
    }
    ensure!(!shown.contains("<invalid>"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn kubectl_explain_documents_every_member_of_a_spec() -> Result<()> {
    let cluster = Cluster::shared().await;
    for kind in ["llmproviders", "llmroutes"] {
        let spec = format!("{kind}.spec");
        // Its description is published some time after a CRD is Established.
        let text = eventually("an explanation", SOON, async || {
            cluster.kubectl(["explain", &spec, "--recursive"]).await
        })
        .await?;
        ensure!(text.contains("FIELDS:"), "{text}");
        let text = cluster.kubectl(["explain", &spec]).await?;
        ensure!(!text.contains("<no description>"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unquoted_price_and_one_with_six_decimals_are_taken_and_seven_are_not() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("kinds").await?;
    let with = |price: &str| {
        manifests::provider("p", "https://llm.example.com/v1", None).replace(
            "{input: 1, output: 2}",
            &format!("{{input: {price}, output: 2}}"),
        )
    };
    for price in ["500", "\"0.000001\"", "\"2.5\""] {
        namespace.apply(&with(price)).await?;
    }
    for price in ["\"0.0000001\"", "-1", "\"1e3\"", "0.5"] {
        let refusal = namespace.try_apply(&with(price)).await?.expect_refusal()?;
        ensure!(refusal.contains("price.input"), "{refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn the_example_for_a_cluster_applies_by_the_commands_of_the_docs() -> Result<()> {
    let namespace = Cluster::shared().await.namespace("example").await?;
    let folder = assets::repository().join("examples/cluster");
    namespace
        .kubectl(&["apply", "-f", &folder.display().to_string()])
        .await?;
    // It can be applied again, and changes nothing then.
    let generation = namespace.get("llmr/chat").await?["metadata"]["generation"].clone();
    namespace
        .kubectl(&["apply", "-f", &folder.display().to_string()])
        .await?;
    let again = namespace.get("llmr/chat").await?["metadata"]["generation"].clone();
    ensure!(again == generation, "{generation} {again}");
    Ok(())
}
