//! The exposition, as a scraper reads it.

use std::time::Duration;

use super::*;
use crate::error::Cause;
use crate::meter::{PicoUsd, Usage};

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render()).expect("the exposition is UTF-8")
}

#[tokio::test(start_paused = true)]
async fn each_thing_counted_is_a_line_of_the_exposition() {
    let metrics = Metrics::new("1.2.3");
    let series = metrics.series("shop/chat", "shop/openai", "gpt-4o");
    series.request(End::Success, Duration::from_millis(200));
    series.first_byte(Duration::from_millis(20));
    series.attempt(AttemptEnd::Failed(Cause::RateLimited));
    series.attempt(AttemptEnd::Answered);
    series.retry(Cause::RateLimited);
    series.ejected();
    let usage = Usage {
        input: 10,
        cached: 5,
        output: 7,
        reasoning: 3,
        ..Usage::default()
    };
    series.usage(&usage, true, Some(PicoUsd(1_234_567_000_000)));
    series.usage(&usage, false, None);
    metrics.error("no_config");
    metrics.control_plane_connected(true);
    metrics.config_applied(&[0xab; 32], Instant::now());
    tokio::time::advance(Duration::from_secs(5)).await;
    let text = text(&metrics);
    let call = "model=\"gpt-4o\",provider=\"shop/openai\"";
    let route = "route=\"shop/chat\"";
    for line in [
        "llmroute_build_info{version=\"1.2.3\"} 1".to_owned(),
        "# TYPE llmroute_build_info gauge".to_owned(),
        format!("llmroute_requests_total{{end=\"success\",{call},{route}}} 1"),
        format!("llmroute_attempts_total{{end=\"rate_limited\",{call},{route}}} 1"),
        format!("llmroute_attempts_total{{end=\"answered\",{call},{route}}} 1"),
        format!("llmroute_retries_total{{{call},reason=\"rate_limited\",{route}}} 1"),
        format!("llmroute_tokens_total{{kind=\"cached_input\",{call},{route}}} 10"),
        format!("llmroute_tokens_total{{kind=\"reasoning\",{call},{route}}} 6"),
        "llmroute_cost_usd_total{route=\"shop/chat\",provider=\"shop/openai\",model=\"gpt-4o\"} 1.234567".to_owned(),
        format!("llmroute_usage_estimated_total{{{call},{route}}} 1"),
        format!("llmroute_usage_unpriced_total{{{call},{route}}} 1"),
        format!("llmroute_ejections_total{{{call}}} 1"),
        format!("llmroute_first_byte_seconds_count{{{call},{route}}} 1"),
        format!("llmroute_request_duration_seconds_bucket{{{call},{route},le=\"0.25\"}} 1"),
        "llmroute_errors_total{code=\"no_config\"} 1".to_owned(),
        "llmroute_control_plane_connected 1".to_owned(),
        "llmroute_config_info{hash=\"abababababababab\"} 1".to_owned(),
        "llmroute_config_age_seconds 5".to_owned(),
        "llmroute_open_streams 0".to_owned(),
    ] {
        assert!(text.contains(&line), "no line {line} in\n{text}");
    }
}

#[test]
fn series_beyond_the_bound_share_one() {
    let metrics = Metrics::new("0");
    for n in 0..MAX_SERIES + 10 {
        metrics.series("r", "p", &n.to_string());
    }
    let surplus = metrics.series("r", "p", "yet another");
    assert!(Arc::ptr_eq(
        &surplus,
        &metrics.series("r", "p", "and one more")
    ));
}

#[test]
fn the_documentation_names_every_family() {
    let metrics = Metrics::new("0");
    metrics.series("r", "p", "m");
    let documentation = include_str!("../../../docs/metrics.md");
    for family in [
        "requests_total",
        "attempts_total",
        "retries_total",
        "errors_total",
        "first_byte_seconds",
        "request_duration_seconds",
        "tokens_total",
        "cost_usd_total",
        "usage_estimated_total",
        "usage_unpriced_total",
        "ejections_total",
        "open_streams",
        "access_log_dropped_total",
        "config_info",
        "config_age_seconds",
        "control_plane_connected",
        "build_info",
    ] {
        let name = format!("`llmroute_{family}`");
        assert!(
            documentation.contains(&name),
            "docs/metrics.md lacks {name}"
        );
    }
}
