//! A planted key, a planted token and a planted prompt are searched for in all
//! that operator and sidecar say, after everything went wrong that we can think of.

use std::fs;

use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use llmroute_tests::upstream::Ending;

const KEY: &str = "sk-planted-4f1d0c9a7be2";
const ROTATED: &str = "sk-planted-again-77c2e1";
const CLIENT: &str = "sk-planted-by-the-client";
const PROMPT: &str = "planted prompt that nobody may log";
const ANSWER: &str = "planted answer that nobody may log";

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_key_is_found_nowhere() -> Result<()> {
    let cluster = Cluster::start().await?;
    let installation = Installation::new(&cluster).await?;
    let operator = installation.ready("a").await?;
    let upstream = Upstream::with(|seen| Reply::ordinary(seen, ANSWER)).await?;
    let mut stage = Stage::in_installation(&installation, "planted", "").await?;
    stage.ns.secret("key", KEY).await?;
    stage.apply(&manifests(&upstream)).await?;
    let token = fs::read_to_string(cluster.dir().join(&stage.sidecar.name).join("token"))?;

    let mut errors = everything_goes_wrong(&stage, &upstream).await?;
    stage.ns.secret("key", ROTATED).await?;
    // Bad objects around the key, and a second start from the cache.
    let bad = manifests::provider("bad", "https://llm.example.com/v1", Some("key"))
        .replace("{name: key}}", "{name: key, key: nothing}}");
    stage.ns.apply(&bad).await?;
    stage
        .ns
        .wait_condition("llmp/bad", "ResolvedRefs", "False", "KeyNotFound", SOON)
        .await?;
    upstream.answer(|seen| Reply::ordinary(seen, ANSWER));
    stage.sidecar.restart().await?;
    stage.sidecar.wait_serves("m", SOON).await?;
    stage.programmed().await?;
    // A process that dies of it says nothing either.
    errors.push(("panic or abort", stage.sidecar.tail()));

    let mut said = gather(&cluster, &operator, &stage).await?;
    said.extend(
        errors
            .into_iter()
            .map(|(what, text)| (what.to_owned(), text)),
    );
    let mut found = Vec::new();
    for (place, text) in &said {
        for planted in [KEY, ROTATED, CLIENT, PROMPT, ANSWER, token.trim()] {
            if text.contains(planted) {
                found.push(format!("{planted} in {place}"));
            }
        }
    }
    let bytes: usize = said.iter().map(|(_, text)| text.len()).sum();
    report!(
        "{} places, {bytes} bytes searched, {} found",
        said.len(),
        found.len()
    );
    ensure!(found.is_empty(), "{found:#?}");
    // By the way: the shipped RBAC was enough for all of it.
    ensure!(
        !operator.log().to_lowercase().contains("forbidden"),
        "{}",
        operator.tail()
    );
    // The search itself works: the key was really used, and lies where it must.
    ensure!(
        upstream.seen().iter().any(|s| s.bearer() == KEY),
        "the key was never used"
    );
    the_cached_key_is_for_its_owner_only(&stage)
}

fn manifests(upstream: &Upstream) -> String {
    let route = manifests::route(
        "chat",
        "shop",
        &[("m", &manifests::target("p", "m")), ("lost", &manifests::target("lost", "m"))],
    )
    .replace("      targets:", "      retry: {attempts: 1, backoff: {base: 1ms, max: 1ms}}\n      timeouts: {firstByte: 300ms, streamIdle: 300ms}\n      targets:");
    let calm = "  health: {consecutiveFailures: 100}\n---\n";
    manifests::provider("p", &upstream.base_url(), Some("key")).replace("---\n", calm)
        + &manifests::provider("lost", "http://127.0.0.1:1/v1", Some("key"))
        + &route
}

