//! What real providers answered, answered back in pieces split at random: the
//! client sees the same bytes, the upstream the same request, and what is
//! metered is what the provider reported.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use llmroute_tests::assets;
use llmroute_tests::prelude::*;
use serde::Deserialize;

/// Each is split so many times.
const SPLITS: u64 = 3;

#[derive(Deserialize)]
struct Recording {
    #[serde(default)]
    name: String,
    path: String,
    request: Value,
    status: u16,
    content_type: Option<String>,
    body: String,
}

fn load() -> Result<Vec<Recording>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(assets::repository().join("tests/recordings"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&path)?;
            let mut recording: Recording =
                serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            recording.name = path.display().to_string();
            found.push(recording);
        }
    }
    if let Some(file) = std::env::var_os("LLMROUTE_RECORDINGS") {
        for (index, line) in std::fs::read_to_string(&file)?.lines().enumerate() {
            let mut recording: Recording = serde_json::from_str(line)?;
            recording.name = format!("row {index} of {}", file.display());
            found.push(recording);
        }
    }
    ensure!(found.len() > 20, "{} recordings", found.len());
    Ok(found)
}

impl Recording {
    fn model(&self) -> &str {
        self.request["model"].as_str().unwrap_or_default()
    }

    /// `chat/completions`, as every path of it ends.
    fn operation(&self) -> &str {
        let path = self.path.trim_start_matches('/');
        path.split_once("v1/")
            .or_else(|| path.split_once("beta/"))
            .map_or(path, |(_, o)| o)
    }

    fn reply(&self, seed: u64) -> Reply {
        let content_type = self.content_type.as_deref().unwrap_or("application/json");
        let reply = Reply::new(self.status, content_type, self.body.clone());
        reply.split(&mut fastrand::Rng::with_seed(seed))
    }

    /// Input and output tokens as the provider reported them last.
    fn reported(&self) -> Option<(u64, u64)> {
        let whole = serde_json::from_str::<Value>(&self.body).ok();
        let events = self.body.lines().filter_map(|l| l.strip_prefix("data:"));
        let events = events.filter_map(|e| serde_json::from_str::<Value>(e.trim()).ok());
        let mut usages = whole.into_iter().chain(events).filter_map(|v| {
            let usage = [&v["usage"], &v["response"]["usage"], &v["x_groq"]["usage"]]
                .into_iter()
                .find(|u| u.is_object())?
                .clone();
            let count = |names: [&str; 2]| names.iter().find_map(|n| usage[*n].as_u64());
            Some((
                count(["prompt_tokens", "input_tokens"])?,
                count(["completion_tokens", "output_tokens"]).unwrap_or(0),
            ))
        });
        usages.next_back()
    }
}

fn manifests(upstream: &Upstream, recordings: &[Recording]) -> String {
    let models: BTreeSet<_> = recordings.iter().map(Recording::model).collect();
    let mut listed = String::new();
    for model in models {
        let _ = writeln!(
            listed,
            "    - name: {model:?}\n      price: {{input: 1, output: 2}}"
        );
    }
    let provider = manifests::provider("p", &upstream.base_url(), None).replace(
        "    - name: m\n      price: {input: 1, output: 2}\n",
        &listed,
    );
    let route = manifests::route("all", "shop", &[("*", "{providerRef: {name: p}}")]);
    provider + &route.replace("      matches:\n        - models: [\"*\"]\n", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_answers_come_back_byte_for_byte() -> Result<()> {
    let recordings = Arc::new(load()?);
    let rows = Arc::clone(&recordings);
    let upstream = Upstream::with(move |seen| {
        let (row, seed) = seen
            .header("x-test-row")
            .split_once('/')
            .unwrap_or_default();
        let row: usize = row.parse().unwrap_or_default();
        rows[row].reply(seed.parse().unwrap_or_default())
    })
    .await?;
    let stage = Stage::shared("recordings", &manifests(&upstream, &recordings)).await?;
    let (mut bytes, mut streams, mut wrong) = (0, 0, Vec::new());
    for (row, recording) in recordings.iter().enumerate() {
        for seed in 0..SPLITS {
            let http = Http::new().with("x-test-row", &format!("{row}/{seed}"));
            let url = stage.sidecar.url(&format!("/v1/{}", recording.operation()));
            let answer = http
                .post(&url, &recording.request)
                .await
                .context(recording.name.clone())?;
            if answer.status != recording.status || answer.body != recording.body {
                wrong.push(format!(
                    "{}: {} {}",
                    recording.name,
                    answer.status,
                    answer.text()
                ));
            }
            bytes += answer.body.len();
            streams += usize::from(recording.request["stream"] == true);
        }
        let seen = upstream.seen();
        let mut sent = seen.last().context("nothing arrived")?.json();
        let mut asked = recording.request.clone();
        for body in [&mut sent, &mut asked] {
            // The one thing that we add, where it isn't there.
            body.as_object_mut()
                .context("no object")?
                .remove("stream_options");
        }
        if sent != asked {
            wrong.push(format!("{}: the upstream saw {sent}", recording.name));
        }
    }
    report!(
        "{} recordings, {} answers ({streams} streams), {bytes} bytes, {} wrong",
        recordings.len(),
        recordings.len() as u64 * SPLITS,
        wrong.len()
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    metered(&stage, &recordings).await
}

async fn metered(stage: &Stage<'_>, recordings: &[Recording]) -> Result<()> {
    let wanted = recordings.len() * usize::try_from(SPLITS)?;
    let lines = eventually("all lines of the access log", SOON, async || {
        let lines = stage.sidecar.access_log()?;
        ensure!(lines.len() == wanted, "{} of {wanted}", lines.len());
        Ok(lines)
    })
    .await?;
    let mut wrong = Vec::new();
    let mut reported = 0;
    for (line, recording) in lines
        .iter()
        .step_by(usize::try_from(SPLITS)?)
        .zip(recordings)
    {
        let Some((input, output)) = recording.reported() else {
            continue;
        };
        reported += 1;
        let tokens = |names: &[&str]| -> u64 {
            names
                .iter()
                .filter_map(|n| line["tokens"][*n].as_u64())
                .sum()
        };
        let inputs = tokens(&["input", "cached_input", "cache_write", "cache_write_long"]);
        if line["usage"] != "reported" || inputs != input || tokens(&["output"]) != output {
            wrong.push(format!(
                "{}: {input} and {output}, but {line}",
                recording.name
            ));
        }
        // A micro-USD a token in, two out.
        let cost = line["cost_pico_usd"].as_u64();
        if cost
            != Some(
                tokens(&["input"]) * 1_000_000
                    + tokens(&["cached_input", "cache_write", "cache_write_long"]) * 1_000_000
                    + output * 2_000_000,
            )
        {
            wrong.push(format!("{}: cost {cost:?}", recording.name));
        }
    }
    report!(
        "{reported} recordings report usage, {} metered wrongly",
        wrong.len()
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
