//! From `kubectl apply` to a routed call: the whole way, with clients and
//! upstreams that we did not write beside those that we did.

use llmroute_tests::aimock::Aimock;
use llmroute_tests::assets;
use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use llmroute_tests::sdk;
use llmroute_tests::upstream::Ending;

const FIXTURES: &str = r#"{"fixtures": [
  {"match": {"userMessage": "hello"}, "response": {"content": "Hello! How can I help you today?"}}
]}"#;

#[tokio::test]
async fn apply_programmed_call() -> Result<()> {
    let stage = Stage::shared("first", &manifests::mock("mock")).await?;
    eventually("the first config", SOON, async || {
        let before = stage.sidecar.chat("chat").await?;
        let told = before.status == 404 && before.code() == "no_route";
        ensure!(told, "{}", before.text());
        Ok(())
    })
    .await?;
    let target = manifests::target("mock", "echo");
    stage
        .ns
        .apply(&manifests::route("chat", "shop", &[("chat", &target)]))
        .await?;
    stage.ns.wait_for("llmr/chat", "Programmed").await?;
    // The very next call.
    let answer = stage.sidecar.chat("chat").await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let generation = stage.ns.get("llmr/chat").await?["metadata"]["generation"].clone();
    let name = &stage.ns.name;
    for (header, wanted) in [
        ("x-llmroute-route", format!("{name}/chat")),
        ("x-llmroute-provider", format!("{name}/mock")),
        ("x-llmroute-target", "mock".to_owned()),
        ("x-llmroute-model", "echo".to_owned()),
        ("x-llmroute-attempts", "1".to_owned()),
    ] {
        ensure!(
            answer.header(header) == wanted,
            "{header}: {:?}",
            answer.headers
        );
    }
    let version = answer.header("x-llmroute-config-version");
    ensure!(version.ends_with(&format!("@{generation}")), "{version}");
    ensure!(
        !answer.header("x-llmroute-request-id").is_empty(),
        "{:?}",
        answer.headers
    );
    let cost: f64 = answer
        .header("x-llmroute-cost-usd")
        .parse()
        .context("cost")?;
    ensure!(cost > 0.0, "{cost}");
    Ok(())
}

#[tokio::test]
async fn the_python_sdk_finds_what_it_expects_with_aimock_behind() -> Result<()> {
    let dir = Installation::shared().await.cluster().dir();
    let aimock = Aimock::start(dir, FIXTURES, &[]).await?;
    let (gpt, embed) = (
        manifests::target("aimock", "gpt-4o-mini"),
        manifests::target("aimock", "text-embedding-3-small"),
    );
    let provider = manifests::provider("aimock", &aimock.base_url(), None).replace(
        "    - name: m\n",
        "    - name: gpt-4o-mini\n      price: {input: 1, output: 2}\n    - name: text-embedding-3-small\n",
    );
    let route = manifests::route("chat", "shop", &[("chat", &gpt), ("embed", &embed)]);
    let stage = Stage::shared("sdk", &(provider + &route)).await?;
    let told = sdk::python("tour.py", stage.sidecar.data)
        .await
        .with_context(|| format!("{}\n{}", stage.sidecar.tail(), aimock.tail()))?;
    report!("the SDK was told {}", told["headers"]);
    let hello = "Hello! How can I help you today?";
    ensure!(
        told["whole"] == hello && told["streamed"] == hello,
        "{told:#}"
    );
    ensure!(told["headers"]["x-llmroute-attempts"] == "1", "{told:#}");
    // The usage chunk that we ask for isn't shown to who did not ask.
    ensure!(
        told["unasked_usage"] == false && told["chunks_without_choices"] == 0,
        "{told:#}"
    );
    ensure!(
        told["asked_usage"].as_array().is_some_and(|a| a.len() == 1),
        "{told:#}"
    );
    ensure!(told["models"] == json!(["chat", "embed"]), "{told:#}");
    ensure!(told["unknown_model"] == "model_not_found", "{told:#}");
    ensure!(
        told["response"] == hello && told["response_events"] == "response.completed",
        "{told:#}"
    );
    ensure!(told["embedding"].as_u64() > Some(0), "{told:#}");
    // Each call is one line, with usage that was reported and not guessed.
    let lines = stage.sidecar.access_log()?;
    let calls = lines
        .iter()
        .filter(|l| l["operation"] == "chat_completions" && l["status"] == 200);
    let usages: Vec<_> = calls.map(|l| l["usage"].clone()).collect();
    ensure!(
        usages.len() == 3 && usages.iter().all(|u| u == "reported"),
        "{usages:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_node_sdk_finds_what_it_expects() -> Result<()> {
    let upstream = Upstream::with(|seen| Reply::ordinary(seen, "hello from afar")).await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("chat", &manifests::target("p", "m"))]);
    let stage = Stage::shared("node", &manifests).await?;
    let told = sdk::node("tour.mjs", stage.sidecar.data).await?;
    let wanted = json!({
        "whole": "hello from afar", "streamed": "hello from afar",
        "unknown": "model_not_found", "models": ["chat"]
    });
    ensure!(told == wanted, "{told:#}");
    Ok(())
}

