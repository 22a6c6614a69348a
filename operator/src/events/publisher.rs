//! Takes notes from the queue to the API server, one at a time.

use std::collections::HashMap;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Note, Reason, Severity};
use crate::kubernetes::call;
use crate::metrics::Metrics;

/// The same reason at the same object is told again only after so long.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Runs as long as the process.
pub struct Publisher {
    recorder: Recorder,
    notes: mpsc::Receiver<Note>,
    recent: Recent,
    metrics: Metrics,
}

/// When what was last told.
#[derive(Default)]
struct Recent(HashMap<(String, Reason), Instant>);

// ---------------------------------------------------------------- impl Publisher

impl Publisher {
    /// `identity` names the process that tells.
    pub fn new(
        client: Client,
        identity: &str,
        notes: mpsc::Receiver<Note>,
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: "llmroute.dev/operator".to_owned(),
            instance: Some(identity.chars().take(128).collect()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            notes,
            recent: Recent::default(),
            metrics,
        }
    }

    /// Ends when nobody can tell anything any more.
    pub async fn run(mut self) {
        while let Some(note) = self.notes.recv().await {
            let outcome = if self.recent.is_news(&note, Instant::now()) {
                self.publish(&note).await
            } else {
                "repeated"
            };
            self.metrics.events.with_label_values(&[outcome]).inc();
        }
    }

    async fn publish(&self, note: &Note) -> &'static str {
        let Note {
            regarding,
            severity,
            reason,
            text,
        } = note;
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.name().to_owned(),
            note: Some(text.clone()),
            action: reason.action().to_owned(),
            secondary: None,
        };
        match call(self.recorder.publish(&event, regarding)).await {
            Ok(()) => "published",
            Err(error) => {
                // The condition says it too; an Event is a courtesy.
                tracing::warn!(%error, reason = reason.name(), "Event not published");
                "failed"
            }
        }
    }
}

// ---------------------------------------------------------------- impl Recent

impl Recent {
    fn is_news(&mut self, note: &Note, now: Instant) -> bool {
        self.0.retain(|_, told| now - *told < AGAIN_AFTER);
        let uid = note.regarding.uid.clone().unwrap_or_default();
        let name = note.regarding.name.clone().unwrap_or_default();
        let key = (format!("{uid} {name}"), note.reason);
        if self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::events::Events;
    use crate::fake_api::FakeApi;

    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

    fn note(name: &str) -> Note {
        let regarding = ObjectReference {
            namespace: Some("shop".into()),
            name: Some(name.into()),
            ..ObjectReference::default()
        };
        Note::new(
            regarding,
            Severity::Warning,
            Reason::Rejected,
            "no such target",
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_reason_at_the_same_object_is_told_once_in_30_s() {
        let (api, metrics) = (FakeApi::default(), Metrics::new());
        let (events, notes) = Events::new(&metrics);
        let publisher = Publisher::new(api.client(), "a_1", notes, metrics.clone());
        tokio::spawn(publisher.run());
        for name in ["chat", "chat", "other", "chat"] {
            events.publish(note(name));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(api.count(EVENTS), 2);
        let repeated = metrics.events.with_label_values(&["repeated"]).get();
        assert_eq!(repeated, 2);
        tokio::time::sleep(AGAIN_AFTER).await;
        events.publish(note("chat"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let told = metrics.events.with_label_values(&["published"]).get();
        assert_eq!(told, 3, "told again, in the same Event");
        assert_eq!(api.count(EVENTS), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_is_dropped_and_counted_and_nobody_waits() {
        let (api, metrics) = (FakeApi::default(), Metrics::new());
        api.cut(true);
        let (events, notes) = Events::new(&metrics);
        tokio::spawn(Publisher::new(api.client(), "a_1", notes, metrics.clone()).run());
        for n in 0..1000 {
            events.publish(note(&format!("route-{n}")));
        }
        let dropped = metrics.events.with_label_values(&["dropped"]).get();
        assert_eq!(dropped, 744);
    }
}
