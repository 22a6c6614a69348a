//! The command line: parse, then hand over.

mod args;
mod manifests;
mod run;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    // What people are to read is printed; this is for what went wrong beneath.
    let filter =
        EnvFilter::try_from_env("LLMROUTE_LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if log.try_init().is_err() {
        return ExitCode::FAILURE;
    }
    let done = match command {
        Command::Run(args) => run::run(args, environment()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What isn't UTF-8 is no key that a provider takes.
fn environment() -> manifests::Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
