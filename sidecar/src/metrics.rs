//! What the sidecar counts, as Prometheus families with the prefix `llmroute_`
//! (docs/metrics.md lists them).
//!
//! Every label value is a word of this program or a name that the config holds:
//! a model that only an open provider lets through is `other`. Children are
//! made once for each (route, provider, model) and held in a [`Series`], so
//! that a call formats nothing. Money is counted in integer pico-USD and turned
//! into USD when it is read.

mod cost;
mod series;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, TextEncoder,
};
use tokio::time::Instant;

use cost::CostFamily;
pub use series::{AttemptEnd, End, Series};

#[cfg(test)]
mod tests;

/// The families; cloned freely, counted once.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

/// One field a family.
pub(crate) struct Families {
    registry: Registry,
    requests: IntCounterVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    errors: IntCounterVec,
    first_byte: HistogramVec,
    duration: HistogramVec,
    tokens: IntCounterVec,
    cost: CostFamily,
    usage_estimated: IntCounterVec,
    usage_unpriced: IntCounterVec,
    ejections: IntCounterVec,
    /// Answers that are being relayed.
    pub(crate) open_streams: IntGauge,
    /// Lines that the access log lost.
    pub(crate) log_dropped: IntCounter,
    config_version: GaugeVec,
    config_age: Gauge,
    control_plane_connected: IntGauge,
    applied: Mutex<Option<Instant>>,
    series: Mutex<ByName<ByName<ByName<Arc<Series>>>>>,
    made: std::sync::atomic::AtomicUsize,
}

type ByName<T> = HashMap<Box<str>, T>;

/// Combinations of route, provider and model that get children of their own. A
/// pod calls some tens; the bound is for a config that changes for months.
const MAX_SERIES: usize = 2048;
/// The label of what has no name in the config.
pub const OTHER: &str = "other";
/// The label of what a call never came to.
pub const NONE: &str = "none";
/// Seconds. A cached prompt answers in tens of milliseconds, a reasoning model in minutes.
const FIRST_BYTE_BUCKETS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Seconds, up to the default of `timeouts.request`.
const DURATION_BUCKETS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
];
const CALL: [&str; 3] = ["route", "provider", "model"];

impl Metrics {
    /// Families at zero, with the build's version.
    pub fn new(version: &str) -> Self {
        let r = Registry::new();
        let build = opts("build_info", "1, with the version as a label");
        let build = add(
            &r,
            GaugeVec::new(build, &["version"]).expect("a valid name"),
        );
        build.with_label_values(&[version]).set(1.0);
        Self(Arc::new(Families {
            requests: labelled(
                &r,
                "requests_total",
                "Calls, by how they ended",
                &with("end"),
            ),
            attempts: labelled(
                &r,
                "attempts_total",
                "Tries at a target, by how they ended",
                &with("end"),
            ),
            retries: labelled(
                &r,
                "retries_total",
                "Further tries, by what the try before failed of, at the target that failed",
                &with("reason"),
            ),
            errors: labelled(
                &r,
                "errors_total",
                "Calls that the sidecar answered by itself, by code (docs/errors.md)",
                &["code"],
            ),
            first_byte: histogram(
                &r,
                "first_byte_seconds",
                "From a call's arrival to the first byte of its answer",
                &FIRST_BYTE_BUCKETS,
            ),
            duration: histogram(
                &r,
                "request_duration_seconds",
                "From a call's arrival to the end of its answer",
                &DURATION_BUCKETS,
            ),
            tokens: labelled(&r, "tokens_total", "Tokens by kind", &with("kind")),
            cost: CostFamily::register(&r),
            usage_estimated: labelled(
                &r,
                "usage_estimated_total",
                "Calls whose usage was not reported and was estimated",
                &CALL,
            ),
            usage_unpriced: labelled(
                &r,
                "usage_unpriced_total",
                "Calls with tokens whose price is unknown",
                &CALL,
            ),
            ejections: labelled(
                &r,
                "ejections_total",
                "Times that a model of a provider was left out for a while",
                &["provider", "model"],
            ),
            open_streams: gauge(&r, "open_streams", "Answers that are being relayed"),
            log_dropped: {
                let text = "Access log lines lost because they could not be written fast enough";
                let counter = IntCounter::with_opts(opts("access_log_dropped_total", text));
                add(&r, counter.expect("a valid name"))
            },
            config_version: {
                let text = "1, with the hash of the config that serves as a label";
                let vec = GaugeVec::new(opts("config_info", text), &["hash"]);
                add(&r, vec.expect("a valid name"))
            },
            config_age: {
                let text = "Seconds since the config last changed; -1 before the first";
                let age = Gauge::with_opts(opts("config_age_seconds", text));
                add(&r, age.expect("a valid name"))
            },
            control_plane_connected: gauge(
                &r,
                "control_plane_connected",
                "1 while a session with the operator is open",
            ),
            applied: Mutex::default(),
            series: Mutex::default(),
            made: std::sync::atomic::AtomicUsize::new(0),
            registry: r,
        }))
    }

