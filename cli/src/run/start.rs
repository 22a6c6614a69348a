//! What is printed once everything stands: where it listens and what to try.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use llmroute_sidecar::table::{Config, Found};

/// Asked for where any model will do: it is what the README's example asks for.
const USUAL: &str = "gpt-4o-mini";

/// The address, a `curl` line and the SDK's variables.
pub(super) fn what_to_try(config: &Config, listen: SocketAddr) -> String {
    let at = format!("http://{}", reachable(listen));
    let table = config.table();
    let model = match table.find(USUAL, &HeaderMap::default()) {
        Found::Rule(_) => USUAL.into(),
        _ => table
            .models()
            .into_iter()
            .next()
            .unwrap_or_else(|| USUAL.into()),
    };
    format!(
        "
serving on {at}

  curl -i {at}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"hello\"}}]}}'

or with any OpenAI SDK:

  export OPENAI_BASE_URL={at}/v1 OPENAI_API_KEY=llmroute-placeholder

Edit a manifest: the next call follows. Ctrl-C ends.
"
    )
}

/// Nobody can call 0.0.0.0.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], listen.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], listen.port()))
        }
        _ => listen,
    }
}
