//! Where log lines go: standard error, one a line, with constant messages.
//!
//! Three may say how much is logged, and the nearest wins: whoever is at the
//! local admin port, then the operator for all sidecars, then the command line.
//! The libraries that see bytes of others (HTTP, TLS) never log more than
//! `info`: at `trace` some of them would print headers, and with them keys.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

use crate::args::LogFormat;

/// Crates that handle requests, tokens or keys as bytes.
const QUIET: [&str; 7] = [
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_rustls",
    "tonic",
    "tower",
];

/// How much is logged, and who said so. Cloned freely.
#[derive(Clone)]
pub struct LogSwitch(Arc<Switch>);

struct Switch {
    filter: reload::Handle<Targets, Registry>,
    wishes: Mutex<Wishes>,
}

/// The nearest that is set wins.
struct Wishes {
    local: Option<Box<str>>,
    operator: Option<Box<str>>,
    own: Box<str>,
}

/// Not a filter of log lines.
#[derive(Debug, thiserror::Error)]
#[error("not a level (error, warn, info, debug, trace) nor a list of target=level")]
pub struct NotAFilter;

/// Starts logging for the process; once.
pub fn start(own: &str, format: LogFormat) -> Result<LogSwitch, TryInitError> {
    let (layer, filter) = reload::Layer::new(targets(own).unwrap_or_default());
    let registry = tracing_subscriber::registry().with(layer);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
        LogFormat::Text => registry.with(lines).try_init()?,
    }
    Ok(LogSwitch::new(own, filter))
}

// ---------------------------------------------------------------- impl LogSwitch

impl LogSwitch {
    fn new(own: &str, filter: reload::Handle<Targets, Registry>) -> Self {
        Self(Arc::new(Switch {
            filter,
            wishes: Mutex::new(Wishes {
                local: None,
                operator: None,
                own: own.into(),
            }),
        }))
    }

    /// The filter that holds now.
    pub fn now(&self) -> Box<str> {
        self.wish(|_| ())
    }

    /// A wish from the local admin port; `None` takes it back.
    pub fn set_local(&self, filter: Option<&str>) -> Result<(), NotAFilter> {
        filter.map(targets).transpose()?;
        self.wish(|wishes| wishes.local = filter.map(Into::into));
        Ok(())
    }

    /// The operator's wish for all sidecars; the table has checked it.
    pub fn set_operator(&self, filter: Option<&str>) {
        self.wish(|wishes| wishes.operator = filter.map(Into::into));
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) -> Box<str> {
        let wishes = self.0.wishes.lock();
        let mut wishes = wishes.unwrap_or_else(PoisonError::into_inner);
        change(&mut wishes);
        let nearest = wishes.nearest();
        if let Ok(filter) = targets(nearest) {
            // An error says that no subscriber is left to filter for.
            let _ = self.0.filter.reload(filter);
        }
        nearest.into()
    }
}

impl Wishes {
    fn nearest(&self) -> &str {
        let nearest = self.local.as_deref().or(self.operator.as_deref());
        nearest.unwrap_or(&self.own)
    }
}

fn targets(filter: &str) -> Result<Targets, NotAFilter> {
    let wished: Targets = filter.parse().map_err(|_| NotAFilter)?;
    let most = wished.default_level().unwrap_or(LevelFilter::OFF);
    let quiet = QUIET.map(|name| (name.to_owned(), most.min(LevelFilter::INFO)));
    let wished = wished.into_iter().map(|(target, level)| {
        let crate_name = target.split("::").next().unwrap_or_default();
        let most = match QUIET.iter().find(|name| **name == crate_name) {
            Some(_) => LevelFilter::INFO,
            None => LevelFilter::TRACE,
        };
        (target, level.min(most))
    });
    // Of two for one target the later holds.
    let all = quiet.into_iter().chain(wished);
    Ok(all.collect::<Targets>().with_default(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_library_that_sees_keys_stays_quiet_at_trace() {
        let all = targets("trace,h2=trace,hyper::proto=trace").expect("a filter");
        assert!(all.would_enable("llmroute_sidecar::table", &Level::TRACE));
        assert!(all.would_enable("h2", &Level::INFO));
        assert!(!all.would_enable("h2", &Level::DEBUG));
        assert!(!all.would_enable("hyper::proto", &Level::DEBUG));
        let few = targets("error").expect("a filter");
        assert!(!few.would_enable("h2", &Level::INFO));
    }

    impl LogSwitch {
        /// One that filters nothing, for tests: a process has one subscriber.
        pub(crate) fn unused(own: &str) -> Self {
            Self::new(own, reload::Layer::new(Targets::new()).1)
        }
    }

    #[test]
    fn the_nearest_wish_holds_and_can_be_taken_back() {
        let switch = LogSwitch::unused("info");
        switch.set_operator(Some("warn"));
        assert_eq!(&*switch.now(), "warn");
        switch.set_local(Some("debug")).expect("a filter");
        switch.set_operator(None);
        assert_eq!(&*switch.now(), "debug");
        assert!(switch.set_local(Some("a=b=c")).is_err());
        assert_eq!(&*switch.now(), "debug");
        switch.set_local(None).expect("none is fine");
        assert_eq!(&*switch.now(), "info");
    }
}
