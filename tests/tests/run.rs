//! `llmroute run`: the product on a laptop, as a new user meets it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use llmroute_tests::http::{chat, chat_stream};
use llmroute_tests::prelude::*;
use llmroute_tests::process::Process;
use llmroute_tests::{assets, ports, reaper};

/// From an edit to the next call that follows it.
const EDITED: Duration = Duration::from_secs(10);

/// `llmroute run` over a copy of a folder.
struct Running {
    process: Process,
    folder: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
    http: Http,
    _dir: tempfile::TempDir,
}

impl Running {
    async fn start(manifests: &[(&str, String)], environment: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("llmroute-test-run-")
            .tempdir()?;
        reaper::guard_dir(dir.path());
        let folder = dir.path().join("manifests");
        fs::create_dir(&folder)?;
        for (name, text) in manifests {
            fs::write(folder.join(name), text)?;
        }
        let (listen, admin) = (ports::free(), ports::free());
        let mut command = Command::new(assets::own("llmroute"));
        command
            .arg("run")
            .arg(&folder)
            .args([
                "--listen",
                &listen.to_string(),
                "--admin",
                &admin.to_string(),
            ])
            .env_remove("OPENAI_API_KEY")
            .envs(environment.iter().copied());
        let process = Process::spawn("llmroute-run", dir.path(), &mut command)?;
        let mut running = Self {
            process,
            folder,
            listen,
            admin,
            http: Http::new(),
            _dir: dir,
        };
        running.wait_ready().await?;
        Ok(running)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        eventually("llmroute run", SOON, async || {
            self.process.check_running()?;
            let answer = self
                .http
                .get(&url)
                .await
                .with_context(|| self.process.tail())?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })
        .await
    }

    async fn chat(&self, model: &str) -> Result<Answer> {
        self.post(&chat(model)).await
    }

    async fn post(&self, body: &Value) -> Result<Answer> {
        let url = format!("http://{}/v1/chat/completions", self.listen);
        self.http.post(&url, body).await
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        // As an editor does: a new file takes the place of the old one.
        let new = self.folder.join(format!(".{name}.swp"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.folder.join(name))?)
    }

    async fn serves_by(&self, model: &str, target: &str) -> Result<()> {
        eventually(
            &format!("{model} to be served by {target}"),
            EDITED,
            async || {
                let answer = self.chat(model).await?;
                ensure!(
                    answer.status == 200 && answer.header("x-llmroute-target") == target,
                    "{} {:?} {}\n{}",
                    answer.status,
                    answer.headers,
                    answer.text(),
                    self.process.tail()
                );
                Ok(())
            },
        )
        .await
    }
}

fn quickstart() -> Result<Vec<(&'static str, String)>> {
    let folder: &Path = &assets::repository().join("examples/quickstart");
    let read =
        |name: &'static str| -> Result<_> { Ok((name, fs::read_to_string(folder.join(name))?)) };
    ["providers.yaml", "route.yaml", "secret.yaml"]
        .into_iter()
        .map(read)
        .collect()
}

