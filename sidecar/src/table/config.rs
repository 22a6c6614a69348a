//! The config of the moment, and the one way to change it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use llmroute_protocol as proto;
use llmroute_protocol::{Held, Key, Resource, ResourceRef, set_hash};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing_subscriber::filter::Targets;

use super::Table;
use super::dump::dump;
use super::entries::{Entries, Good, Surroundings};
use super::refusal::{Refusal, Verdict};
use crate::upstream::Upstreams;

/// The config of the moment; clones share it.
#[derive(Clone)]
pub struct Config(Arc<Shared>);

struct Shared {
    table: ArcSwap<Table>,
    entries: Mutex<Entries>,
    upstreams: Arc<Upstreams>,
    applied: watch::Sender<Option<Applied>>,
    global: watch::Sender<GlobalSettings>,
    credential_news: watch::Sender<()>,
}

/// What the operator sends.
#[derive(Clone, Debug)]
pub enum Change {
    /// All of it: what isn't in it is gone.
    Snapshot {
        /// New or changed.
        resources: Vec<Resource>,
        /// Held already.
        unchanged: Vec<Held>,
    },
    /// What changed.
    Delta {
        /// New or changed.
        upserts: Vec<Resource>,
        /// Gone.
        removed: Vec<ResourceRef>,
    },
}

/// The last change.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Changes so far.
    pub count: u64,
    /// When.
    pub at: Instant,
    /// `set_hash` of what serves.
    pub hash: Bytes,
}

/// What concerns every sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalSettings {
    /// A filter of log lines; `None`: the sidecar's own.
    pub log_level: Option<Box<str>>,
    /// Trusted CAs of the session, PEM; empty: none but the sidecar's own.
    pub ca_bundle_pem: Box<str>,
}

// ---------------------------------------------------------------- impl Config

impl Config {
    /// No config yet. Its providers keep their connections in `upstreams`.
    pub fn new(upstreams: Arc<Upstreams>) -> Self {
        Self(Arc::new(Shared {
            table: ArcSwap::default(),
            entries: Mutex::default(),
            upstreams,
            applied: watch::Sender::new(None),
            global: watch::Sender::new(GlobalSettings::default()),
            credential_news: watch::Sender::new(()),
        }))
    }

    /// The table of this moment: one load a request.
    pub fn table(&self) -> Arc<Table> {
        self.0.table.load_full()
    }

    /// Checks each resource, makes the new table and puts it in the place of
    /// the old one. Says of each resource what became of it, in the order in
    /// which they came. Requests under way finish on the old table.
    pub fn apply(&self, change: Change) -> Vec<proto::Result> {
        let shared = &*self.0;
        let mut entries = self.entries();
        let around = Surroundings {
            upstreams: &shared.upstreams,
            credential_news: &shared.credential_news,
        };
        let mut told = Vec::new();
        let upserts = match change {
            Change::Snapshot {
                resources,
                unchanged,
            } => {
                let named = resources.iter().map(|r| (r.kind, &*r.name));
                let named = named.chain(unchanged.iter().map(|h| (h.kind, &*h.name)));
                let named: HashSet<_> = named.collect();
                entries.retain(|key| named.contains(&(key.kind.into(), &*key.name)));
                let lacking = unchanged.into_iter().filter(|held| !entries.keep(held));
                told.extend(lacking.map(Told::NotHeld));
                resources
            }
            Change::Delta { upserts, removed } => {
                for resource in &removed {
                    entries.remove(resource);
                }
                upserts
            }
        };
        for resource in &upserts {
            told.push(Told::put(&mut entries, resource, &around));
        }
        // Before the swap: no call may find a new provider without its key.
        entries.link_credentials();
        let first = shared.applied.borrow().is_none();
        let mut passed_over = HashMap::new();
        if entries.take_changed() || first {
            let (table, warnings) = entries.table();
            shared.table.store(Arc::new(table));
            passed_over = warnings;
        }
        shared.tell(&entries);
        told.into_iter()
            .map(|told| told.result(&entries, &passed_over))
            .collect()
    }

    /// The last good versions: what serves.
    pub fn held(&self) -> Vec<Held> {
        let held = |(key, good): (&Key, &Good)| Held {
            kind: key.kind.into(),
            name: key.name.clone(),
            version: good.resource.version.clone(),
        };
        self.entries().good().map(held).collect()
    }

    /// The last good resources, for the cache. Credentials are among them.
    pub fn resources(&self) -> Vec<Resource> {
        let entries = self.entries();
        entries.good().map(|(_, g)| g.resource.clone()).collect()
    }