/// The error bodies that came of it.
async fn everything_goes_wrong(
    stage: &Stage<'_>,
    upstream: &Upstream,
) -> Result<Vec<(&'static str, String)>> {
    let http = Http::new().with("authorization", &format!("Bearer {CLIENT}"));
    let url = stage.sidecar.url("/v1/chat/completions");
    let (mut body, mut stream) = (chat("m"), chat_stream("m"));
    for body in [&mut body, &mut stream] {
        body["messages"][0]["content"] = PROMPT.into();
    }
    let mut said = Vec::new();
    let faults: Vec<(&'static str, Reply)> = vec![
        ("429", Reply::error(429, "slow down")),
        ("500", Reply::error(500, "oops")),
        ("reset", Reply::reset()),
        ("hang", Reply::hang()),
        (
            "not HTTP after all",
            Reply::new(200, "application/json", "{").cut(1, Ending::Broken),
        ),
        (
            "redirect",
            Reply::new(302, "text/plain", "").header("location", "http://127.0.0.1:1/"),
        ),
        (
            "broken stream",
            Reply::events(["{\"choices\": []}".to_owned()]).cut(1, Ending::Broken),
        ),
        (
            "silent stream",
            Reply::events(["{\"choices\": []}".to_owned()]).cut(1, Ending::Silent),
        ),
        // Last, as its key is refused from then on. The upstream tells the key: it goes no further.
        (
            "401",
            Reply::error(401, &format!("Incorrect API key provided: {KEY}")),
        ),
    ];
    // First what works. Programmed may be true before the Secret has come: without its key
    // the target is left out for that moment.
    stage.sidecar.wait_serves("m", SOON).await?;
    for body in [&body, &stream] {
        let answer = http.post(&url, body).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    }
    for (what, fault) in faults {
        upstream.answer(move |_| fault.clone());
        for body in [&body, &stream] {
            let answer = http.open(&url, body).await?;
            let headers = format!("{:?}", answer.headers);
            let (seen, _) = answer.until_broken().await;
            said.push((what, headers + &String::from_utf8_lossy(&seen)));
        }
    }
    let answer = http
        .post(
            &url,
            &json!({"model": "lost", "messages": [{"role": "user", "content": PROMPT}]}),
        )
        .await?;
    said.push(("lost", format!("{:?}{}", answer.headers, answer.text())));
    let broken = format!("{{\"model\": \"m\", \"messages\": \"{PROMPT}\", ");
    let answer = http
        .send(
            http::Method::POST,
            &url,
            Some("application/json"),
            broken.into(),
        )
        .await?;
    said.push(("invalid JSON", answer.whole().await?.text()));
    Ok(said)
}

/// All that the two say of themselves, anywhere.
async fn gather(
    cluster: &Cluster,
    operator: &Operator,
    stage: &Stage<'_>,
) -> Result<Vec<(String, String)>> {
    let mut said = Vec::new();
    // Logs at debug level, the access log among them; not those of API server and etcd.
    for (path, text) in cluster.logs()? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("etcd") && !name.starts_with("kube-") {
            said.push((name, text));
        }
    }
    ensure!(said.len() >= 3, "{} logs", said.len());
    said.push(("sidecar metrics".to_owned(), stage.sidecar.metrics().await?));
    let config = stage.sidecar.config().await?;
    ensure!(
        config.status == 200 && config.text().contains("/p"),
        "{}",
        config.text()
    );
    said.push(("sidecar /config".to_owned(), config.text()));
    let metrics = Http::new().get(&operator.admin_url("/metrics")).await?;
    said.push(("operator metrics".to_owned(), metrics.text()));
    for what in [
        "llm",
        "events.events.k8s.io",
        "configmaps",
        "leases",
        "pods",
    ] {
        let text = cluster.kubectl(["get", what, "-A", "-o", "yaml"]).await?;
        said.push((what.to_owned(), text));
    }
    // The cached config holds no key; the credentials are a file of their own.
    for entry in fs::read_dir(stage.sidecar.state_dir())? {
        let path = entry?.path();
        if path.file_name().is_none_or(|n| n != "credentials.bin") {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            said.push((path.display().to_string(), text));
        }
    }
    // What every process of the machine's user can see of it.
    let environment = fs::read(format!("/proc/{}/environ", stage.sidecar.pid()))?;
    said.push((
        "environment".to_owned(),
        String::from_utf8_lossy(&environment).into_owned(),
    ));
    let command = fs::read(format!("/proc/{}/cmdline", stage.sidecar.pid()))?;
    said.push((
        "command line".to_owned(),
        String::from_utf8_lossy(&command).into_owned(),
    ));
    Ok(said)
}

fn the_cached_key_is_for_its_owner_only(stage: &Stage<'_>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let file = stage.sidecar.state_dir().join("credentials.bin");
    let mode = fs::metadata(&file)
        .with_context(|| file.display().to_string())?
        .permissions()
        .mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let bytes = fs::read(&file)?;
    ensure!(
        String::from_utf8_lossy(&bytes).contains(ROTATED),
        "the cache lacks the key"
    );
    Ok(())
}
