//! `llmroute-operator`: reads its arguments and runs.

use std::process::ExitCode;

use llmroute_operator::args::Args;
use llmroute_operator::run;

fn main() -> ExitCode {
    match Args::read() {
        Ok(args) => run::process(args),
        Err(code) => code,
    }
}
