//! The command line and the environment, read once and turned into settings.
//!
//! Everything that can be wrong with them is found here, before a port is
//! bound. This module decides nothing else and connects to nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand, ValueEnum};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tracing_subscriber::filter::Targets;

use crate::access_log::Destination;
use crate::session::Address;

/// The exit code of a wrong command line or environment (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Where metrics are served; the pod's IP stands in for the address if it is told.
const ADMIN_PORT: u16 = 15490;

/// Routes, meters and relays the LLM calls of one pod.
#[derive(Clone, Debug, Parser)]
#[command(name = "llmroute-sidecar", version, max_term_width = 100)]
#[command(subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where the operator's leader is reached.
    #[arg(
        long,
        env = "LLMROUTE_OPERATOR",
        value_name = "HOST:PORT",
        required = true
    )]
    #[arg(value_parser = Address::parse)]
    pub operator: Option<Address>,

    /// The token that says which pod this is, audience llmroute.dev; read at each connect.
    #[arg(long, env = "LLMROUTE_TOKEN_FILE", value_name = "FILE")]
    #[arg(default_value = "/var/run/llmroute/token/token")]
    pub token_file: PathBuf,

    /// The CA certificates that the operator is trusted by.
    #[arg(long, env = "LLMROUTE_CA_PEM", value_name = "PEM", required = true)]
    #[arg(hide_env_values = true, allow_hyphen_values = true, value_parser = certificates)]
    pub ca_pem: Option<String>,

    /// A folder in memory for the last good config.
    #[arg(long, env = "LLMROUTE_STATE_DIR", value_name = "DIR")]
    #[arg(default_value = "/var/run/llmroute/state")]
    pub state_dir: PathBuf,

    /// Whether credentials are kept in the state folder as well.
    #[arg(long, env = "LLMROUTE_CACHE_CREDENTIALS", value_name = "BOOL")]
    #[arg(default_value_t = true, action = ArgAction::Set)]
    pub cache_credentials: bool,

    /// Where the app calls.
    #[arg(
        long,
        env = "LLMROUTE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:15480"
    )]
    pub listen: SocketAddr,

    /// Where /metrics, /livez and /readyz are served; port 15490 of the pod's IP, else of 127.0.0.1.
    #[arg(long, env = "LLMROUTE_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,

    /// This pod's IP.
    #[arg(long, env = "LLMROUTE_POD_IP", value_name = "IP")]
    pub pod_ip: Option<IpAddr>,

    /// This pod's UID: part of the name of its counters.
    #[arg(long, env = "LLMROUTE_POD_UID", value_name = "UID", default_value = "")]
    pub pod_uid: String,

    /// Where /config, /log-level and /startup are served; loopback only.
    #[arg(
        long,
        env = "LLMROUTE_LOCAL_LISTEN",
        value_name = "ADDR",
        global = true
    )]
    #[arg(default_value = "127.0.0.1:15491", value_parser = loopback)]
    pub local_listen: SocketAddr,

    /// One JSON line a call, to this file or to `-` (standard output).
    #[arg(long, env = "LLMROUTE_ACCESS_LOG", value_name = "-|FILE")]
    pub access_log: Option<Destination>,

    /// How long open streams may go on after SIGTERM.
    #[arg(
        long,
        env = "LLMROUTE_DRAIN_SECONDS",
        value_name = "SECONDS",
        default_value_t = 20
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=3600))]
    pub drain_seconds: u16,

    /// error, warn, info, debug, trace, or directives such as `info,llmroute_sidecar::session=debug`.
    #[arg(
        long,
        env = "LLMROUTE_LOG_LEVEL",
        value_name = "FILTER",
        default_value = "info"
    )]
    #[arg(value_parser = log_level)]
    pub log_level: String,

    /// How log lines look.
    #[arg(
        long,
        env = "LLMROUTE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "json"
    )]
    pub log_format: LogFormat,

    /// Lets any host name lead to a loopback address: for tests and benchmarks.
    #[arg(long, env = "LLMROUTE_ALLOW_LOOPBACK_UPSTREAMS")]
    pub allow_loopback_upstreams: bool,
}

