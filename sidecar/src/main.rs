//! The sidecar's process: the library does the rest.

use std::process::ExitCode;

use llmroute_sidecar::args::Args;
use llmroute_sidecar::run::run;

fn main() -> ExitCode {
    match Args::read() {
        Ok(args) => run(args),
        Err(code) => code,
    }
}
