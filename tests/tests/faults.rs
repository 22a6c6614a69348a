//! Bad upstreams, at the real binary: what a second try may cure is tried again,
//! all else is passed on or answered with its own code.

use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use llmroute_tests::upstream::Ending;

const CHAT: &str = "/v1/chat/completions";

/// One provider `p` behind the model `m`, each rule with `extra`.
async fn stage(name: &str, upstream: &Upstream, extra: &str) -> Result<Stage<'static>> {
    let route = manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))])
        .replace("      targets:", &format!("{extra}      targets:"));
    let provider = manifests::provider("p", &upstream.base_url(), None);
    Stage::shared(name, &(provider + &route)).await
}

/// What is wrong with an upstream, by a name for messages.
type Fault = (&'static str, fn() -> Reply);

const NO_RETRY: &str = "      retry: {attempts: 0}\n";

#[tokio::test]
async fn an_upstreams_refusal_is_passed_on_and_not_tried_again() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = stage("refusals", &upstream, "").await?;
    for status in [400, 402, 403, 404, 409, 413, 422] {
        upstream.forget();
        upstream.answer(move |_| Reply::error(status, "no").header("x-upstream", "kept"));
        let answer = stage.sidecar.chat("m").await?;
        ensure!(
            answer.status == status && answer.header("x-upstream") == "kept",
            "{status}: {}",
            answer.status
        );
        ensure!(
            answer.json()?["error"]["message"] == "no" && upstream.count() == 1,
            "{status}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_a_second_try_may_cure_is_tried_again_elsewhere_first() -> Result<()> {
    let (bad, good) = (Upstream::start().await?, Upstream::start().await?);
    let route = manifests::route("chat", "shop", &[("m", "{providerRef: {name: bad}, model: m}\n        - {providerRef: {name: good}, model: m, priority: 1}")])
        .replace("      targets:", "      retry: {backoff: {base: 1ms, max: 5ms}}\n      timeouts: {firstByte: 500ms}\n      targets:");
    // Ejection would hide the later cases from the first target.
    let calm = "  health: {consecutiveFailures: 100}\n";
    let manifests = manifests::provider("bad", &bad.base_url(), None)
        .replace("---\n", &format!("{calm}---\n"))
        + &manifests::provider("good", &good.base_url(), None)
        + &route;
    let stage = Stage::shared("retries", &manifests).await?;
    let faults: Vec<Fault> = vec![
        ("429", || Reply::error(429, "slow down")),
        ("500", || Reply::error(500, "oops")),
        ("503", || Reply::error(503, "overloaded")),
        ("529", || Reply::error(529, "overloaded")),
        ("reset", Reply::reset),
        ("hang", Reply::hang),
        ("truncated", || {
            Reply::new(200, "application/json", "{\"id\": ").cut(1, Ending::Broken)
        }),
        ("error event first", || {
            Reply::events([r#"{"error": {"message": "x", "type": "server_error"}}"#.to_owned()])
        }),
    ];
    for (what, fault) in faults {
        bad.answer(move |_| fault());
        for body in [chat("m"), chat_stream("m")] {
            if (what == "truncated" && body["stream"] == true)
                || (what == "error event first" && body["stream"] != true)
            {
                continue;
            }
            let before = bad.count();
            let answer = stage.sidecar.post(CHAT, &body).await?;
            ensure!(
                answer.status == 200,
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            ensure!(
                answer.header("x-llmroute-target") == "good",
                "{what}: {:?}",
                answer.headers
            );
            ensure!(
                answer.header("x-llmroute-attempts") == "2",
                "{what}: {:?}",
                answer.headers
            );
            // A kept connection that dies may have been stale: a fresh one is tried, once.
            let most = if what == "reset" { 2 } else { 1 };
            let asked = bad.count() - before;
            ensure!((1..=most).contains(&asked), "{what}: asked {asked} times");
        }
    }
    let retries = stage.sidecar.metric("llmroute_retries_total", &[]).await?;
    ensure!(retries >= 10, "{retries}");
    Ok(())
}

#[tokio::test]
async fn a_lost_upstream_is_named_by_what_was_wrong_with_it() -> Result<()> {
    let upstream = Upstream::start().await?;
    let nobody = llmroute_tests::ports::free();
    let plain = upstream.address();
    let stage = Stage::shared("lost", "").await?;
    let cases = [
        (
            "refused",
            format!("http://{nobody}/v1"),
            "upstream_connect_failed",
        ),
        ("tls", format!("https://{plain}/v1"), "upstream_tls_failed"),
        (
            "dns",
            "https://nobody.invalid/v1".to_owned(),
            "upstream_resolve_failed",
        ),
    ];
    let mut text = String::new();
    let mut rules = Vec::new();
    for (name, url, _) in &cases {
        text.push_str(&manifests::provider(name, url, None));
        rules.push((*name, manifests::target(name, "m")));
    }
    let rules: Vec<_> = rules.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let route = manifests::route("chat", "shop", &rules)
        .replace("      targets:", &format!("{NO_RETRY}      targets:"));
    stage.apply(&(text + &route)).await?;
    for (name, _, code) in &cases {
        let answer = stage.sidecar.chat(name).await?;
        ensure!(
            answer.status == 502 && answer.code() == *code,
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_dies_ends_with_an_error_event_and_no_terminator() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = stage("dies", &upstream, "      timeouts: {streamIdle: 1s}\n").await?;
    for (ending, code) in [
        (Ending::Broken, "upstream_truncated"),
        (Ending::Silent, "upstream_idle_timeout"),
        // Ends properly, but without its terminator.
        (Ending::Proper, ""),
    ] {
        upstream.answer(move |seen| Reply::ordinary(seen, "a b c d").cut(2, ending));
        let answer = stage.sidecar.post(CHAT, &chat_stream("m")).await?;
        let text = answer.text();
        ensure!(
            !text.contains("[DONE]") && text.contains("\"a \""),
            "{ending:?}: {text}"
        );
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        if !code.is_empty() {
            ensure!(last.contains(code), "{ending:?}: {last}");
        }
    }
    // A whole answer that breaks off after its head can only break off as well.
    let long = "x".repeat(600_000);
    upstream.answer(move |_| Reply::new(200, "text/plain", long.clone()).cut(1, Ending::Broken));
    let url = stage.sidecar.url(CHAT);
    let answer = Http::new().open(&url, &chat("m")).await?;
    if answer.status == 200 {
        ensure!(
            answer.until_broken().await.1.is_err(),
            "a short answer looked whole"
        );
    } else {
        ensure!(answer.status == 502, "{}", answer.status);
    }
    Ok(())
}

#[tokio::test]
async fn odd_answers_pass_as_they_are() -> Result<()> {
    let upstream = Upstream::start().await?;
    let stage = stage("odd", &upstream, NO_RETRY).await?;
    // Compressed: only who asked for it can read it.
    upstream.answer(|_| {
        Reply::new(200, "application/json", &b"\x1f\x8b\x08\0not really"[..])
            .header("content-encoding", "gzip")
    });
    let answer = Http::new()
        .with("accept-encoding", "gzip")
        .post(&stage.sidecar.url(CHAT), &chat("m"))
        .await?;
    ensure!(
        answer.status == 200 && answer.body.starts_with(b"\x1f\x8b"),
        "{:?}",
        answer.body
    );
    // Not JSON, not UTF-8, empty.
    for body in [&b"not json"[..], &b"\xff\xfe\0"[..], &b""[..]] {
        upstream.answer(move |_| Reply::new(200, "application/json", body));
        let answer = stage.sidecar.chat("m").await?;
        ensure!(
            answer.status == 200 && answer.body == body,
            "{} {:?}",
            answer.status,
            answer.body
        );
    }
    // A redirect is not followed: the key would go elsewhere.
    upstream
        .answer(|_| Reply::new(302, "text/plain", "").header("location", "http://127.0.0.1:1/"));
    let answer = stage.sidecar.chat("m").await?;
    ensure!(
        answer.code() == "upstream_redirect",
        "{} {}",
        answer.status,
        answer.text()
    );
    // An answer without an end is left with its client.
    upstream.answer(|_| Reply::events((0..5000).map(|i| format!("{{\"n\": {i}}}"))));
    let mut stream = Http::new()
        .open(&stage.sidecar.url(CHAT), &chat_stream("m"))
        .await?;
    stream.chunk().await?;
    drop(stream);
    upstream.answer(|seen| Reply::ordinary(seen, "hello"));
    ensure!(stage.sidecar.chat("m").await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_failing_target_is_left_out_and_comes_back() -> Result<()> {
    let (a, b) = (Upstream::start().await?, Upstream::start().await?);
    let health = "  health: {consecutiveFailures: 2, ejectFor: 2s, maxEjectFor: 4s}\n---\n";
    let route = manifests::route(
        "chat",
        "shop",
        &[(
            "m",
            "{providerRef: {name: a}, model: m}\n        - {providerRef: {name: b}, model: m, priority: 1}",
        )],
    );
    let manifests = manifests::provider("a", &a.base_url(), None).replace("---\n", health)
        + &manifests::provider("b", &b.base_url(), None)
        + &route;
    let stage = Stage::shared("eject", &manifests).await?;
    a.answer(|_| Reply::error(500, "oops"));
    for _ in 0..6 {
        ensure!(stage.sidecar.chat("m").await?.status == 200);
    }
    ensure!(a.count() == 2, "asked {} times", a.count());
    ensure!(
        stage
            .sidecar
            .metric("llmroute_ejections_total", &[])
            .await?
            >= 1
    );
    a.answer(|seen| Reply::ordinary(seen, "hello"));
    eventually("the first target to come back", SOON, async || {
        let answer = stage.sidecar.chat("m").await?;
        ensure!(
            answer.header("x-llmroute-target") == "a",
            "{:?}",
            answer.headers
        );
        Ok(())
    })
    .await
}
