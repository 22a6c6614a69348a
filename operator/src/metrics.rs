//! What the operator counts, as Prometheus families with the prefix `llmroute_`.
//!
//! Every label value comes from a closed set of this program (a kind, a reason,
//! an outcome): nothing that a user or a sidecar wrote becomes a label. Each is
//! there at 0 from the start, so that `increase()` sees the first of it.

use std::sync::Arc;

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::session::{END_LABELS, Refusal};
use crate::watches::Source;

/// The families; cloned freely, counted once.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

/// One field a family.
pub struct Families {
    registry: Registry,
    /// Streams that were welcomed and are open.
    pub sessions: IntGauge,
    /// Streams that were welcomed.
    pub sessions_opened: IntCounter,
    /// Streams that ended, by reason.
    pub sessions_closed: IntCounterVec,
    /// Streams that were refused before the welcome, by reason.
    pub auth_failures: IntCounterVec,
    /// `TokenReviews`, by outcome.
    pub token_reviews: IntCounterVec,
    /// Snapshots and deltas sent.
    pub pushes: IntCounterVec,
    /// Bytes of resource bodies sent.
    pub push_bytes: IntCounter,
    /// Seconds from a push to its ack.
    pub push_ack_seconds: Histogram,
    /// Results in acks, by outcome.
    pub ack_results: IntCounterVec,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// The epoch that this process serves, or the last one it read.
    pub epoch: IntGauge,
    /// Attempts to renew the Lease that failed.
    pub lease_failures: IntCounter,
    /// When the served certificate ends, in Unix seconds.
    pub certificate_not_after: Gauge,
    /// The share of the certificate's life that is left, 0 to 1.
    pub certificate_left: Gauge,
    /// Objects held, by kind.
    pub objects: IntGaugeVec,
    /// Objects that couldn't be read, by kind.
    pub malformed: IntGaugeVec,
    /// Errors of watches, by kind.
    pub watch_errors: IntCounterVec,
    /// Seconds that a reconciliation took.
    pub reconcile_seconds: Histogram,
    /// Status writes, by outcome.
    pub status_writes: IntCounterVec,
    /// Statuses that differ from what is there.
    pub status_backlog: IntGauge,
    /// Events published, by outcome.
    pub events: IntCounterVec,
}

// ---------------------------------------------------------------- impl Metrics

impl Metrics {
    /// All families at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        build_info(&registry);
        let refusals = Refusal::ALL.map(Refusal::label);
        let sources = Source::ALL.map(Source::label);
        let watches: Vec<_> = sources.iter().copied().chain(["certificates"]).collect();
        let own = [Source::Providers, Source::Routes].map(Source::label);
        let r = &registry;
        let families = Families {
            sessions: gauge(r, "sessions", "Open sessions"),
            sessions_opened: counter(r, "sessions_opened_total", "Sessions welcomed"),
            sessions_closed: counter_vec(
                r,
                "sessions_closed_total",
                "Sessions ended",
                "reason",
                &END_LABELS,
            ),
            auth_failures: counter_vec(
                r,
                "auth_failures_total",
                "Sessions refused",
                "reason",
                &refusals,
            ),
            token_reviews: counter_vec(
                r,
                "token_reviews_total",
                "TokenReviews",
                "outcome",
                &["authenticated", "denied", "error"],
            ),
            pushes: counter_vec(
                r,
                "pushes_total",
                "Snapshots and deltas sent",
                "kind",
                &["snapshot", "delta"],
            ),
            push_bytes: counter(r, "push_bytes_total", "Bytes of resource bodies sent"),
            push_ack_seconds: histogram(r, "push_ack_seconds", "From a push to its ack"),
            ack_results: counter_vec(
                r,
                "ack_results_total",
                "Results in acks",
                "outcome",
                &["ok", "warn", "error"],
            ),
            leader: gauge(r, "leader", "1 while this process leads"),
            epoch: gauge(r, "epoch", "The epoch served, or the last one read"),
            lease_failures: counter(r, "lease_failures_total", "Failed renewals of the Lease"),
            certificate_not_after: float(
                r,
                "certificate_not_after_seconds",
                "When the session certificate ends, in Unix seconds",
            ),
            certificate_left: float(
                r,
                "certificate_left_ratio",
                "Share of the session certificate's life that is left",
            ),
            objects: gauge_vec(r, "objects", "Objects held", "kind", &sources),
            malformed: gauge_vec(
                r,
                "malformed_objects",
                "Objects that can't be read",
                "kind",
                &own,
            ),
            watch_errors: counter_vec(
                r,
                "watch_errors_total",
                "Errors of watches",
                "kind",
                &watches,
            ),
            reconcile_seconds: histogram(r, "reconcile_seconds", "Duration of reconciliations"),
            status_writes: counter_vec(
                r,
                "status_writes_total",
                "Status writes",
                "outcome",
                &["applied", "moot", "failed", "timeout"],
            ),
            status_backlog: gauge(r, "status_backlog", "Statuses that wait to be written"),
            events: counter_vec(
                r,
                "events_total",
                "Events published",
                "outcome",
                &["published", "repeated", "dropped", "failed"],
            ),
            registry,
        };
        Self(Arc::new(families))
    }

    /// The exposition text.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory doesn't fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::ops::Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("llmroute")
}

