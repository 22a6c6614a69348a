//! What the operator sent, resource by resource, and what became of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use llmroute_protocol as proto;
use llmroute_protocol::{Body, Held, Key, Kind, Resource, ResourceRef};
use prost::Message;
use tokio::sync::watch;

use super::credential::{Secret, wiped};
use super::matching::{Destination, MatchSpec};
use super::provider::Provider;
use super::refusal::{Refusal, Verdict};
use super::route::RouteInfo;
use super::route::compile::RouteSpec;
use super::{GlobalSettings, Table};
use crate::upstream::Upstreams;

/// All of it, in the order of the names.
#[derive(Default)]
pub(super) struct Entries {
    entries: BTreeMap<Key, Entry>,
    /// A route or a provider changed: the table must be made anew.
    changed: bool,
}

/// One resource.
pub(super) struct Entry {
    /// The version last sent, good or bad.
    pub(super) sent: String,
    pub(super) verdict: Verdict,
    pub(super) good: Option<Good>,
    /// Set where a route never had a good version.
    poison: Option<Poison>,
}

/// The last good version.
pub(super) struct Good {
    pub(super) resource: Resource,
    pub(super) content: Content,
}

/// What it says, compiled.
pub(super) enum Content {
    Route(RouteSpec),
    Provider(Arc<Provider>),
    Credential(Secret),
    Global(GlobalSettings),
}

/// What of a refused route must answer with an error.
struct Poison {
    route: Arc<RouteInfo>,
    /// The matches rule by rule; `None`: not even those can be read.
    rules: Option<Vec<Box<[MatchSpec]>>>,
}

/// The members of a route that its matches need. A body that is spoilt
/// elsewhere still says which calls it was about.
#[derive(Clone, PartialEq, Message)]
struct RouteMatches {
    #[prost(int64, tag = "3")]
    generation: i64,
    #[prost(int64, tag = "4")]
    created_unix_ms: i64,
    #[prost(message, repeated, tag = "5")]
    rules: Vec<RuleMatches>,
}

#[derive(Clone, PartialEq, Message)]
struct RuleMatches {
    #[prost(message, repeated, tag = "2")]
    matches: Vec<proto::Match>,
}

/// What compiling a resource may look at.
pub(super) struct Surroundings<'a> {
    pub(super) upstreams: &'a Upstreams,
    pub(super) credential_news: &'a watch::Sender<()>,
}

// ---------------------------------------------------------------- impl Entries

impl Entries {
    /// Takes one resource. `None`: its kind is a newer operator's.
    pub(super) fn put(&mut self, resource: &Resource, around: &Surroundings<'_>) -> Option<Key> {
        let kind = Kind::try_from(resource.kind)
            .ok()
            .filter(|k| *k != Kind::Unspecified)?;
        let key = Key::new(kind, resource.name.clone());
        let previous = self.entries.remove(&key);
        let entry = match previous {
            Some(same) if same.is(resource) => same,
            previous => {
                self.changed |= makes_table(&key);
                Entry::new(&key, resource, previous, around)
            }
        };
        self.entries.insert(key.clone(), entry);
        Some(key)
    }

    /// A resource that the operator believes is held. False where it isn't.
    pub(super) fn keep(&mut self, held: &Held) -> bool {
        let Some(entry) = self.entries.get_mut(&Key::from(held)) else {
            return false;
        };
        let good = entry
            .good
            .as_ref()
            .is_some_and(|g| g.resource.version == held.version);
        if good && entry.sent != held.version {
            // The refused version in between is taken back.
            entry.sent.clone_from(&held.version);
            entry.verdict = Verdict::default();
        }
        good
    }

    pub(super) fn remove(&mut self, resource: &ResourceRef) {
        let key = Key::new(resource.kind(), resource.name.clone());
        self.changed |= self.entries.remove(&key).is_some() && makes_table(&key);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        let changed = &mut self.changed;
        self.entries.retain(|key, _| {
            *changed |= !keep(key) && makes_table(key);
            keep(key)
        });
    }

