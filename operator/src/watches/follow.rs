//! One watch, from its first list to the end of the process.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{Error, Event};

use super::patience::{is_gone, patient};
use super::{Seen, Source, Watches};
use crate::kubernetes;
use crate::world::{Change, ObjectRef};

/// Follows one source and remembers only the names: a list tells what is
/// there, and what has gone follows from what was there before.
pub(super) struct Follow {
    source: Source,
    watches: Watches,
    known: BTreeSet<ObjectRef>,
    /// Names of the list that is under way.
    listed: BTreeSet<ObjectRef>,
    synced: bool,
}

/// The reconciler has ended, and with it the process.
struct Closed;

// ---------------------------------------------------------------- impl Follow

impl Follow {
    pub(super) fn new(source: Source, watches: Watches) -> Self {
        Self {
            source,
            watches,
            known: BTreeSet::new(),
            listed: BTreeSet::new(),
            synced: false,
        }
    }

    /// `open` starts a watch with a list; `reduce` gives `None` for what is none of ours.
    pub(super) async fn run<K: Send, S>(
        mut self,
        open: impl Fn() -> S + Send,
        reduce: impl Fn(K) -> Option<(ObjectRef, Seen)>,
        gone: impl Fn(ObjectRef) -> Change,
    ) where
        S: Stream<Item = Result<Event<K>, Error>> + Send,
    {
        let heard = |event: &Event<K>| !matches!(event, Event::Init);
        let mut stream = std::pin::pin!(patient(open, heard));
        while let Some(event) = stream.next().await {
            let taken = match event {
                Ok(event) => self.take(event, &reduce, &gone).await,
                Err(error) => {
                    self.failed(&error);
                    Ok(())
                }
            };
            if taken.is_err() {
                return;
            }
        }
    }

    async fn take<K>(
        &mut self,
        event: Event<K>,
        reduce: &impl Fn(K) -> Option<(ObjectRef, Seen)>,
        gone: &impl Fn(ObjectRef) -> Change,
    ) -> Result<(), Closed> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some((id, seen)) = reduce(object) {
                    self.listed.insert(id);
                    self.tell(seen).await?;
                }
            }
            Event::InitDone => self.list_ended(gone).await?,
            Event::Apply(object) => {
                if let Some((id, seen)) = reduce(object) {
                    self.known.insert(id);
                    self.tell(seen).await?;
                }
            }
            Event::Delete(object) => {
                if let Some((id, _)) = reduce(object) {
                    self.known.remove(&id);
                    self.tell(Seen::change(gone(id))).await?;
                }
            }
        }
        self.count();
        Ok(())
    }

    async fn list_ended(&mut self, gone: &impl Fn(ObjectRef) -> Change) -> Result<(), Closed> {
        let listed = std::mem::take(&mut self.listed);
        let before = std::mem::replace(&mut self.known, listed);
        for id in before {
            if !self.known.contains(&id) {
                self.tell(Seen::change(gone(id))).await?;
            }
        }
        if !self.synced {
            self.synced = true;
            self.tell(Seen::Synced(self.source)).await?;
            self.watches.readiness.reached(&self.source.gate());
        }
        Ok(())
    }

    async fn tell(&self, seen: Seen) -> Result<(), Closed> {
        self.watches.seen.send(seen).await.map_err(|_| Closed)
    }

    fn failed(&self, error: &Error) {
        let source = self.source.label();
        let metrics = &self.watches.metrics;
        metrics.watch_errors.with_label_values(&[source]).inc();
        let routine = is_gone(error);
        let error = told(self.source, error);
        if routine {
            tracing::info!(source, error, "watch starts anew");
        } else {
            tracing::warn!(source, error, "watch failed");
        }
        if !self.synced {
            let readiness = &self.watches.readiness;
            readiness.wait_for(&self.source.gate(), format!("the first list: {error}"));
        }
    }

    fn count(&self) {
        let objects = &self.watches.metrics.objects;
        let count = i64::try_from(self.known.len()).unwrap_or(i64::MAX);
        objects.with_label_values(&[self.source.label()]).set(count);
    }
}