#[tokio::test]
async fn chaos_of_aimock_is_hidden_by_a_second_target() -> Result<()> {
    let dir = Installation::shared().await.cluster().dir();
    let args = [
        "--chaos-drop",
        "0.3",
        "--chaos-ratelimit",
        "0.2",
        "--chaos-disconnect",
        "0.2",
    ];
    let aimock = Aimock::start(dir, FIXTURES, &args).await?;
    let good = Upstream::start().await?;
    let route = manifests::route("chat", "shop", &[("chat", "{providerRef: {name: chaos}, model: m, priority: 0}\n        - {providerRef: {name: good}, model: m, priority: 1}")])
        .replace("      targets:", "      retry: {backoff: {base: 1ms, max: 5ms}}\n      targets:");
    let manifests = manifests::provider("chaos", &aimock.base_url(), None)
        + &manifests::provider("good", &good.base_url(), None)
        + &route;
    let stage = Stage::shared("chaos", &manifests).await?;
    let mut failed = Vec::new();
    for _ in 0..60 {
        let answer = stage.sidecar.chat("chat").await?;
        if answer.status != 200 {
            failed.push(answer.text());
        }
    }
    report!(
        "60 calls, {} failed, {} went to the second target",
        failed.len(),
        good.count()
    );
    ensure!(failed.is_empty() && good.count() > 0, "{failed:?}");
    Ok(())
}

#[tokio::test]
async fn paths_go_with_and_without_v1_over_both_protocols() -> Result<()> {
    let upstream = Upstream::start().await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    let stage = Stage::shared("paths", &manifests).await?;
    for http in [Http::new(), Http::h2c()] {
        for path in ["/v1/chat/completions", "/chat/completions"] {
            let answer = http.post(&stage.sidecar.url(path), &chat("m")).await?;
            ensure!(answer.status == 200, "{path} {}", answer.text());
        }
        for path in ["/v1/models", "/models"] {
            let answer = http.get(&stage.sidecar.url(path)).await?;
            ensure!(
                answer.json()?["data"][0]["id"] == "m",
                "{path} {}",
                answer.text()
            );
        }
    }
    ensure!(
        upstream
            .seen()
            .iter()
            .all(|s| s.path == "/v1/chat/completions")
    );
    Ok(())
}

#[tokio::test]
async fn the_clients_bytes_go_up_and_the_upstreams_bytes_come_down() -> Result<()> {
    let upstream = Upstream::start().await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("asked", &manifests::target("p", "m"))]);
    let stage = Stage::shared("bytes", &manifests).await?;
    // Odd spacing, an unknown member, escapes: none of it is ours to change.
    let body = r#"{ "x_unknown": [1, 2.50, {"a": null}],  "model" : "asked","messages":[{"role":"user","content":"h\u00e9llo"}] }"#;
    let url = stage.sidecar.url("/v1/chat/completions");
    let sent = Http::new()
        .send(
            http::Method::POST,
            &url,
            Some("application/json"),
            body.into(),
        )
        .await?;
    ensure!(sent.whole().await?.status == 200);
    let seen = String::from_utf8(upstream.seen()[0].body.to_vec())?;
    ensure!(seen == body.replace(r#""asked""#, r#""m""#), "{seen}");
    Ok(())
}

#[tokio::test]
async fn each_chunk_is_relayed_as_it_comes() -> Result<()> {
    let gap = Duration::from_millis(200);
    let upstream =
        Upstream::with(move |seen| Reply::ordinary(seen, "a b c d e f").every(gap)).await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    let stage = Stage::shared("chunks", &manifests).await?;
    let url = stage.sidecar.url("/v1/chat/completions");
    let start = std::time::Instant::now();
    let mut stream = Http::new().open(&url, &chat_stream("m")).await?;
    let mut times = Vec::new();
    while stream.chunk().await?.is_some() {
        times.push(start.elapsed());
    }
    report!("chunks at {times:?}");
    ensure!(
        times.len() >= 6 && times[0] + gap * 4 < times[times.len() - 1],
        "{times:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_that_dies_half_way_is_an_exception_in_the_sdk() -> Result<()> {
    let upstream =
        Upstream::with(|seen| Reply::ordinary(seen, "a b c d").cut(2, Ending::Broken)).await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("cut", &manifests::target("p", "m"))]);
    let stage = Stage::shared("dies", &manifests).await?;
    let told = sdk::python("stream.py", stage.sidecar.data).await?;
    ensure!(
        told["seen"] == "a b " && told["raised"][0] == "APIError",
        "{told:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_upstream() -> Result<()> {
    let upstream =
        Upstream::with(|seen| Reply::ordinary(seen, "a b c d").cut(2, Ending::Silent)).await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    let stage = Stage::shared("leaves", &manifests).await?;
    let url = stage.sidecar.url("/v1/chat/completions");
    for http in [Http::new(), Http::h2c()] {
        let mut stream = http.open(&url, &chat_stream("m")).await?;
        stream.chunk().await?;
        drop(stream);
        drop(http);
    }
    upstream.abandoned(2, SOON).await?;
    eventually("the access log", SOON, async || {
        let ends: Vec<_> = stage
            .sidecar
            .access_log()?
            .iter()
            .map(|l| l["end"].clone())
            .collect();
        ensure!(ends == ["cancelled", "cancelled"], "{ends:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_probe_tells_a_started_sidecar_from_none() -> Result<()> {
    let stage = Stage::shared("probe", "").await?;
    let probe = |local: std::net::SocketAddr| {
        let mut command = std::process::Command::new(assets::own("llmroute-sidecar"));
        command
            .args(["probe", "--local-listen", &local.to_string()])
            .env_clear();
        command.output()
    };
    eventually("the probe to succeed", SOON, async || {
        let out = probe(stage.sidecar.local)?;
        ensure!(out.status.success(), "{out:?}");
        Ok(())
    })
    .await?;
    let out = probe(llmroute_tests::ports::free())?;
    ensure!(!out.status.success() && !out.stdout.is_empty(), "{out:?}");
    Ok(())
}
