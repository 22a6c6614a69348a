//! Which rule a call belongs to.
//!
//! The most specific match wins: an exact model, then the longer wildcard, then
//! the shorter; then more headers; then the order, which is that of the older
//! route, then of the lesser name, then of the object itself. The order in
//! which resources came plays no part: it is a function of what is held.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use llmroute_protocol as proto;

use super::refusal::Refusal;
use super::route::{RouteInfo, Rule};

/// A match that is good on its own.
#[derive(Clone, Debug)]
pub(super) struct MatchSpec {
    models: Box<[Pattern]>,
    headers: Arc<[HeaderRule]>,
}

/// `spec.rules[].matches[].models[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// Without a `*`.
    Exact(Box<str>),
    /// `gpt-*`; alone, `*` is the empty prefix.
    Prefix(Box<str>),
    /// `*-mini`.
    Suffix(Box<str>),
}

#[derive(Clone, Debug)]
struct HeaderRule {
    name: HeaderName,
    value: Box<[u8]>,
    prefix: bool,
}

/// Where a match leads.
#[derive(Clone)]
pub(super) enum Destination {
    /// To be served.
    Rule(Arc<Rule>),
    /// To `route_invalid`: the route never had a good version.
    Poisoned(Arc<RouteInfo>),
}

/// All matches of a pod, by how a call is looked up.
#[derive(Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<Entry>>,
    wild: Vec<(Pattern, Entry)>,
    catch_all: Vec<Entry>,
}

struct Entry {
    headers: Arc<[HeaderRule]>,
    to: Destination,
}

// ---------------------------------------------------------------- impl MatchSpec

impl MatchSpec {
    pub(super) fn compile(message: &proto::Match, path: &str) -> Result<Self, Refusal> {
        let proto::Match { models, headers } = message;
        let pattern = |(i, text): (usize, &String)| {
            Pattern::parse(text).ok_or_else(|| {
                let text = "must be a model's name, or one with a single * at an end";
                Refusal::new(format!("{path}.models[{i}]"), text)
            })
        };
        let header = |(i, header): (usize, &proto::HeaderMatch)| {
            HeaderRule::compile(header, &format!("{path}.headers[{i}]"))
        };
        Ok(Self {
            models: models
                .iter()
                .enumerate()
                .map(pattern)
                .collect::<Result<_, _>>()?,
            headers: headers
                .iter()
                .enumerate()
                .map(header)
                .collect::<Result<_, _>>()?,
        })
    }

    /// As much of a match as can be read, for a route that is refused. What
    /// can't be read is left out, which makes the match wider: too much of a
    /// bad route answers with an error, rather than too little.
    pub(super) fn salvage(message: &proto::Match) -> Self {
        let proto::Match { models, headers } = message;
        let headers = headers
            .iter()
            .filter_map(|h| HeaderRule::compile(h, "").ok())
            .collect();
        let models = models.iter().map(|text| Pattern::salvage(text)).collect();
        Self { models, headers }
    }

    /// The patterns; none: every model.
    pub(super) fn models(&self) -> &[Pattern] {
        &self.models
    }
}

// ---------------------------------------------------------------- impl Pattern

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let pattern = if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else {
            Self::Exact(text.into())
        };
        (!text.is_empty() && !pattern.literal().contains('*')).then_some(pattern)
    }

    fn salvage(text: &str) -> Self {
        // Of `a*b*c` the part before the first star holds for whatever was meant.
        match text.split_once('*') {
            Some((prefix, _)) => Self::parse(text).unwrap_or_else(|| Self::Prefix(prefix.into())),
            None => Self::Exact(text.into()),
        }
    }

    fn literal(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => text,
        }
    }

    /// True where `model` is meant.
    pub(super) fn takes(&self, model: &str) -> bool {
        match self {
            Self::Exact(text) => **text == *model,
            Self::Prefix(text) => model.starts_with(&**text),
            Self::Suffix(text) => model.ends_with(&**text),
        }
    }
}

// ---------------------------------------------------------------- impl HeaderRule

impl HeaderRule {
    fn compile(message: &proto::HeaderMatch, path: &str) -> Result<Self, Refusal> {
        let proto::HeaderMatch {
            name,
            value,
            r#type,
        } = message;
        let name = HeaderName::try_from(name)
            .map_err(|_| Refusal::new(format!("{path}.name"), "not the name of a header"))?;
        let prefix = match proto::header_match::Type::try_from(*r#type) {
            Ok(proto::header_match::Type::Exact) => false,
            Ok(proto::header_match::Type::Prefix) => true,
            // Another comparison would send calls where nobody said.
            Ok(proto::header_match::Type::Unspecified) | Err(_) => {
                let text = format!("this sidecar doesn't know match type {}", *r#type);
                return Err(Refusal::new(format!("{path}.type"), text));
            }
        };
        Ok(Self {
            name,
            value: value.as_bytes().into(),
            prefix,
        })
    }

    fn takes(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|value| {
            if self.prefix {
                value.as_bytes().starts_with(&self.value)
            } else {
                value.as_bytes() == &*self.value
            }
        })
    }
}

// ---------------------------------------------------------------- impl Index

impl Index {
    /// Adds the matches of a rule. Called in the order that decides between
    /// equals; [`Self::finish`] sorts the rest.
    pub(super) fn add(&mut self, matches: &[MatchSpec], to: &Destination) {
        let entry = |headers: &Arc<[HeaderRule]>| Entry {
            headers: headers.clone(),
            to: to.clone(),
        };
        if matches.is_empty() {
            self.catch_all.push(entry(&Arc::default()));
        }
        for MatchSpec { models, headers } in matches {
            for pattern in models {
                match pattern {
                    Pattern::Exact(model) => self
                        .exact
                        .entry(model.clone())
                        .or_default()
                        .push(entry(headers)),
                    wild => self.wild.push((wild.clone(), entry(headers))),
                }
            }
            match (models.is_empty(), headers.is_empty()) {
                (true, true) => self.catch_all.push(entry(headers)),
                // Headers alone: as specific as `*`.
                (true, false) => self.wild.push((Pattern::Prefix("".into()), entry(headers))),
                (false, _) => {}
            }
        }
    }

    /// Sorts what was added. The sorts are stable: equals stay in order.
    pub(super) fn finish(&mut self) {
        let headers = |entry: &Entry| Reverse(entry.headers.len());
        for entries in self.exact.values_mut() {
            entries.sort_by_key(headers);
        }
        self.wild
            .sort_by_key(|(pattern, e)| (Reverse(pattern.literal().len()), headers(e)));
    }

    /// Where the call belongs.
    pub(super) fn find(&self, model: &str, headers: &HeaderMap) -> Option<&Destination> {
        let takes = |entry: &&Entry| entry.headers.iter().all(|rule| rule.takes(headers));
        let exact = || self.exact.get(model)?.iter().find(takes);
        let wild = || {
            let wild = self.wild.iter().filter(|(pattern, _)| pattern.takes(model));
            wild.map(|(_, entry)| entry).find(takes)
        };
        exact()
            .or_else(wild)
            .or_else(|| self.catch_all.first())
            .map(|entry| &entry.to)
    }
}
