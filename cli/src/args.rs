//! What can be said on the command line of `llmroute`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

/// LLM routing declared as Kubernetes objects.
#[derive(Parser)]
#[command(name = "llmroute", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve the manifests of a folder: operator and sidecar in one process, no cluster.
    Run(Run),
}

/// Serve the manifests of a folder: operator and sidecar in one process, no cluster.
///
/// The folder is watched: an edit takes effect with the next call, a broken one
/// keeps the last good state and is told on the terminal. Values of a Secret may
/// be ${NAME}, read from the environment.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Folder of manifests: LLMProvider, LLMRoute, Secret, ConfigMap, Namespace.
    /// Its subfolders are not read.
    pub(crate) dir: PathBuf,
    /// Where the app calls.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15480")]
    pub(crate) listen: SocketAddr,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:15490")]
    pub(crate) admin: SocketAddr,
    /// The namespace of manifests that name none, and of the workload that calls.
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Labels of the workload that calls, as a route's workloadSelector sees them.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// One JSON line a call, to this file or to `-` (standard output).
    #[arg(long, value_name = "-|FILE")]
    pub(crate) access_log: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.is_empty() || key.len() > 317 || value.len() > 63 {
        return Err("a label's key has 1 to 317 characters, its value at most 63".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}
