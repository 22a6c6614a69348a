//! The kit itself: what the other suites stand on.

use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use llmroute_tests::proxy::Proxy;
use llmroute_tests::upstream::Ending;

#[tokio::test]
async fn the_api_server_issues_tokens_that_are_bound_to_a_pod() -> Result<()> {
    let cluster = Cluster::bare().await?;
    let namespace = cluster.namespace("kit").await?;
    namespace.pod("app", "shop").await?;
    let token = namespace.token("app").await?;
    ensure!(token.split('.').count() == 3, "not a token: {token}");
    let refused = namespace
        .try_kubectl(&["create", "token", "nobody"], "")
        .await?
        .expect_refusal()?;
    ensure!(refused.contains("not found"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_comes_back_has_forgotten_nothing() -> Result<()> {
    let mut cluster = Cluster::bare().await?;
    cluster.namespace("kept").await?;
    cluster.stop_api_server();
    ensure!(
        !cluster.try_kubectl(["get", "ns"], "").await?.ok,
        "it still answers"
    );
    cluster.restart_api_server().await?;
    ensure!(cluster.kubectl(["get", "ns"]).await?.contains("kept-"));
    Ok(())
}

#[tokio::test]
async fn an_upstream_answers_whole_and_streamed_and_remembers() -> Result<()> {
    let upstream = Upstream::start().await?;
    let url = format!("{}/chat/completions", upstream.base_url());
    for http in [Http::new(), Http::h2c()] {
        let whole = http
            .clone()
            .with("authorization", "Bearer k")
            .post(&url, &chat("m"))
            .await?;
        ensure!(whole.json()?["choices"][0]["message"]["content"] == "hello");
        let streamed = http.post(&url, &chat_stream("m")).await?;
        ensure!(
            streamed.text().ends_with("data: [DONE]\n\n"),
            "{}",
            streamed.text()
        );
    }
    ensure!(upstream.count() == 4 && upstream.seen()[0].bearer() == "k");
    Ok(())
}

#[tokio::test]
async fn a_split_body_is_the_same_body() -> Result<()> {
    let upstream = Upstream::with(|seen| {
        Reply::ordinary(seen, &"word ".repeat(500)).split(&mut fastrand::Rng::with_seed(7))
    })
    .await?;
    let url = format!("{}/chat/completions", upstream.base_url());
    let answer = Http::new().post(&url, &chat("m")).await?;
    ensure!(answer.json()?["choices"][0]["message"]["content"] == "word ".repeat(500));
    Ok(())
}

#[tokio::test]
async fn a_broken_body_is_seen_as_broken() -> Result<()> {
    let upstream =
        Upstream::with(|seen| Reply::ordinary(seen, "a b c").cut(2, Ending::Broken)).await?;
    let url = format!("{}/chat/completions", upstream.base_url());
    let (seen, end) = Http::new()
        .open(&url, &chat_stream("m"))
        .await?
        .until_broken()
        .await;
    ensure!(end.is_err() && !seen.is_empty(), "{seen:?} {end:?}");
    upstream.answer(|_| Reply::reset());
    ensure!(Http::new().post(&url, &chat("m")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() -> Result<()> {
    let upstream =
        Upstream::with(|seen| Reply::ordinary(seen, "a b c").cut(2, Ending::Silent)).await?;
    let url = format!("{}/chat/completions", upstream.base_url());
    let mut stream = Http::new().open(&url, &chat_stream("m")).await?;
    stream.chunk().await?;
    drop(stream);
    upstream.abandoned(1, Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_cut_relay_holds_bytes_back_and_a_mended_one_lets_them_through() -> Result<()> {
    let upstream = Upstream::start().await?;
    let relay = Proxy::start(Some(upstream.address())).await?;
    let url = format!("http://{}/v1/chat/completions", relay.address());
    let http = Http::new();
    http.post(&url, &chat("m")).await?;
    relay.cut();
    let body = chat("m");
    let call = http.post(&url, &body);
    tokio::pin!(call);
    ensure!(
        tokio::time::timeout(Duration::from_millis(300), &mut call)
            .await
            .is_err()
    );
    relay.mend();
    ensure!(call.await?.status == 200);
    Ok(())
}
