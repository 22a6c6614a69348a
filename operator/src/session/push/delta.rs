//! Every further push: what is other than was sent.
//!
//! A change that is larger than a chunk goes out as several deltas, each with
//! its own answer, in an order in which each step makes sense: what routes need
//! before the routes, and what nobody needs any more at the end.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use llmroute_protocol::{
    CHUNK_BYTES, Delta, FromOperator, Key, Kind, Resource, ResourceRef, from_operator,
};

use super::{Push, Pushed, Sent};
use crate::controllers::PodConfig;
use crate::world::ObjectRef;

impl Push {
    /// `None` when nothing differs.
    pub(super) fn delta(&mut self, wanted: &Arc<PodConfig>) -> Option<(Pushed, Vec<Sent>)> {
        let (upserts, removed) = difference(&self.sent, wanted);
        if upserts.is_empty() && removed.is_empty() {
            // Equal bytes of another build.
            self.sent = wanted.clone();
            return None;
        }
        let all = upserts.len();
        let mut sent = Vec::with_capacity(all);
        let (mut taken, mut size) = (Vec::with_capacity(all), 0);
        for (key, built) in upserts {
            let fitted = self.fit(built);
            let more = fitted.as_ref().map_or(0, Sent::size);
            if size > 0 && size + more > CHUNK_BYTES {
                break;
            }
            size += more;
            taken.push((key, built));
            sent.extend(fitted);
        }
        let whole = taken.len() == all;
        let config = if whole {
            wanted.clone()
        } else {
            Arc::new(partly(&self.sent, &taken))
        };
        let removed = if whole { removed } else { Vec::new() };
        let upserts: Vec<_> = sent.iter().map(|sent| sent.wire().clone()).collect();
        let bytes = upserts.iter().map(|resource| resource.body.len()).sum();
        let delta = Delta {
            epoch: self.epoch,
            seq: self.seq + 1,
            upserts,
            removed,
            hash: self.hash(&config),
        };
        let frames = vec![FromOperator {
            frame: Some(from_operator::Frame::Delta(delta)),
        }];
        Some((
            Pushed {
                frames,
                config,
                bytes,
                kind: "delta",
            },
            sent,
        ))
    }
}

/// What is other or new, in order, and what is gone.
fn difference<'a>(
    sent: &PodConfig,
    wanted: &'a PodConfig,
) -> (Vec<(&'a Key, &'a Arc<Resource>)>, Vec<ResourceRef>) {
    let is_other = |key: &Key, resource: &Arc<Resource>| {
        let known = sent.resources.get(key);
        known.is_none_or(|known| !Arc::ptr_eq(known, resource) && known.version != resource.version)
    };
    let mut upserts: Vec<_> = wanted
        .resources
        .iter()
        .filter(|(key, resource)| is_other(key, resource))
        .collect();
    // Global, credentials, providers, then routes.
    upserts.sort_by_key(|(key, _)| Reverse(i32::from(key.kind)));
    let gone = sent
        .resources
        .keys()
        .filter(|key| !wanted.resources.contains_key(key));
    let removed = gone.map(|key| ResourceRef {
        kind: key.kind.into(),
        name: key.name.clone(),
    });
    (upserts, removed.collect())
}

fn partly(sent: &PodConfig, taken: &[(&Key, &Arc<Resource>)]) -> PodConfig {
    let mut resources = sent.resources.clone();
    for (key, resource) in taken {
        resources.insert((*key).clone(), Arc::clone(resource));
    }
    let routes = resources.keys().filter(|key| key.kind == Kind::Route);
    PodConfig {
        routes: routes
            .filter_map(|key| ObjectRef::parse(&key.name))
            .collect(),
        // Computed by whoever needs it.
        hash: Bytes::new(),
        resources,
    }
}
