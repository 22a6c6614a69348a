//! Where log lines go: standard error, one a line, with constant messages.
//!
//! The libraries that see bytes of others (HTTP, TLS, the API client) are held
//! at `info` whatever the level: at `trace` some of them would print headers,
//! and with them tokens.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::args::LogFormat;

/// Crates that handle requests, tokens or Secrets as bytes.
const QUIET: [&str; 9] = [
    "h2",
    "hyper",
    "hyper_util",
    "kube",
    "kube_client",
    "kube_runtime",
    "rustls",
    "tonic",
    "tower",
];

/// Says in its own words, as an error, what the caller says better.
const SILENT: &str = "kube_client::client::builder=off";

/// Starts logging for the process; once.
pub fn start(level: &str, format: LogFormat) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry().with(filter(level));
    match format {
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr))
            .try_init(),
    }
}

/// A panic is one log line like any other, with its place; the message is
/// always a constant of ours or of a library, as no secret has a `Debug`.
pub fn panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panic");
    }));
}

fn filter(level: &str) -> EnvFilter {
    let quiet = QUIET.iter().map(|name| format!("{name}=info"));
    let quiet = quiet.chain([SILENT.to_owned()]).map(|directive| {
        let parsed = directive.parse();
        parsed.expect("a crate name and a level are a directive")
    });
    quiet.fold(EnvFilter::new(level), EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_sees_tokens_stays_quiet_at_trace() {
        let text = filter("trace,h2=trace").to_string();
        assert!(text.contains("h2=info"), "{text}");
        assert!(!text.contains("h2=trace"), "{text}");
    }
}
