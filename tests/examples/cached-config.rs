//! Writes the offline cache of a sidecar: one route, one keyed provider at a
//! base URL, as a sidecar would have kept them. With it a sidecar can be
//! measured (start, size, speed) with no operator in reach.
//!
//! `cargo run -p llmroute-tests --example cached-config -- DIR BASE_URL`

use anyhow::Context;
use llmroute_protocol::{
    Auth, Body, Credential, Dialect, Global, Health, Limits, Match, Model, Price, Provider, Rates,
    Retry, RetryOn, Route, Rule, Strategy, Target, Timeouts, auth,
};
use llmroute_sidecar::cache::Cache;

const PROVIDER: &str = "bench/mock-llm";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("usage: cached-config DIR BASE_URL")?;
    let base_url = args.next().context("usage: cached-config DIR BASE_URL")?;
    std::fs::create_dir_all(&dir)?;
    let bodies = [
        Body::Route(route()),
        Body::Provider(provider(base_url)),
        Body::Credential(credential()),
        Body::Global(Global::default()),
    ];
    let resources = bodies.into_iter().map(Body::into_resource).collect();
    Cache::new(Some(dir.into()), true).store(1, resources)?;
    Ok(())
}

fn route() -> Route {
    let matches = Match {
        models: vec!["gpt-4o-mini".into(), "claude-mock".into()],
        headers: Vec::new(),
    };
    let target = Target {
        name: "mock-llm".into(),
        provider: PROVIDER.into(),
        model: "gpt-4o-mini".into(),
        weight: 1,
        priority: 0,
        unavailable: String::new(),
    };
    let on = [
        RetryOn::ConnectFailure,
        RetryOn::Timeout,
        RetryOn::RateLimited,
        RetryOn::ServerError,
        RetryOn::Overloaded,
    ];
    let rule = Rule {
        name: "chat".into(),
        matches: vec![matches],
        targets: vec![target],
        strategy: Strategy::Weighted.into(),
        retry: Some(Retry {
            attempts: 2,
            on: on.map(i32::from).to_vec(),
            backoff_base_ms: 100,
            backoff_max_ms: 5_000,
        }),
        timeouts: Some(Timeouts {
            connect_ms: 3_000,
            first_byte_ms: 60_000,
            stream_idle_ms: 60_000,
            request_ms: 600_000,
        }),
        limits: Some(Limits {
            max_body_bytes: 16 * 1024 * 1024,
            max_concurrent: 0,
        }),
    };
    Route {
        namespace: "bench".into(),
        name: "chat".into(),
        generation: 1,
        created_unix_ms: 1,
        rules: vec![rule],
    }
}

fn provider(base_url: String) -> Provider {
    let rates = Rates {
        input: 150_000,
        output: 600_000,
        cached_input: Some(75_000),
        cache_write: None,
        cache_write_1h: None,
    };
    let model = Model {
        name: "gpt-4o-mini".into(),
        upstream_name: String::new(),
        context_tokens: 128_000,
        max_output_tokens: 16_384,
        price: Some(Price {
            rates: Some(rates),
            tiers: Vec::new(),
            service_tiers: Vec::new(),
        }),
    };
    let auth = Auth {
        r#type: auth::Type::Credential.into(),
        header: "authorization".into(),
        prefix: "Bearer ".into(),
    };
    let health = Health {
        consecutive_failures: 5,
        eject_for_ms: 10_000,
        max_eject_for_ms: 300_000,
    };
    Provider {
        namespace: "bench".into(),
        name: "mock-llm".into(),
        generation: 1,
        r#type: "custom".into(),
        dialect: Dialect::Openai.into(),
        base_url,
        ca_pem: String::new(),
        auth: Some(auth),
        models: vec![model],
        health: Some(health),
        quirks: Vec::new(),
        open_models: false,
    }
}

fn credential() -> Credential {
    Credential {
        provider: PROVIDER.into(),
        value: "sk-bench".into(),
        hash8: "00000000".into(),
    }
}