    /// True once after a route or a provider changed.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The last good versions.
    pub(super) fn good(&self) -> impl Iterator<Item = (&Key, &Good)> {
        self.entries
            .iter()
            .filter_map(|(key, entry)| Some((key, entry.good.as_ref()?)))
    }

    fn secret(&self, provider: &str) -> Option<&Secret> {
        let key = Key::new(Kind::Credential, provider);
        match &self.entries.get(&key)?.good.as_ref()?.content {
            Content::Credential(secret) => Some(secret),
            _ => None,
        }
    }

    pub(super) fn global(&self) -> GlobalSettings {
        let mut global = self.good().filter_map(|(_, good)| match &good.content {
            Content::Global(global) => Some(global.clone()),
            _ => None,
        });
        global.next().unwrap_or_default()
    }

    /// Gives each provider the credential of the moment.
    pub(super) fn link_credentials(&self) {
        for (key, good) in self.good() {
            if let Content::Provider(provider) = &good.content {
                provider.link(self.secret(&key.name));
            }
        }
    }

    /// What the credentials of the moment met with.
    pub(super) fn credential_states(&self) -> Vec<proto::CredentialState> {
        let state = |(key, good): (&Key, &Good)| match &good.content {
            Content::Credential(secret) => secret.state(&key.name),
            _ => None,
        };
        self.good().filter_map(state).collect()
    }

    /// The table of what is held, and what it passes over, by route.
    pub(super) fn table(&self) -> (Table, HashMap<Key, Vec<Refusal>>) {
        let mut table = Table {
            applied: true,
            ..Table::default()
        };
        let mut providers = HashMap::new();
        for (key, good) in self.good() {
            if let Content::Provider(provider) = &good.content {
                providers.insert(key.name.as_str(), provider);
                table.providers.push(provider.clone());
            }
        }
        let mut routes: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((entry.route()?, key, entry)))
            .collect();
        routes.sort_by_key(|(route, key, _)| (route.created_unix_ms, *key));
        table.routes = routes.len();
        let mut passed_over = HashMap::new();
        for (_, key, entry) in routes {
            let mut warnings = Vec::new();
            if let Some(poison) = &entry.poison {
                poison.spread(&mut table);
            } else if let Some(Content::Route(route)) = entry.good.as_ref().map(|g| &g.content) {
                let provider = |name: &str| providers.get(name).copied();
                route.enter(&mut table, provider, &mut warnings);
            }
            passed_over.insert(key.clone(), warnings);
        }
        table.index.finish();
        (table, passed_over)
    }
}

/// The others reach calls in their own ways, and are tiny work.
fn makes_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Route | Kind::Provider)
}

impl RouteSpec {
    fn enter<'p>(
        &self,
        table: &mut Table,
        provider: impl Fn(&str) -> Option<&'p Arc<Provider>>,
        warnings: &mut Vec<Refusal>,
    ) {
        for (i, spec) in self.rules.iter().enumerate() {
            let path = format!("spec.rules[{i}]");
            let rule = Arc::new(spec.link(&self.info, &path, &provider, warnings));
            table
                .index
                .add(&spec.matches, &Destination::Rule(rule.clone()));
            let every = spec.matches.iter().any(|m| m.models().is_empty());
            let patterns = spec.matches.iter().flat_map(|m| m.models().to_vec());
            let patterns = if every {
                Vec::new()
            } else {
                patterns.collect()
            };
            table.offers.push((patterns, rule));
        }
    }
}

// ---------------------------------------------------------------- impl Entry

impl Entry {
    fn new(
        key: &Key,
        resource: &Resource,
        previous: Option<Self>,
        around: &Surroundings<'_>,
    ) -> Self {
        let previous = previous.and_then(|entry| entry.good);
        // A copy: the bytes that came are a part of a frame, and would keep all
        // of it in memory.
        let body = match key.kind {
            Kind::Credential => wiped(&[&resource.body]),
            _ => Bytes::copy_from_slice(&resource.body),
        };
        let resource = Resource {
            kind: resource.kind,
            name: resource.name.clone(),
            version: resource.version.clone(),
            body,
        };
        let sent = resource.version.clone();
        match Content::compile(key, &resource, previous.as_ref(), around) {
            Ok((content, warnings)) => Self {
                sent,
                verdict: Verdict::taken(warnings),
                good: Some(Good { resource, content }),
                poison: None,
            },
            Err(refusal) => Self {
                sent,
                verdict: Verdict::refused(refusal),
                poison: (key.kind == Kind::Route && previous.is_none())
                    .then(|| Poison::of(&resource)),
                good: previous,
            },
        }
    }

