//! Two operators: whatever happens to the first, the second takes over under a
//! higher epoch, the sidecar follows it, and no call is hurt.

use std::time::Instant;

use llmroute_tests::prelude::*;

/// A Lease must run out (15 s), and be noticed.
const TAKEN_OVER: Duration = Duration::from_secs(40);

/// Two replicas, the first leading, and a sidecar that serves `first`.
struct Pair<'a> {
    installation: Installation<'a>,
    first: Operator,
    second: Operator,
    stage: Stage<'a>,
    epoch: u64,
}

impl<'a> Pair<'a> {
    async fn start(cluster: &'a Cluster) -> Result<Self> {
        let installation = Installation::new(cluster).await?;
        let first = installation.ready("first").await?;
        installation.wait_leader(&first, SOON).await?;
        let second = installation.ready("second").await?;
        let stage = Stage::in_installation(&installation, "pair", &manifests("first")).await?;
        stage.sidecar.wait_serves("first", SOON).await?;
        let epoch = installation.epoch().await?;
        Ok(Self {
            installation,
            first,
            second,
            stage,
            epoch,
        })
    }

    /// Whoever leads now serves the sidecar, under a higher epoch: a change
    /// reaches the next call. Calls went on all the time.
    async fn a_change_arrives(&self, model: &str, cap: Duration) -> Result<Duration> {
        let start = Instant::now();
        self.stage.ns.apply(&manifests(model)).await?;
        eventually("the change to be served", cap, async || {
            let old = self.stage.sidecar.chat("first").await?;
            let gone = old.status == 404 && old.code() == "model_not_found";
            ensure!(
                old.status == 200 || gone,
                "a call was hurt: {} {}",
                old.status,
                old.text()
            );
            let answer = self.stage.sidecar.chat(model).await?;
            ensure!(
                answer.status == 200,
                "{}\n{}",
                answer.text(),
                self.stage.sidecar.tail()
            );
            Ok(())
        })
        .await?;
        let took = start.elapsed();
        self.stage.programmed().await?;
        Ok(took)
    }

    /// One pod wears the label.
    async fn one_label(&self) -> Result<()> {
        let get = [
            "-n",
            "llmroute-system",
            "get",
            "pods",
            "-l",
            "llmroute.dev/leader=true",
            "-o",
            "name",
        ];
        let worn = self.installation.cluster().kubectl(get).await?;
        ensure!(worn.lines().count() == 1, "{worn}");
        Ok(())
    }
}

fn manifests(model: &str) -> String {
    let target = manifests::target("mock", "echo");
    manifests::mock("mock") + &manifests::route("chat", "shop", &[(model, &target)])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_takes_over_when_the_first_is_killed() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut pair = Pair::start(&cluster).await?;
    let start = Instant::now();
    pair.first.kill();
    pair.installation
        .wait_leader(&pair.second, TAKEN_OVER)
        .await?;
    report!("killed: the second led after {:?}", start.elapsed());
    let took = pair.a_change_arrives("second", SOON).await?;
    report!("killed: the next change was served after {took:?}");
    ensure!(pair.installation.epoch().await? > pair.epoch);
    pair.one_label().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_takes_over_when_the_first_is_cut_off_from_the_api_server() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut pair = Pair::start(&cluster).await?;
    let start = Instant::now();
    pair.first.to_api().cut();
    pair.installation
        .wait_leader(&pair.second, TAKEN_OVER)
        .await?;
    report!("cut off: the second led after {:?}", start.elapsed());
    // The first still holds the session; the sidecar asks the Service and moves.
    let took = pair
        .a_change_arrives("second", Duration::from_secs(75))
        .await?;
    report!("cut off: the next change was served after {took:?}");
    ensure!(pair.installation.epoch().await? > pair.epoch);
    pair.one_label().await?;
    // Once it can read again it reads that it was deposed, and ends.
    pair.first.to_api().mend();
    let status = pair.first.process().wait(Duration::from_secs(45)).await?;
    ensure!(status.code() == Some(3), "{status}\n{}", pair.first.tail());
    pair.one_label().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_that_restarts_in_its_pod_is_followed_under_a_higher_epoch() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut pair = Pair::start(&cluster).await?;
    let start = Instant::now();
    pair.first.kill();
    pair.first.run()?;
    eventually("a higher epoch", TAKEN_OVER, async || {
        let epoch = pair.installation.epoch().await?;
        ensure!(epoch > pair.epoch, "{epoch}");
        Ok(())
    })
    .await?;
    report!("restarted: a higher epoch after {:?}", start.elapsed());
    let took = pair.a_change_arrives("second", TAKEN_OVER).await?;
    report!("restarted: the next change was served after {took:?}");
    pair.one_label().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_lease_leaves_one_leader_whose_epoch_never_falls() -> Result<()> {
    let cluster = Cluster::start().await?;
    let pair = Pair::start(&cluster).await?;
    cluster
        .kubectl([
            "-n",
            "llmroute-system",
            "delete",
            "lease",
            "llmroute-operator",
        ])
        .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let took = pair.a_change_arrives("second", TAKEN_OVER).await?;
    report!("lease deleted: the next change was served after {took:?}");
    ensure!(pair.installation.epoch().await? >= pair.epoch);
    let leaders = pair.first.metric("llmroute_leader", &[]).await;
    let second = pair.second.metric("llmroute_leader", &[]).await;
    // Whoever was deposed has ended, and its port with it.
    let leading = leaders.unwrap_or(0) + second.unwrap_or(0);
    ensure!(leading == 1, "{leading} lead");
    pair.one_label().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_restored_from_an_older_copy_is_passed_again() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut pair = Pair::start(&cluster).await?;
    // The second leads under a higher epoch, then the ConfigMap is put back.
    pair.first.kill();
    pair.installation
        .wait_leader(&pair.second, TAKEN_OVER)
        .await?;
    pair.a_change_arrives("second", TAKEN_OVER).await?;
    let patch = r#"{"data": {"epoch": "0"}}"#;
    cluster
        .kubectl([
            "-n",
            "llmroute-system",
            "patch",
            "configmap",
            "llmroute-epoch",
            "--type=merge",
            "-p",
            patch,
        ])
        .await?;
    pair.second.kill();
    pair.first.run()?;
    pair.installation
        .wait_leader(&pair.first, TAKEN_OVER)
        .await?;
    let took = pair
        .a_change_arrives("third", Duration::from_mins(1))
        .await?;
    report!("restored: the next change was served after {took:?}");
    let epoch = pair.installation.epoch().await?;
    ensure!(epoch > pair.epoch + 1, "epoch {epoch}, was {}", pair.epoch);
    Ok(())
}