    /// Adds a family of another room.
    pub fn register(&self, family: Box<dyn Collector>) {
        // A second one of that name would be a defect; the first goes on counting.
        let _ = self.0.registry.register(family);
    }

    /// A session with the operator opened or ended.
    pub fn control_plane_connected(&self, connected: bool) {
        self.0.control_plane_connected.set(connected.into());
    }

    /// The config changed: `hash` is that of the set that serves now.
    pub fn config_applied(&self, hash: &[u8], now: Instant) {
        let mut version = String::with_capacity(16);
        for byte in hash.iter().take(8) {
            let _ = write!(version, "{byte:02x}");
        }
        self.0.config_version.reset();
        self.0
            .config_version
            .with_label_values(&[&version])
            .set(1.0);
        *self.0.applied() = Some(now);
    }

    /// The families as text, in Prometheus' exposition format.
    pub fn render(&self) -> Vec<u8> {
        let age = (*self.0.applied()).map_or(-1.0, |at| at.elapsed().as_secs_f64());
        self.0.config_age.set(age);
        let mut text = Vec::with_capacity(16 * 1024);
        let _ = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        text
    }

    /// The children of one combination. `model` is one that the config names,
    /// else [`OTHER`].
    pub(crate) fn series(&self, route: &str, provider: &str, model: &str) -> Arc<Series> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut all = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all
            .get(route)
            .and_then(|of_route| of_route.get(provider))
            .and_then(|of_provider| of_provider.get(model));
        if let Some(series) = found {
            return series.clone();
        }
        let full = self.0.made.load(Relaxed) >= MAX_SERIES;
        let [route, provider, model] = if full {
            [OTHER; 3]
        } else {
            [route, provider, model]
        };
        self.0.made.fetch_add(1, Relaxed);
        let of_provider = all
            .entry(route.into())
            .or_default()
            .entry(provider.into())
            .or_default();
        of_provider
            .entry(model.into())
            .or_insert_with(|| Arc::new(Series::new(&self.0, [route, provider, model])))
            .clone()
    }

    /// A call that the sidecar answered by itself.
    pub(crate) fn error(&self, code: &str) {
        self.0.errors.with_label_values(&[code]).inc();
    }

    pub(crate) fn families(&self) -> &Families {
        &self.0
    }
}

impl Families {
    fn applied(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with(label: &'static str) -> [&'static str; 4] {
    [CALL[0], CALL[1], CALL[2], label]
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("llmroute_{name}"), help)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> C {
    registry
        .register(Box::new(family.clone()))
        .expect("each family has a name of its own");
    family
}

fn labelled(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let family = IntCounterVec::new(opts(name, help), labels).expect("valid names");
    add(registry, family)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    add(
        registry,
        IntGauge::with_opts(opts(name, help)).expect("a valid name"),
    )
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> HistogramVec {
    let options = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    add(
        registry,
        HistogramVec::new(options, &CALL).expect("valid names and buckets"),
    )
}