    /// True where `resource` was judged already.
    fn is(&self, resource: &Resource) -> bool {
        let same_bytes = self.good.as_ref().is_none_or(|good| {
            good.resource.version != resource.version || good.resource.body == resource.body
        });
        self.sent == resource.version && same_bytes
    }

    fn route(&self) -> Option<&RouteInfo> {
        match (&self.poison, self.good.as_ref().map(|g| &g.content)) {
            (Some(poison), _) => Some(&poison.route),
            (None, Some(Content::Route(route))) => Some(&route.info),
            (None, _) => None,
        }
    }
}

// ---------------------------------------------------------------- impl Content

impl Content {
    fn compile(
        key: &Key,
        resource: &Resource,
        previous: Option<&Good>,
        around: &Surroundings<'_>,
    ) -> Result<(Self, Vec<Refusal>), Refusal> {
        let body = Body::decode(resource).map_err(|e| Refusal::new("", e.to_string()))?;
        if body.key() != *key && key.kind != Kind::Global {
            let text = format!("the body is that of {}", body.key().name);
            return Err(Refusal::new("metadata.name", text));
        }
        match (&body, previous.map(|good| &good.content)) {
            (Body::Route(message), previous) => {
                let previous = match previous {
                    Some(Self::Route(route)) => Some(route),
                    _ => None,
                };
                let (route, warnings) = RouteSpec::compile(message, previous)?;
                Ok((Self::Route(route), warnings))
            }
            (Body::Provider(message), previous) => {
                let previous = match previous {
                    Some(Self::Provider(provider)) => Some(&**provider),
                    _ => None,
                };
                let (provider, warnings) = Provider::compile(message, around.upstreams, previous)?;
                Ok((Self::Provider(Arc::new(provider)), warnings))
            }
            (Body::Credential(message), previous) => {
                let previous = match previous {
                    Some(Self::Credential(secret)) => Some(secret),
                    _ => None,
                };
                let secret = Secret::compile(message, previous, around.credential_news)?;
                Ok((Self::Credential(secret), Vec::new()))
            }
            (Body::Global(message), _) => {
                let global = GlobalSettings::compile(message)?;
                Ok((Self::Global(global), Vec::new()))
            }
        }
    }
}

// ---------------------------------------------------------------- impl Poison

impl Poison {
    fn of(resource: &Resource) -> Self {
        let read = RouteMatches::decode(resource.body.clone()).ok();
        let (generation, created) = read
            .as_ref()
            .map_or((0, i64::MAX), |r| (r.generation, r.created_unix_ms));
        let (namespace, name) = resource.name.split_once('/').unwrap_or_default();
        let route = RouteInfo::new(namespace, name, generation, created)
            .or_else(|_| RouteInfo::new("unreadable", "unreadable", generation, created))
            .expect("a plain name is a label");
        let salvage = |rule: RuleMatches| rule.matches.iter().map(MatchSpec::salvage).collect();
        Self {
            route: Arc::new(route),
            rules: read
                .filter(|r| !r.rules.is_empty())
                .map(|r| r.rules.into_iter().map(salvage).collect()),
        }
    }

    fn spread(&self, table: &mut Table) {
        let Some(rules) = &self.rules else {
            // Which calls it was about is unknown. Those that another rule takes
            // are served: a bad object never takes down a good one. The rest
            // may have been its own, so they aren't told that nobody wants them.
            table.unread.get_or_insert_with(|| self.route.clone());
            return;
        };
        for matches in rules {
            table
                .index
                .add(matches, &Destination::Poisoned(self.route.clone()));
        }
    }
}