/// An error as it may be logged: one about the bytes of a Secret could quote them.
pub(crate) fn told(source: Source, error: &Error) -> String {
    let inner = match error {
        Error::InitialListFailed(inner)
        | Error::WatchStartFailed(inner)
        | Error::WatchFailed(inner) => Some(inner),
        Error::WatchError(status) => return format!("{} ({})", status.message, status.code),
        Error::NoResourceVersion => None,
    };
    match inner {
        Some(kube::Error::SerdeError(error)) if source == Source::Secrets => format!(
            "an answer with Secrets can't be read at line {} column {}",
            error.line(),
            error.column()
        ),
        Some(inner) => kubernetes::told(inner),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::mpsc;

    use super::*;
    use crate::admin::Readiness;
    use crate::fake_api::FakeApi;
    use crate::metrics::Metrics;

    fn id(name: &str) -> ObjectRef {
        ObjectRef::new("shop", name)
    }

    fn reduce(name: &'static str) -> Option<(ObjectRef, Seen)> {
        let there = !name.is_empty();
        there.then(|| {
            let entries = std::collections::BTreeMap::new();
            let change = Change::ConfigMap(id(name), entries);
            (id(name), Seen::change(change))
        })
    }

    async fn told_of(events: Vec<Event<&'static str>>) -> (Vec<String>, Metrics, Readiness) {
        let (seen, mut told) = mpsc::channel(64);
        let watches = Watches {
            client: FakeApi::default().client(),
            seen,
            metrics: Metrics::new(),
            readiness: Readiness::default(),
        };
        let (metrics, readiness) = (watches.metrics.clone(), watches.readiness.clone());
        let follow = watches.follow(Source::Routes);
        drop(watches);
        let open = || stream::iter(events.clone().into_iter().map(Ok));
        follow.run(open, reduce, Change::ConfigMapGone).await;
        let mut lines = Vec::new();
        while let Some(seen) = told.recv().await {
            lines.push(match seen {
                Seen::Synced(source) => format!("synced {}", source.label()),
                Seen::Change { change, .. } => match change {
                    Change::ConfigMap(id, _) => format!("+{id}"),
                    Change::ConfigMapGone(id) => format!("-{id}"),
                    other => format!("{other:?}"),
                },
            });
        }
        (lines, metrics, readiness)
    }

    #[tokio::test]
    async fn what_a_new_list_lacks_has_gone() {
        let events = vec![
            Event::Init,
            Event::InitApply("a"),
            Event::InitApply("b"),
            Event::InitDone,
            Event::Apply("c"),
            Event::Init,
            Event::InitApply("b"),
            Event::InitDone,
        ];
        let (lines, metrics, readiness) = told_of(events).await;
        let expected = [
            "+shop/a",
            "+shop/b",
            "synced llmroutes",
            "+shop/c",
            "+shop/b",
            "-shop/a",
            "-shop/c",
        ];
        assert_eq!(lines, expected);
        assert_eq!(metrics.objects.with_label_values(&["llmroutes"]).get(), 1);
        assert_eq!(readiness.missing(), []);
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_removes_nothing() {
        let events = vec![
            Event::Init,
            Event::InitApply("a"),
            Event::InitDone,
            Event::Init,
            Event::InitApply("b"),
        ];
        let (lines, ..) = told_of(events).await;
        assert_eq!(lines, ["+shop/a", "synced llmroutes", "+shop/b"]);
    }

    #[tokio::test]
    async fn an_object_that_is_none_of_ours_does_not_stall_the_others() {
        let events = vec![
            Event::Init,
            Event::InitApply(""),
            Event::InitApply("a"),
            Event::InitDone,
            Event::Apply(""),
            Event::Delete("a"),
        ];
        let (lines, ..) = told_of(events).await;
        assert_eq!(lines, ["+shop/a", "synced llmroutes", "-shop/a"]);
    }

    #[test]
    fn an_answer_with_secrets_that_cannot_be_read_is_not_quoted() {
        let error = serde_json::from_str::<u8>("\"hunter2\"").expect_err("no number");
        assert!(error.to_string().contains("hunter2"), "{error}");
        let error = Error::WatchFailed(kube::Error::SerdeError(error));
        let told = told(Source::Secrets, &error);
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains("line 1 column 9"), "{told}");
    }
}