#[tokio::test]
async fn the_quickstart_answers_with_no_key_streamed_and_not() -> Result<()> {
    let running = Running::start(&quickstart()?, &[]).await?;
    let answer = running.chat("gpt-4o-mini").await?;
    ensure!(
        answer.status == 200,
        "{}\n{}",
        answer.text(),
        running.process.tail()
    );
    ensure!(
        answer.json()?["choices"][0]["message"]["content"].is_string(),
        "{}",
        answer.text()
    );
    for (header, wanted) in [
        ("x-llmroute-target", "mock"),
        ("x-llmroute-provider", "default/mock"),
        ("x-llmroute-route", "default/chat"),
        ("x-llmroute-model", "echo"),
        ("x-llmroute-attempts", "1"),
    ] {
        ensure!(
            answer.header(header) == wanted,
            "{header}: {:?}",
            answer.headers
        );
    }
    ensure!(
        !answer.header("x-llmroute-cost-usd").is_empty(),
        "{:?}",
        answer.headers
    );
    let streamed = running.post(&chat_stream("gpt-4o-mini")).await?;
    ensure!(
        streamed.text().ends_with("data: [DONE]\n\n"),
        "{}",
        streamed.text()
    );
    ensure!(
        streamed.header("x-llmroute-cost-usd").is_empty(),
        "the cost of a stream is unknown at its head"
    );
    // The terminal says what to try.
    let said = running.process.log();
    ensure!(
        said.contains(&running.listen.to_string()) && said.contains("curl"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn a_key_in_the_environment_is_used_and_shown_nowhere() -> Result<()> {
    let upstream = Upstream::start().await?;
    let mut manifests = quickstart()?;
    manifests[0].1 = manifests[0].1.replace(
        "  type: openai\n",
        &format!(
            "  type: openai\n  endpoint: {{baseURL: \"{}\"}}\n",
            upstream.base_url()
        ),
    );
    let running = Running::start(&manifests, &[("OPENAI_API_KEY", "sk-planted")]).await?;
    running.serves_by("gpt-4o-mini", "openai").await?;
    ensure!(upstream.seen()[0].bearer() == "sk-planted");
    ensure!(
        !running.process.log().contains("sk-planted"),
        "{}",
        running.process.log()
    );
    Ok(())
}

#[tokio::test]
async fn an_edit_is_followed_and_a_broken_one_keeps_the_last_good_state() -> Result<()> {
    let (a, b) = (Upstream::start().await?, Upstream::start().await?);
    let providers = manifests::provider("a", &a.base_url(), None)
        + &manifests::provider("b", &b.base_url(), None);
    let route = |target: &str| {
        manifests::route("chat", "shop", &[("m", &manifests::target(target, "m"))]).replace(
            "  workloadSelector:\n    matchLabels:\n      app: shop\n",
            "",
        )
    };
    let running = Running::start(
        &[("providers.yaml", providers), ("route.yaml", route("a"))],
        &[],
    )
    .await?;
    running.serves_by("m", "a").await?;
    running.write("route.yaml", &route("b"))?;
    running.serves_by("m", "b").await?;
    for (broken, told) in [
        (
            route("b").replace("models: [\"m\"]", "models: [\"m"),
            "route.yaml",
        ),
        (route("a").replace("rules:", "rulez:"), "rulez"),
        (
            route("a").replace("model: m}", "model: m, weight: -1}"),
            "weight",
        ),
    ] {
        running.write("route.yaml", &broken)?;
        running.process.logs(told, EDITED).await?;
        let answer = running.chat("m").await?;
        ensure!(
            answer.header("x-llmroute-target") == "b",
            "{} {}",
            answer.status,
            answer.text()
        );
    }
    running.write("route.yaml", &route("a"))?;
    running.serves_by("m", "a").await?;
    fs::remove_file(running.folder.join("route.yaml"))?;
    eventually("the route to be gone", EDITED, async || {
        let answer = running.chat("m").await?;
        ensure!(
            answer.code() == "no_route",
            "{} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_mock_does_as_it_is_told() -> Result<()> {
    let running = Running::start(&quickstart()?, &[]).await?;
    let url = format!("http://{}/v1/chat/completions", running.listen);
    let told = Http::new()
        .with("x-llmroute-mock", "status=418")
        .post(&url, &chat("x"))
        .await?;
    ensure!(told.status == 418, "{} {}", told.status, told.text());
    let told = Http::new()
        .with("x-llmroute-mock", "chunks=5")
        .post(&url, &chat_stream("x"))
        .await?;
    let contents = told.text().matches("\"content\"").count();
    ensure!(contents >= 5, "{}", told.text());
    Ok(())
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_and_says_so_when_it_cannot_start() -> Result<()> {
    let mut running = Running::start(&quickstart()?, &[]).await?;
    running.process.signal("INT")?;
    let status = running.process.wait(Duration::from_secs(10)).await?;
    ensure!(status.success(), "{status}\n{}", running.process.tail());
    let out = Command::new(assets::own("llmroute"))
        .args(["run", "/nowhere"])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(
        !out.status.success() && said.contains("/nowhere: no such folder"),
        "{said}"
    );
    Ok(())
}
