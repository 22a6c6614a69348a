//! The composition root: settings in, an exit code out.
//!
//! Everything is made and tied together here and nowhere else; nothing is
//! decided here about routes, sidecars or statuses. The order of the start: ports
//! and signals, then the kinds (until they are served the process waits and says
//! so), then the caches, and only then the election, so that a replica that
//! knows nothing never leads. The order of the end is in `stop`.

mod stop;
mod tasks;

use std::net::SocketAddr;
use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::admin::{self, Readiness};
use crate::args::Args;
use crate::kinds::{self, KnownKind};
use crate::leader::{Ended, Role};
use crate::metrics::Metrics;
use crate::{kubernetes, log};
use stop::{End, Running, Signals};
use tasks::Parts;

/// Another process leads: the container restarts and stands by.
pub const EXIT_DEPOSED: u8 = 3;

/// More threads than these wait for the API server, not for a processor.
const MOST_THREADS: usize = 4;

/// Runs the operator to its end.
pub fn process(args: Args) -> ExitCode {
    if let Err(error) = log::start(&args.log_level, args.log_format) {
        // Nothing can be logged: the exit code has to say it.
        drop(error);
        return ExitCode::FAILURE;
    }
    log::panics();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(MOST_THREADS))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(args));
    runtime.shutdown_background();
    match ended {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Deposed) => ExitCode::from(EXIT_DEPOSED),
        Ok(End::Broken) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the operator can't start");
            ExitCode::FAILURE
        }
    }
}

/// Starts everything and stays until it ends.
async fn run(args: Args) -> anyhow::Result<End> {
    let signals = Signals::new().context("signals")?;
    let (metrics, readiness) = (Metrics::new(), Readiness::default());
    let admin_port = bind("admin", args.admin_listen).await?;
    let session_port = bind("session", args.session_listen).await?;
    readiness.reached("session port");
    let client = kubernetes::client(args.kubeconfig.as_deref(), args.kube_context.as_deref());
    let client = client.await.context("the way to the API server")?;
    let (parts, notes) = Parts::new(args, client.clone(), metrics.clone(), readiness.clone());
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(identity = parts.identity, version, "operator started");

    let mut running = Running::new(signals, readiness.clone());
    running.steady(
        "admin",
        admin::serve(admin_port, metrics, readiness.clone()),
    );
    parts.start_serving(&mut running, session_port, notes);
    let known = [
        KnownKind::new(&llmroute_crds::provider_crd()),
        KnownKind::new(&llmroute_crds::route_crd()),
    ];
    let served = kinds::wait(&client, &known, &readiness);
    if let Some(end) = running.while_waiting(served).await {
        return Ok(end);
    }
    let published = parts.start_watching(&mut running);
    if let Some(end) = running.while_waiting(published).await {
        return Ok(end);
    }
    parts.start_leading(&mut running);
    Ok(running.end_of_all().await)
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("the {name} port {address}"))
}