    /// `set_hash` of what was last sent, good or bad: what the operator's hash
    /// of the whole must be equal to.
    pub fn wanted_hash(&self) -> Bytes {
        set_hash(self.entries().iter().map(|(key, e)| (key, e.sent.as_str())))
    }

    /// The last change; `None` before the first.
    pub fn applied(&self) -> watch::Receiver<Option<Applied>> {
        self.0.applied.subscribe()
    }

    /// What concerns every sidecar.
    pub fn global(&self) -> watch::Receiver<GlobalSettings> {
        self.0.global.subscribe()
    }

    /// What providers said to the credentials of the moment.
    pub fn credential_states(&self) -> Vec<proto::CredentialState> {
        self.entries().credential_states()
    }

    /// Changes when [`Self::credential_states`] has something to tell.
    pub fn credential_news(&self) -> watch::Receiver<()> {
        self.0.credential_news.subscribe()
    }

    /// All of it as JSON, for people; no secret is in it.
    pub fn dump(&self) -> serde_json::Value {
        let applied = self.0.applied.borrow().clone();
        let table = self.table();
        dump(&self.entries(), &table, applied.as_ref(), Instant::now())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        let entries = self.0.entries.lock();
        // A panic within `apply` would leave a whole list, if not a new one.
        entries.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn tell(&self, entries: &Entries) {
        let global = entries.global();
        self.global
            .send_if_modified(|old| std::mem::replace(old, global.clone()) != global);
        let serving = entries
            .good()
            .map(|(k, g)| (k, g.resource.version.as_str()));
        let hash = set_hash(serving);
        self.applied.send_modify(|applied| {
            *applied = Some(Applied {
                count: applied.as_ref().map_or(0, |a| a.count) + 1,
                at: Instant::now(),
                hash,
            });
        });
    }
}

// ---------------------------------------------------------------- impl GlobalSettings

impl GlobalSettings {
    pub(super) fn compile(message: &proto::Global) -> Result<Self, Refusal> {
        let proto::Global {
            log_level,
            ca_bundle_pem,
        } = message;
        let readable = CertificateDer::pem_slice_iter(ca_bundle_pem.as_bytes());
        let certificates: Result<Vec<_>, _> = readable.collect();
        let text = "holds no certificate, or a malformed one";
        if !ca_bundle_pem.is_empty() && certificates.map_or(true, |all| all.is_empty()) {
            return Err(Refusal::new("ca_bundle_pem", text));
        }
        if !log_level.is_empty() && log_level.parse::<Targets>().is_err() {
            return Err(Refusal::new("log_level", "not a filter of log lines"));
        }
        Ok(Self {
            log_level: (!log_level.is_empty()).then(|| log_level.as_str().into()),
            ca_bundle_pem: ca_bundle_pem.as_str().into(),
        })
    }
}

// ---------------------------------------------------------------- Told

/// Which resource an ack speaks of, until all of the change was judged.
enum Told {
    Judged { key: Key, version: String },
    UnknownKind(Resource),
    NotHeld(Held),
}

impl Told {
    fn put(entries: &mut Entries, resource: &Resource, around: &Surroundings<'_>) -> Self {
        match entries.put(resource, around) {
            Some(key) => Self::Judged {
                key,
                version: resource.version.clone(),
            },
            None => Self::UnknownKind(Resource {
                body: Bytes::new(),
                ..resource.clone()
            }),
        }
    }

    fn result(self, entries: &Entries, passed_over: &HashMap<Key, Vec<Refusal>>) -> proto::Result {
        let (kind, name, version, verdict) = match self {
            Self::Judged { key, version } => {
                let verdict = entries.get(&key).map(|e| e.verdict.clone());
                let warnings = passed_over.get(&key).cloned().unwrap_or_default();
                let verdict = verdict.unwrap_or_default().with(warnings);
                (key.kind.into(), key.name, version, verdict)
            }
            Self::UnknownKind(resource) => {
                let text = format!("this sidecar doesn't know kind {}", resource.kind);
                let verdict = Verdict::taken(vec![Refusal::new("", text)]);
                (resource.kind, resource.name, resource.version, verdict)
            }
            Self::NotHeld(held) => {
                let verdict = Verdict::refused(Refusal::new("", "this version is not held"));
                (held.kind, held.name, held.version, verdict)
            }
        };
        let (outcome, path, message) = verdict.said();
        proto::Result {
            kind,
            name,
            version,
            outcome: outcome.into(),
            path,
            message,
        }
    }
}
