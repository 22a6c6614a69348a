//! Nothing on the request path asks the operator or the API server: both go
//! away, and come back, and calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llmroute_tests::http::chat;
use llmroute_tests::prelude::*;
use tokio::task::JoinHandle;

/// Calls, one after the other, until it is stopped.
struct Caller {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<Vec<String>>,
}

impl Caller {
    fn start(sidecar: &Sidecar) -> Self {
        let (stop, calls) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let url = sidecar.url("/v1/chat/completions");
        let (until, count, http) = (Arc::clone(&stop), Arc::clone(&calls), Http::new());
        let task = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !until.load(Ordering::Relaxed) {
                match http.post(&url, &chat("m")).await {
                    Ok(answer) if answer.status.is_success() => {}
                    Ok(answer) => failed.push(answer.text()),
                    Err(error) => failed.push(format!("{error:#}")),
                }
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            failed
        });
        Self { stop, calls, task }
    }

    async fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.task.await?;
        ensure!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
        Ok(self.calls.load(Ordering::Relaxed))
    }
}

fn manifests(upstream: &Upstream) -> String {
    manifests::provider("p", &upstream.base_url(), Some("key"))
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_without_the_operator_and_nothing_is_resent_when_it_is_back() -> Result<()> {
    let cluster = Cluster::start().await?;
    let installation = Installation::new(&cluster).await?;
    let mut operator = installation.ready("a").await?;
    let upstream = Upstream::start().await?;
    let mut stage = Stage::in_installation(&installation, "outage", "").await?;
    stage.ns.secret("key", "sk-kept").await?;
    stage.apply(&manifests(&upstream)).await?;
    stage.sidecar.wait_serves("m", SOON).await?;

    let caller = Caller::start(&stage.sidecar);
    operator.kill();
    eventually("the sidecar to notice", SOON, async || {
        let connected = stage
            .sidecar
            .metric("llmroute_control_plane_connected", &[])
            .await?;
        ensure!(connected == 0, "{connected}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = caller.end().await?;
    report!("{calls} calls while the operator was killed, 0 failed");

    // A restart meanwhile: from the cache, the key included.
    upstream.forget();
    let start = std::time::Instant::now();
    stage.sidecar.restart().await?;
    let answer = stage.sidecar.wait_serves("m", SOON).await?;
    report!("the restarted sidecar served after {:?}", start.elapsed());
    ensure!(
        upstream.seen()[0].bearer() == "sk-kept",
        "{:?}",
        answer.headers
    );

    let caller = Caller::start(&stage.sidecar);
    operator.run()?;
    operator.wait_ready().await?;
    stage.programmed().await?;
    eventually("the session to be back", SOON, async || {
        let connected = stage
            .sidecar
            .metric("llmroute_control_plane_connected", &[])
            .await?;
        ensure!(connected == 1, "{connected}");
        Ok(())
    })
    .await?;
    let calls = caller.end().await?;
    let bytes = operator.metric("llmroute_push_bytes_total", &[]).await?;
    report!("{calls} calls while it came back, 0 failed; {bytes} bytes of resources resent");
    ensure!(
        bytes == 0,
        "{bytes} bytes were sent of what is held\n{}",
        operator.tail()
    );

    // And a change works as before.
    stage.ns.secret("key", "sk-new").await?;
    eventually("the new key to be used", SOON, async || {
        stage.sidecar.chat("m").await?;
        let seen = upstream.seen();
        ensure!(seen.last().is_some_and(|s| s.bearer() == "sk-new"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_sessions_outlive_an_api_server_that_is_away() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let upstream = Upstream::start().await?;
    let (name, sidecar) = {
        let installation = Installation::new(&cluster).await?;
        let operator = installation.ready("a").await?;
        let stage = Stage::in_installation(&installation, "away", "").await?;
        stage.ns.secret("key", "sk-kept").await?;
        stage.apply(&manifests(&upstream)).await?;
        stage.sidecar.wait_serves("m", SOON).await?;
        // The operator would go with its installation: it is left to the reaper.
        std::mem::forget((installation, operator));
        (stage.ns.name.clone(), stage.sidecar)
    };
    let caller = Caller::start(&sidecar);
    cluster.stop_api_server();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let connected = sidecar
        .metric("llmroute_control_plane_connected", &[])
        .await?;
    cluster.restart_api_server().await?;
    let calls = caller.end().await?;
    report!("{calls} calls while the API server was away for 20 s, 0 failed");
    ensure!(connected == 1, "the session was lost");

    let ns = Namespace {
        cluster: &cluster,
        name,
    };
    ns.secret("key", "sk-new").await?;
    eventually(
        "the new key to be used",
        Duration::from_mins(1),
        async || {
            sidecar.chat("m").await?;
            let seen = upstream.seen();
            ensure!(seen.last().is_some_and(|s| s.bearer() == "sk-new"));
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn a_sidecar_that_never_met_an_operator_says_so_and_serves_as_soon_as_it_does() -> Result<()>
{
    let cluster = Cluster::start().await?;
    let installation = Installation::new(&cluster).await?;
    let mut operator = installation.ready("a").await?;
    let ca_pem = installation.ca_pem().await?;
    operator.kill();
    let ns = cluster.namespace("early").await?;
    ns.apply(
        &(manifests::mock("mock")
            + &manifests::route("chat", "shop", &[("m", &manifests::target("mock", "echo"))])),
    )
    .await?;
    ns.pod("app", "shop").await?;
    let mut sidecar = Sidecar::new(&ns, "app", installation.address(), ca_pem)?;
    sidecar.set_token(&ns.token("app").await?)?;
    sidecar.run()?;
    sidecar.wait_up().await?;
    let answer = sidecar.chat("m").await?;
    ensure!(
        answer.status == 503
            && answer.code() == "no_config"
            && !answer.header("retry-after").is_empty(),
        "{} {:?} {}",
        answer.status,
        answer.headers,
        answer.text()
    );
    operator.run()?;
    sidecar.wait_serves("m", Duration::from_mins(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_sidecar_drains_its_streams_when_it_is_told_to_stop() -> Result<()> {
    let gap = Duration::from_millis(100);
    let upstream =
        Upstream::with(move |seen| Reply::ordinary(seen, &"w ".repeat(30)).every(gap)).await?;
    let manifests = manifests::provider("p", &upstream.base_url(), None)
        + &manifests::route("chat", "shop", &[("m", &manifests::target("p", "m"))]);
    let mut stage = Stage::shared("drain", &manifests).await?;
    let url = stage.sidecar.url("/v1/chat/completions");
    let mut stream = Http::new()
        .open(&url, &llmroute_tests::http::chat_stream("m"))
        .await?;
    stream.chunk().await?;
    stage.sidecar.process().signal("TERM")?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Still accepting: on a container restart the app is alive.
    let answer = stage.sidecar.chat("m").await?;
    ensure!(answer.status == 200, "{}", answer.text());
    let (body, end) = stream.until_broken().await;
    end?;
    ensure!(body.ends_with(b"data: [DONE]\n\n"), "{body:?}");
    let status = stage
        .sidecar
        .process()
        .wait(Duration::from_secs(10))
        .await?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_told_to_stop_hands_the_lease_over() -> Result<()> {
    let cluster = Cluster::start().await?;
    let installation = Installation::new(&cluster).await?;
    let mut first = installation.ready("a").await?;
    installation.wait_leader(&first, SOON).await?;
    let second = installation.ready("b").await?;
    let start = std::time::Instant::now();
    let status = first.process().stop(Duration::from_secs(15)).await?;
    ensure!(status.success(), "{status}\n{}", first.tail());
    installation
        .wait_leader(&second, Duration::from_secs(10))
        .await?;
    report!(
        "the second leads {:?} after SIGTERM of the first",
        start.elapsed()
    );
    Ok(())
}
