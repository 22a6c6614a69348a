//! An operator that starts into an unfinished or untidy cluster: it says what it
//! waits for, and one object that can't be read holds up no other.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmroute_tests::prelude::*;
use llmroute_tests::process::Process;
use llmroute_tests::{assets, ports};

#[tokio::test]
async fn readiness_names_what_is_waited_for_and_liveness_does_not() -> Result<()> {
    let cluster = Cluster::bare().await?;
    let installation = Installation::new(&cluster).await?;
    let operator = installation.start("a").await?;
    let http = Http::new();
    let ready = eventually("a reason", SOON, async || {
        let answer = http.get(&operator.admin_url("/readyz")).await?;
        ensure!(
            answer.status == 503 && answer.text().contains("apply crds/"),
            "{}",
            answer.text()
        );
        Ok(answer.text())
    })
    .await?;
    report!("not ready: {}", ready.replace('\n', " | "));
    ensure!(http.get(&operator.admin_url("/livez")).await?.status == 200);
    cluster.apply_crds().await?;
    operator.wait_ready().await
}

#[tokio::test]
async fn an_object_that_cannot_be_read_holds_up_no_other() -> Result<()> {
    let cluster = Cluster::bare().await?;
    // As an older or looser CRD would have let it in.
    for file in ["llmproviders.yaml", "llmroutes.yaml"] {
        let text = std::fs::read_to_string(assets::repository().join("crds").join(file))?;
        let mut crd: Value = serde_yaml::from_str(&text)?;
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true
        });
        cluster.apply(&crd).await?;
    }
    let established = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.kubectl(established).await?;
    let ns = cluster.namespace("untidy").await?;
    for (kind, spec) in [
        ("LLMRoute", json!({"rules": "nonsense"})),
        ("LLMProvider", json!({"type": 7, "models": {"a": [1]}})),
    ] {
        let object = json!({
            "apiVersion": "llmroute.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "malformed", "namespace": ns.name}, "spec": spec
        });
        cluster.apply(&object).await?;
    }
    cluster.apply_crds().await?;
    let installation = Installation::new(&cluster).await?;
    let operator = installation.ready("a").await?;
    let target = manifests::target("mock", "echo");
    ns.apply(&(manifests::mock("mock") + &manifests::route("good", "shop", &[("m", &target)])))
        .await?;
    ns.wait_condition("llmp/mock", "Ready", "True", "Ready", SOON)
        .await?;
    ns.wait_condition("llmr/good", "Ready", "True", "Ready", SOON)
        .await?;
    let malformed = operator.metric("llmroute_malformed_objects", &[]).await?;
    ensure!(malformed == 2, "{malformed} counted");
    // The API server itself takes no status for an object of wrong types: the log has to say it.
    ensure!(
        operator.log().contains("an object can't be read"),
        "{}",
        operator.tail()
    );
    Ok(())
}

/// docs/cluster.md from top to bottom, but for the ports: no pod, no Service, the user's own kubeconfig.
#[tokio::test]
async fn the_walk_of_the_docs_ends_in_a_call() -> Result<()> {
    let cluster = Cluster::start().await?;
    let root = assets::repository();
    for file in ["examples/cluster", "operator/deploy/rbac.yaml"] {
        cluster
            .kubectl(["apply", "-f", &root.join(file).display().to_string()])
            .await?;
    }
    let (session, admin) = (ports::free(), ports::free());
    let mut command = Command::new(assets::own("llmroute-operator"));
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args([
        "--session-listen",
        &session.to_string(),
        "--admin-listen",
        &admin.to_string(),
    ]);
    let operator = Process::spawn("operator", cluster.dir(), &mut command)?;
    let ns = Namespace {
        cluster: &cluster,
        name: "default".to_owned(),
    };
    let token = [
        "create",
        "token",
        "assistant",
        "--audience",
        "llmroute.dev",
        "--bound-object-kind",
        "Pod",
        "--bound-object-name",
        "assistant",
    ];
    let token = ns.kubectl(&token).await?;
    let ca = eventually("the CA", SOON, async || {
        let get = [
            "-n",
            "llmroute-system",
            "get",
            "secret",
            "llmroute-certs",
            "-o",
            r"jsonpath={.data.ca\.crt}",
        ];
        cluster.kubectl(get).await.with_context(|| operator.tail())
    })
    .await?;
    let ca = String::from_utf8(STANDARD.decode(ca)?)?;
    let mut sidecar = Sidecar::new(&ns, "assistant", session, ca)?;
    sidecar.set_token(&token)?;
    sidecar.run()?;
    ns.wait_for("llmr/chat", "Programmed").await?;
    let answer = sidecar.chat("chat").await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let patch = r#"[{"op": "add", "path": "/spec/rules/0/matches/0/models/-", "value": "chat-2"}]"#;
    ns.kubectl(&["patch", "llmr", "chat", "--type", "json", "-p", patch])
        .await?;
    ns.wait_for("llmr/chat", "Programmed").await?;
    // `kubectl wait` may read the condition of the generation before: it doesn't compare them.
    sidecar.wait_serves("chat-2", SOON).await?;
    drop(operator);
    ensure!(sidecar.chat("chat-2").await?.status == 200);
    sidecar.restart().await?;
    sidecar.wait_serves("chat-2", SOON).await?;
    Ok(())
}
