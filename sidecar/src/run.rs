//! The sidecar as a process: ports, signals, session, cache around one engine.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use fastrand::Rng;
use llmroute_protocol::{Incarnation, Outcome};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::access_log::AccessLog;
use crate::admin::Surface;
use crate::args::{Args, Command, EXIT_USAGE};
use crate::cache::Cache;
use crate::engine::{Engine, EngineOptions};
use crate::log::LogSwitch;
use crate::server::{Drain, bind};
use crate::session::{Link, Session, SessionOptions};
use crate::table::{Change, Config};
use crate::{log, probe, process, watchdog};

/// Name look-ups are the only work that blocks.
const BLOCKING_THREADS: usize = 4;

/// Does what `args` say; the exit code of the process.
pub fn run(args: Args) -> ExitCode {
    if let Some(Command::Probe { ready }) = args.command {
        return probe::run(args.local_listen, ready);
    }
    let Ok(switch) = log::start(&args.log_level, args.log_format) else {
        // Somebody has installed another log: nothing can be said here.
        return ExitCode::FAILURE;
    };
    process::harden();
    let access_log = match args.access_log.as_ref().map(AccessLog::open).transpose() {
        Ok(log) => log.unwrap_or_default(),
        Err(error) => {
            tracing::error!(%error, "the access log can't be opened");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    // One thread: another would cost each request two wake-ups between the two.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no event loop");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(serve(args, switch, access_log));
    // A name look-up that hangs must not keep the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the sidecar can't serve");
            ExitCode::FAILURE
        }
    }
}

/// What is listened on.
struct Ports {
    calls: Vec<TcpListener>,
    public: Vec<TcpListener>,
    local: Vec<TcpListener>,
}

impl Ports {
    async fn open(args: &Args) -> anyhow::Result<Self> {
        let of = |what| format!("no port for {what}");
        let ports = Self {
            calls: bind(args.listen).await.with_context(|| of("calls"))?,
            public: bind(args.admin_listen())
                .await
                .with_context(|| of("metrics"))?,
            local: bind(args.local_listen)
                .await
                .with_context(|| of("/config"))?,
        };
        let address = |of: &[TcpListener]| of.first().and_then(|l| l.local_addr().ok());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = address(&ports.calls).map(tracing::field::display),
            admin = address(&ports.public).map(tracing::field::display),
            local = address(&ports.local).map(tracing::field::display),
            "listening"
        );
        Ok(ports)
    }
}

async fn serve(args: Args, switch: LogSwitch, access_log: AccessLog) -> anyhow::Result<()> {
    // Before anybody can know that it listens: a signal must not meet the default, sudden death.
    let signals = Signals::new()?;
    let ports = Ports::open(&args).await?;
    let mut rng = Rng::new();
    let engine = Engine::new(EngineOptions {
        allow_loopback: args.allow_loopback_upstreams,
        access_log: access_log.clone(),
        drain_for: args.drain_for(),
        rng: rng.fork(),
    });
    let mut beside = JoinSet::new();
    beside.spawn(signals.follow(engine.drain().clone(), access_log));
    watchdog::start().context("no watchdog")?;
    let cache = Arc::new(Cache::new(
        Some(args.state_dir.clone()),
        args.cache_credentials,
    ));
    let epoch = remember(&cache, engine.config());
    let admin = engine.admin(Some(switch.clone()));
    let Ports {
        calls,
        public,
        local,
    } = ports;
    beside.spawn(admin.clone().serve(public, Surface::Public));
    beside.spawn(admin.serve(local, Surface::Local));
    beside.spawn(follow_log_level(engine.config().clone(), switch));
    if let Some(session) = session(args, &engine, cache, &mut rng, epoch) {
        let (mut link, metrics) = (session.link(), engine.metrics().clone());
        beside.spawn(async move {
            while link.changed().await.is_ok() {
                let connected = matches!(*link.borrow(), Link::Connected { .. });
                metrics.control_plane_connected(connected);
            }
        });
        beside.spawn(session.run());
    }
    engine.serve(calls).await;
    tracing::info!("drained");
    beside.shutdown().await;
    Ok(())
}

/// Applies what an earlier life left; the highest epoch that it followed.
fn remember(cache: &Cache, config: &Config) -> u64 {
    let remembered = cache.load();
    if remembered.resources.is_empty() {
        return remembered.epoch;
    }
    let results = config.apply(Change::Snapshot {
        resources: remembered.resources,
        unchanged: Vec::new(),
    });
    let refused = results.iter().filter(|r| r.outcome() == Outcome::Error);
    let (resources, refused) = (results.len(), refused.count());
    tracing::info!(resources, refused, "serving the cached config");
    remembered.epoch
}

fn session(
    args: Args,
    engine: &Engine,
    cache: Arc<Cache>,
    rng: &mut Rng,
    epoch: u64,
) -> Option<Session> {
    let born = SystemTime::now().duration_since(UNIX_EPOCH);
    let incarnation = Incarnation {
        pod_uid: args.pod_uid,
        born_unix_ms: born.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        random: rng.u64(..),
    };
    let options = SessionOptions {
        operator: args.operator?,
        token_file: args.token_file,
        ca_pem: args.ca_pem?,
    };
    let config = engine.config().clone();
    Some(Session::new(options, config, cache, incarnation, epoch))
}

async fn follow_log_level(config: Config, switch: LogSwitch) {
    let mut global = config.global();
    loop {
        let wished = global.borrow_and_update().log_level.clone();
        switch.set_operator(wished.as_deref());
        if global.changed().await.is_err() {
            return;
        }
    }
}

/// What is asked of the process from outside.
struct Signals {
    ends: (Signal, Signal),
    hup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("no signals");
        Ok(Self {
            ends: (on(SignalKind::terminate())?, on(SignalKind::interrupt())?),
            hup: on(SignalKind::hangup())?,
        })
    }

    /// The first SIGTERM or SIGINT begins the end, a second one doesn't wait. SIGHUP
    /// opens the access log anew, after it was rotated.
    async fn follow(mut self, drain: Drain, access_log: AccessLog) {
        loop {
            tokio::select! {
                () = either(&mut self.ends) => if drain.has_begun() {
                    drain.end();
                } else {
                    tracing::info!("ending: open streams may finish");
                    drain.begin();
                },
                _ = self.hup.recv() => access_log.reopen(),
            }
        }
    }
}

async fn either((term, int): &mut (Signal, Signal)) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
