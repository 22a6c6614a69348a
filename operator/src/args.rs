//! The command line and the environment, read once and turned into settings.
//!
//! Everything that can be wrong with them is found here, before a port is
//! bound or the API server is asked. This module decides nothing else and
//! connects to nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

/// The exit code of a wrong command line or environment (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Watches LLMProvider and LLMRoute and pushes config to the sidecars.
#[derive(Clone, Debug, Parser)]
#[command(name = "llmroute-operator", version)]
pub struct Args {
    /// The operator's own namespace: Lease, epoch and certificates live here.
    #[arg(long, env = "LLMROUTE_NAMESPACE", default_value = "llmroute-system", value_parser = dns_label)]
    pub namespace: String,

    /// This pod, for the leader label and the Lease; unset outside a cluster.
    #[arg(long, env = "LLMROUTE_POD_NAME", value_parser = dns_name)]
    pub pod_name: Option<String>,

    /// Where sidecars connect.
    #[arg(long, env = "LLMROUTE_SESSION_LISTEN", default_value = "0.0.0.0:15443")]
    pub session_listen: SocketAddr,

    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, env = "LLMROUTE_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,

    /// A kubeconfig file; without it KUBECONFIG, then the pod's own service account.
    #[arg(long, env = "LLMROUTE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; without it the current one.
    #[arg(long, env = "LLMROUTE_KUBE_CONTEXT", requires = "kubeconfig")]
    pub kube_context: Option<String>,

    /// The DNS domain of the cluster, for the names in the session certificate.
    #[arg(long, env = "LLMROUTE_CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = dns_name)]
    pub cluster_domain: String,

    /// Further DNS names or IP addresses in the session certificate.
    #[arg(long = "session-san", env = "LLMROUTE_SESSION_SANS", value_delimiter = ',', value_parser = san)]
    pub session_sans: Vec<String>,

    /// Lets providers point at loopback addresses: for tests and benchmarks.
    #[arg(long, env = "LLMROUTE_ALLOW_LOOPBACK_UPSTREAMS")]
    pub allow_loopback_upstreams: bool,

    /// error, warn, info, debug, trace, or directives such as `info,llmroute_operator::session=debug`.
    #[arg(long, env = "LLMROUTE_LOG_LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: String,

    /// How log lines look.
    #[arg(long, env = "LLMROUTE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

// ---------------------------------------------------------------- impl Args

impl Args {
    /// The process's own arguments. `Err` is the exit code after what there
    /// was to say has been said: 0 after `--help`, 64 after a mistake.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // A closed standard error leaves nobody to tell.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_USAGE),
            }
        })
    }

    /// Every name under which sidecars may reach the session port.
    pub fn session_names(&self) -> Vec<String> {
        let (service, namespace, domain) =
            ("llmroute-session", &self.namespace, &self.cluster_domain);
        let own = [
            service.to_owned(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{domain}"),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let mut names: Vec<_> = own
            .into_iter()
            .chain(self.session_sans.iter().cloned())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn dns_label(text: &str) -> Result<String, String> {
    if text.len() <= 63 && is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("not a DNS label: at most 63 of a-z, 0-9 and -, no - at an end".to_owned())
    }
}

fn dns_name(text: &str) -> Result<String, String> {
    if text.len() <= 253
        && text
            .split('.')
            .all(|part| part.len() <= 63 && is_label(part))
    {
        Ok(text.to_owned())
    } else {
        Err("not a DNS name: labels of a-z, 0-9 and -, joined by dots".to_owned())
    }
}

fn san(text: &str) -> Result<String, String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => dns_name(text).map_err(|_| "neither a DNS name nor an IP address".to_owned()),
    }
}

fn log_level(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["llmroute-operator"].iter().chain(extra))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn the_certificate_names_the_service_in_every_form_and_the_extra_names() {
        let args = parse(&["--session-san", "operator.test,::1"]).expect("parses");
        let names = args.session_names();
        for name in [
            "llmroute-session",
            "llmroute-session.llmroute-system",
            "llmroute-session.llmroute-system.svc",
            "llmroute-session.llmroute-system.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            "operator.test",
            "::1",
        ] {
            assert!(
                names.iter().any(|n| n == name),
                "{name} is not in {names:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_found_before_anything_starts() {
        for wrong in [
            ["--namespace", "Not_A_Label"],
            ["--pod-name", "-x"],
            ["--session-listen", "15443"],
            ["--session-san", "a b"],
            ["--log-level", "x=y=z"],
            ["--log-format", "xml"],
            ["--kube-context", "alone"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
