//! `llmroute run`: operator and sidecar in one process, over a folder.
//!
//! The operator's part lives on a thread of its own (reading and checking
//! manifests must not hold up a call); the sidecar's engine has the main one,
//! as in its own binary. Between them is a channel, and nothing else is shared.

mod facts;
mod link;
mod objects;
mod plane;
mod start;
mod terminal;
mod watch;

use std::{collections::BTreeSet, fs, io, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use llmroute_operator::world::PodFacts;
use llmroute_sidecar::{
    access_log::AccessLog,
    admin::Surface,
    engine::{Engine, EngineOptions},
    server::{Drain, bind},
    table::Config,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    args::Run,
    manifests::{Environment, Folder, Problem, Schemas},
};
use link::{OperatorEnd, link};
use plane::Plane;
use terminal::Terminal;
use watch::Watch;

/// How long open calls may go on after the first Ctrl-C; the second ends them.
const DRAIN_FOR: Duration = Duration::from_secs(30);
/// Name look-ups are the only work that blocks.
const BLOCKING_THREADS: usize = 4;

/// The operator's part, all that its thread needs.
struct Operator {
    plane: Plane,
    watch_dir: std::path::PathBuf,
    end: OperatorEnd,
    terminal: Terminal,
    config: Config,
    listen: SocketAddr,
}

/// Serves until it is told to end.
pub(crate) fn run(args: Run, environment: Environment) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("no event loop")?;
    let served = runtime.block_on(serve(args, environment));
    // A name look-up that hangs must not keep the process.
    runtime.shutdown_background();
    served
}

async fn serve(args: Run, environment: Environment) -> Result<()> {
    let Run {
        dir,
        listen,
        admin,
        namespace,
        labels,
        access_log,
    } = args;
    let found = fs::metadata(&dir).with_context(|| format!("{}: no such folder", dir.display()))?;
    if !found.is_dir() {
        bail!(
            "{} is no folder: name the folder that it is in",
            dir.display()
        );
    }
    let terminal = match access_log.as_deref() {
        Some("-") => Terminal::Stderr,
        _ => Terminal::Stdout,
    };
    let data = take(listen, "--listen").await?;
    let public = take(admin, "--admin").await?;
    let engine = Engine::new(EngineOptions {
        allow_loopback: true,
        access_log: open(access_log.as_deref())?,
        drain_for: DRAIN_FOR,
        rng: fastrand::Rng::new(),
    });
    let (operator_end, sidecar_end) = link();
    let mut beside = JoinSet::new();
    beside.spawn(signals(engine.drain().clone(), terminal)?);
    beside.spawn(engine.admin(None).serve(public, Surface::Public));
    beside.spawn(sidecar_end.follow(engine.config().clone()));
    engine.metrics().control_plane_connected(true);
    let schemas = Schemas::new().context("a defect of this build")?;
    let operator = Operator {
        plane: Plane::new(
            Folder::new(&dir, namespace.clone(), environment, schemas),
            pod(namespace, labels),
        ),
        watch_dir: dir,
        end: operator_end,
        terminal,
        config: engine.config().clone(),
        listen: data
            .first()
            .and_then(|l| l.local_addr().ok())
            .unwrap_or(listen),
    };
    let operator = std::thread::Builder::new()
        .name("operator".to_owned())
        .spawn(|| operator.run());
    operator.context("no thread for the operator's part")?;
    // The first calls are to find the first config.
    let mut applied = engine.config().applied();
    let _ = tokio::time::timeout(Duration::from_secs(10), applied.wait_for(Option::is_some)).await;
    engine.serve(data).await;
    beside.shutdown().await;
    Ok(())
}

// ------------------------------------------------------------ impl Operator

impl Operator {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.follow()),
            Err(error) => self
                .terminal
                .line(&format!("manifests aren't read: no event loop: {error}")),
        }
    }

    /// Until the sidecar's part is gone.
    async fn follow(mut self) {
        let mut watch = Watch::new(&self.watch_dir);
        let mut problems = BTreeSet::new();
        if self.reload(&mut problems).await.is_none() {
            return;
        }
        self.terminal
            .line(&start::what_to_try(&self.config, self.listen));
        loop {
            tokio::select! {
                () = watch.changed() => if self.reload(&mut problems).await.is_none() {
                    return;
                },
                news = self.end.news() => match news {
                    Some(news) => {
                        self.plane.learned(news);
                        self.tell_statuses();
                    }
                    None => return,
                },
            }
        }
    }

    /// One reading of the folder, to its very end: pushed, answered, told.
    async fn reload(&mut self, problems: &mut BTreeSet<Problem>) -> Option<()> {
        let now = Timestamp::now();
        self.tell_problems(problems, now);
        if let Some(config) = self.plane.next_push() {
            let answers = self.end.push(config).await?;
            self.plane.answered(answers, now);
        }
        self.tell_statuses();
        Some(())
    }

    fn tell_problems(&mut self, problems: &mut BTreeSet<Problem>, now: Timestamp) {
        let before = std::mem::replace(problems, self.plane.reload(now).into_iter().collect());
        if problems.iter().any(Problem::is_of_the_folder) {
            // Its files weren't looked at: nothing is known to be mended.
            problems.extend(before.iter().filter(|old| !old.is_of_the_folder()).cloned());
        }
        for problem in problems.difference(&before) {
            self.terminal.problem(problem);
        }
        let same_place = |a: &Problem, b: &Problem| a.file == b.file && a.object == b.object;
        let mut mended: Vec<_> = before
            .iter()
            .filter(|old| !problems.iter().any(|new| same_place(old, new)))
            .collect();
        mended.dedup_by(|a, b| same_place(a, b));
        for problem in mended {
            self.terminal.mended(problem);
        }
    }

    fn tell_statuses(&mut self) {
        for change in self.plane.statuses(Timestamp::now()) {
            self.terminal.status(&change);
        }
    }
}

fn pod(namespace: String, labels: Vec<(String, String)>) -> PodFacts {
    let name = "llmroute-run".to_owned();
    PodFacts {
        workload: format!("Pod/{name}"),
        uid: name.clone(),
        namespace,
        name,
        labels: labels.into_iter().collect(),
        service_account: None,
        terminating: false,
        injected: true,
    }
}

async fn take(address: SocketAddr, option: &str) -> Result<Vec<TcpListener>> {
    bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use: end what listens there, or choose another address with {option}"
        ),
        _ => anyhow::Error::new(error).context(format!("can't listen on {address} ({option})")),
    })
}

fn open(access_log: Option<&str>) -> Result<AccessLog> {
    let Some(text) = access_log else {
        return Ok(AccessLog::default());
    };
    let Ok(destination) = text.parse();
    AccessLog::open(&destination).with_context(|| format!("the access log {text} can't be opened"))
}

/// The first Ctrl-C (or SIGTERM) lets open calls finish, a second one ends them.
fn signals(drain: Drain, terminal: Terminal) -> Result<impl Future<Output = ()> + Send + 'static> {
    let on = |kind| signal(kind).context("no signals");
    let mut ends = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        loop {
            either(&mut ends).await;
            if drain.has_begun() {
                drain.end();
            } else {
                drain.begin();
                terminal.line("ending: open calls may finish, another Ctrl-C ends them");
            }
        }
    })
}

async fn either((term, int): &mut (Signal, Signal)) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