/// What to do instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Ask the sidecar of this container; exit code 0 means yes.
    Probe {
        /// Whether it is ready (config applied, not ending) instead of started.
        #[arg(long)]
        ready: bool,
    },
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
        Self::try_parse().and_then(Self::checked).map_err(|error| {
            // A closed standard error leaves nobody to tell.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_USAGE),
            }
        })
    }

    /// What no single argument shows.
    fn checked(self) -> Result<Self, clap::Error> {
        let ports = [self.listen, self.admin_listen(), self.local_listen];
        for (i, one) in ports.iter().enumerate() {
            if one.port() != 0 && ports[..i].contains(one) {
                let text = format!("{one} can't be listened on for two purposes\n");
                return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
            }
        }
        Ok(self)
    }

    /// Where /metrics, /livez and /readyz are served.
    pub fn admin_listen(&self) -> SocketAddr {
        self.admin_listen.unwrap_or_else(|| {
            let ip = self.pod_ip.unwrap_or(Ipv4Addr::LOCALHOST.into());
            SocketAddr::new(ip, ADMIN_PORT)
        })
    }

    /// How long open streams may go on after SIGTERM.
    pub fn drain_for(&self) -> Duration {
        Duration::from_secs(self.drain_seconds.into())
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write IP:PORT".to_owned())?;
    if address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err("must be a loopback address: what it shows is not for other pods".to_owned())
    }
}

fn certificates(text: &str) -> Result<String, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(text.to_owned()),
        _ => Err("holds no PEM certificate, or a malformed one".to_owned()),
    }
}

fn log_level(text: &str) -> Result<String, String> {
    match text.parse::<Targets>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of no key: only its form is looked at here.
    const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn parse(extra: &[&str]) -> Result<Args, clap::Error> {
        let needed = ["llmroute-sidecar", "--operator", "o:15443", "--ca-pem", CA];
        Args::try_parse_from(needed.iter().chain(extra)).and_then(Args::checked)
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_pods_ip_is_where_metrics_are_served_unless_an_address_is_told() {
        let admin = |extra: &[&str]| parse(extra).expect("parses").admin_listen().to_string();
        assert_eq!(admin(&[]), "127.0.0.1:15490");
        assert_eq!(admin(&["--pod-ip", "10.1.2.3"]), "10.1.2.3:15490");
        assert_eq!(admin(&["--pod-ip", "fd00::3"]), "[fd00::3]:15490");
        let both = ["--pod-ip", "10.1.2.3", "--admin-listen", "127.0.0.1:1"];
        assert_eq!(admin(&both), "127.0.0.1:1");
    }

    #[test]
    fn what_is_wrong_is_found_before_anything_starts() {
        for wrong in [
            ["--operator", "no-port"],
            ["--ca-pem", "not a certificate"],
            ["--cache-credentials", "maybe"],
            ["--listen", "15480"],
            ["--admin-listen", "127.0.0.1:15480"],
            ["--pod-ip", "pod"],
            ["--local-listen", "0.0.0.0:15491"],
            ["--drain-seconds", "forever"],
            ["--log-level", "x=y=z"],
            ["--log-format", "xml"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn serving_needs_an_operator_and_its_ca_and_a_probe_needs_neither() {
        let parse = |args: &[&str]| Args::try_parse_from(["llmroute-sidecar"].iter().chain(args));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--operator", "o:1"]).is_err());
        let probe = parse(&["probe", "--ready"]).expect("parses");
        assert_eq!(probe.command, Some(Command::Probe { ready: true }));
    }

    #[test]
    fn the_docs_list_every_option_with_its_variable() {
        let docs = include_str!("../../docs/sidecar.md");
        for option in Args::command().get_arguments() {
            let Some(flag) = option
                .get_long()
                .filter(|f| !["help", "version"].contains(f))
            else {
                continue;
            };
            let variable = option.get_env().expect("each has one").to_string_lossy();
            let row = format!("| `--{flag}` | `{variable}` |");
            assert!(docs.contains(&row), "{row} is missing");
        }
    }
}
