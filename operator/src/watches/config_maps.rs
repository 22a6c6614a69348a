//! The `ConfigMap`s that providers name, each watched by itself.
//!
//! A cluster holds thousands, some of them written every few seconds; providers
//! name a handful. Beyond [`MOST`] none is watched: those providers say that
//! theirs isn't found, and the log says why.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio_stream::StreamMap;

use super::patience::patient;
use super::{Seen, Source, Watches, told};
use crate::world::{Change, ObjectRef};

/// Each costs a connection to the API server.
const MOST: usize = 100;

type Answers = BoxStream<'static, Result<Option<ConfigMap>, watcher::Error>>;

/// Those that are named now, as the reconciler says.
pub struct Referenced {
    watches: Watches,
    wanted: watch::Receiver<BTreeSet<ObjectRef>>,
    streams: StreamMap<ObjectRef, Answers>,
    answered: BTreeSet<ObjectRef>,
}

// ---------------------------------------------------------------- impl Referenced

impl Referenced {
    /// Follows `wanted`.
    pub fn new(watches: Watches, wanted: watch::Receiver<BTreeSet<ObjectRef>>) -> Self {
        Self {
            watches,
            wanted,
            streams: StreamMap::new(),
            answered: BTreeSet::new(),
        }
    }

    /// Runs until the reconciler has ended.
    pub async fn run(mut self) {
        loop {
            let change = tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => {
                        self.follow_wanted();
                        continue;
                    }
                    Err(_) => return,
                },
                Some((id, answer)) = self.streams.next() => self.change(id, answer),
            };
            if let Some(change) = change
                && self.watches.seen.send(Seen::change(change)).await.is_err()
            {
                return;
            }
        }
    }

    fn follow_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let dropped: Vec<_> = self.streams.keys().cloned().collect();
        for id in dropped.iter().filter(|id| !wanted.contains(id)) {
            self.streams.remove(id);
            self.answered.remove(id);
        }
        for id in wanted {
            if self.streams.contains_key(&id) {
                continue;
            }
            if self.streams.len() >= MOST {
                tracing::warn!(config_map = %id, most = MOST, "too many ConfigMaps are named");
                continue;
            }
            let api = Api::<ConfigMap>::namespaced(self.watches.client.clone(), &id.namespace);
            let name = id.name.clone();
            let open = move || watcher::watch_object(api.clone(), &name);
            self.streams.insert(id, patient(open, |_| true).boxed());
        }
        let objects = &self.watches.metrics.objects;
        let count = i64::try_from(self.streams.len()).unwrap_or(i64::MAX);
        objects
            .with_label_values(&[Source::ConfigMaps.label()])
            .set(count);
    }

    /// A first answer that is an error counts as absence, so that nobody waits for it.
    fn change(
        &mut self,
        id: ObjectRef,
        answer: Result<Option<ConfigMap>, watcher::Error>,
    ) -> Option<Change> {
        let first = self.answered.insert(id.clone());
        match answer {
            Ok(Some(map)) => Some(Change::ConfigMap(id, map.data.unwrap_or_default())),
            Ok(None) => Some(Change::ConfigMapGone(id)),
            Err(error) => {
                let source = Source::ConfigMaps;
                let metrics = &self.watches.metrics;
                metrics
                    .watch_errors
                    .with_label_values(&[source.label()])
                    .inc();
                let error = told(source, &error);
                tracing::warn!(config_map = %id, error, "watch failed");
                first.then_some(Change::ConfigMapGone(id))
            }
        }
    }
}
