//! A change reaches the next call, and no other call notices: routes, providers
//! and keys change while an open loop of 200 requests a second and 20 streams of
//! 30 s go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use tokio::task::JoinSet;

const RATE: u64 = 200;
const STREAMS: usize = 20;
const STREAM_FOR: Duration = Duration::from_secs(30);

/// Changes end while streams are still open.
const CHANGE_FOR: Duration = Duration::from_secs(28);

/// What went wrong, counted.
#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    not_2xx: AtomicUsize,
    resets: AtomicUsize,
    unended: AtomicUsize,
    slowest_ms: AtomicUsize,
}

fn route(target: &str) -> String {
    manifests::route("chat", "shop", &[("m", &manifests::target(target, "m"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_and_no_stream_is_hurt_by_changes() -> Result<()> {
    let (a, b) = (upstream().await?, upstream().await?);
    let stage = Stage::shared("change", "").await?;
    stage.ns.secret("key", "sk-0").await?;
    let providers = manifests::provider("a", &a.base_url(), Some("key"))
        + &manifests::provider("b", &b.base_url(), Some("key"));
    stage.apply(&(providers + &route("a"))).await?;
    stage.sidecar.wait_serves("m", SOON).await?;

    let counts = Arc::new(Counts::default());
    let url = stage.sidecar.url("/v1/chat/completions");
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(stream(url.clone(), Arc::clone(&counts)));
    }
    let start = Instant::now();
    let load = tokio::spawn(open_loop(
        url.clone(),
        Arc::clone(&counts),
        STREAM_FOR + Duration::from_secs(2),
    ));
    let changes = change(&stage, start).await?;
    load.await??;
    while let Some(stream) = streams.join_next().await {
        stream??;
    }
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    report!(
        "{} calls in an open loop of {RATE}/s and {STREAMS} streams of {} s, {changes} changes meanwhile: \
         non-2xx {}, resets {}, streams without terminator {}; slowest call {} ms",
        of(&counts.calls),
        STREAM_FOR.as_secs(),
        of(&counts.not_2xx),
        of(&counts.resets),
        of(&counts.unended),
        of(&counts.slowest_ms),
    );
    let bad = of(&counts.not_2xx) + of(&counts.resets) + of(&counts.unended);
    ensure!(
        bad == 0 && changes >= 5,
        "{bad} bad, {changes} changes\n{}",
        stage.sidecar.tail()
    );
    ensure!(of(&counts.calls) >= usize::try_from(RATE * STREAM_FOR.as_secs())?);
    Ok(())
}

/// Long streams by the request's own wish, short answers otherwise.
async fn upstream() -> Result<Upstream> {
    Upstream::with(|seen| {
        if seen.json()["stream"] == true {
            let gap = Duration::from_millis(250);
            let words = STREAM_FOR.as_millis() / gap.as_millis();
            let text = "word ".repeat(usize::try_from(words).unwrap_or(120));
            Reply::ordinary(seen, &text).every(gap)
        } else {
            Reply::ordinary(seen, "hello")
        }
    })
    .await
}

/// Changes things for as long as the streams last; after each change of the
/// route, once it is programmed, the next call must follow it.
async fn change(stage: &Stage<'_>, start: Instant) -> Result<usize> {
    let mut changes = 0;
    while start.elapsed() < CHANGE_FOR {
        let wanted = if changes % 2 == 0 { "b" } else { "a" };
        let patch = format!(
            r#"[{{"op": "replace", "path": "/spec/rules/0/targets/0/providerRef/name", "value": "{wanted}"}}]"#
        );
        let args = ["patch", "llmr/chat", "--type=json", "-p", &patch];
        stage.ns.kubectl(&args).await?;
        stage
            .ns
            .wait_condition("llmr/chat", "Programmed", "True", "Programmed", SOON)
            .await?;
        let answer = stage.sidecar.chat("m").await?;
        let target = answer.header("x-llmroute-target").to_owned();
        ensure!(
            target == wanted,
            "the next call went to {target}, not {wanted}"
        );
        stage.ns.secret("key", &format!("sk-{changes}")).await?;
        changes += 1;
    }
    Ok(changes)
}

async fn open_loop(url: String, counts: Arc<Counts>, lasts: Duration) -> Result<()> {
    let http = Http::new();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
    let (start, mut calls) = (Instant::now(), JoinSet::new());
    while start.elapsed() < lasts {
        tick.tick().await;
        let (http, url, counts) = (http.clone(), url.clone(), Arc::clone(&counts));
        calls.spawn(async move {
            counts.calls.fetch_add(1, Ordering::Relaxed);
            let started = Instant::now();
            match http.post(&url, &chat("m")).await {
                Ok(answer) if answer.status.is_success() => {}
                Ok(answer) => {
                    report!("{} {}", answer.status, answer.text());
                    counts.not_2xx.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    report!("{error:#}");
                    counts.resets.fetch_add(1, Ordering::Relaxed);
                }
            }
            let took = usize::try_from(started.elapsed().as_millis()).unwrap_or(usize::MAX);
            counts.slowest_ms.fetch_max(took, Ordering::Relaxed);
        });
        while calls.try_join_next().is_some() {}
    }
    while let Some(call) = calls.join_next().await {
        call?;
    }
    Ok(())
}

async fn stream(url: String, counts: Arc<Counts>) -> Result<()> {
    let (start, http) = (Instant::now(), Http::new());
    let answer = http.open(&url, &chat_stream("m")).await?;
    let status = answer.status;
    let (body, end) = answer.until_broken().await;
    if !status.is_success() {
        counts.not_2xx.fetch_add(1, Ordering::Relaxed);
    } else if let Err(error) = end {
        report!("stream: {error:#}");
        counts.resets.fetch_add(1, Ordering::Relaxed);
    } else if !body.ends_with(b"data: [DONE]\n\n") {
        report!(
            "stream ended by {:?}",
            &body[body.len().saturating_sub(200)..]
        );
        counts.unended.fetch_add(1, Ordering::Relaxed);
    }
    ensure!(start.elapsed() > CHANGE_FOR, "a stream was too short");
    Ok(())
}