/// Registers a family; every name is a literal of this file and used once.
fn add<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> C {
    let family = family.expect("the literal options are valid");
    registry
        .register(Box::new(family.clone()))
        .expect("each name is registered once");
    family
}

fn counter(r: &Registry, name: &str, help: &str) -> IntCounter {
    add(r, IntCounter::with_opts(opts(name, help)))
}

fn build_info(r: &Registry) {
    let version = env!("CARGO_PKG_VERSION");
    let help = "1, with the version";
    let build = gauge_vec(r, "build_info", help, "version", &[version]);
    build.with_label_values(&[version]).set(1);
}

/// With each of `values` at 0.
fn counter_vec(
    r: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: &[&str],
) -> IntCounterVec {
    let family = add(r, IntCounterVec::new(opts(name, help), &[label]));
    for value in values {
        family.with_label_values(&[value]);
    }
    family
}

fn gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    add(r, IntGauge::with_opts(opts(name, help)))
}

/// With each of `values` at 0.
fn gauge_vec(r: &Registry, name: &str, help: &str, label: &str, values: &[&str]) -> IntGaugeVec {
    let family = add(r, IntGaugeVec::new(opts(name, help), &[label]));
    for value in values {
        family.with_label_values(&[value]);
    }
    family
}

fn float(r: &Registry, name: &str, help: &str) -> Gauge {
    add(r, Gauge::with_opts(opts(name, help)))
}

fn histogram(r: &Registry, name: &str, help: &str) -> Histogram {
    let buckets = vec![
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
    ];
    let options = HistogramOpts::new(name, help)
        .namespace("llmroute")
        .buckets(buckets);
    add(r, Histogram::with_opts(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_carries_the_prefix() {
        let metrics = Metrics::new();
        metrics.sessions_closed.with_label_values(&["drain"]).inc();
        let text = String::from_utf8(metrics.render()).expect("text");
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            assert!(line.starts_with("llmroute_"), "{line}");
        }
        assert!(text.contains("llmroute_sessions_closed_total{reason=\"drain\"} 1"));
    }

    #[test]
    fn every_label_is_there_at_0_from_the_start() {
        let text = String::from_utf8(Metrics::new().render()).expect("text");
        for sample in [
            "llmroute_auth_failures_total{reason=\"pod_gone\"} 0",
            "llmroute_sessions_closed_total{reason=\"refused\"} 0",
            "llmroute_malformed_objects{kind=\"llmroutes\"} 0",
            "llmroute_watch_errors_total{kind=\"certificates\"} 0",
            "llmroute_watch_errors_total{kind=\"configmaps\"} 0",
            "llmroute_status_writes_total{outcome=\"timeout\"} 0",
            "llmroute_events_total{outcome=\"dropped\"} 0",
        ] {
            assert!(text.contains(sample), "no {sample} in {text}");
        }
    }

    #[test]
    fn the_build_is_a_gauge() {
        let text = String::from_utf8(Metrics::new().render()).expect("text");
        assert!(text.contains("# TYPE llmroute_build_info gauge"), "{text}");
    }
}
