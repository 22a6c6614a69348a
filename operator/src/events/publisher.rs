//! Takes notes from the queue to the API server, one at a time.

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::recent::{Recent, Verdict};
use super::{Note, Severity};
use crate::kubernetes::call;
use crate::metrics::Metrics;

/// Runs as long as the process.
pub struct Publisher {
    client: Client,
    reporter: Reporter,
    notes: mpsc::Receiver<Note>,
    recent: Recent,
    metrics: Metrics,
}

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
            client,
            reporter,
            notes,
            recent: Recent::default(),
            metrics,
        }
    }

    /// Ends when nobody can tell anything any more.
    pub async fn run(mut self) {
        while let Some(note) = self.notes.recv().await {
            let fresh = || Recorder::new(self.client.clone(), self.reporter.clone());
            let outcome = match self.recent.judge(&note, Instant::now(), fresh) {
                Verdict::News(recorder) => publish(&recorder, &note).await,
                Verdict::Repeated => "repeated",
                Verdict::TooMany => "dropped",
            };
            self.metrics.events.with_label_values(&[outcome]).inc();
        }
    }
}

async fn publish(recorder: &Recorder, note: &Note) -> &'static str {
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
    match call(recorder.publish(&event, regarding)).await {
        Ok(()) => "published",
        Err(error) => {
            // The condition says it too; an Event is a courtesy.
            tracing::warn!(%error, reason = reason.name(), "Event not published");
            "failed"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::events::recent::AGAIN_AFTER;
    use crate::events::{Events, Reason};
    use crate::fake_api::FakeApi;

    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

    fn note(name: &str) -> Note {
        saying(name, "no such target")
    }

    fn saying(name: &str, text: &str) -> Note {
        let regarding = ObjectReference {
            namespace: Some("shop".into()),
            name: Some(name.into()),
            ..ObjectReference::default()
        };
        Note::new(regarding, Severity::Warning, Reason::Rejected, text)
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_text_about_the_same_object_is_told_once_in_30_s() {
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
    async fn another_text_is_another_event_up_to_25_an_object() {
        let (api, metrics) = (FakeApi::default(), Metrics::new());
        let (events, notes) = Events::new(&metrics);
        tokio::spawn(Publisher::new(api.client(), "a_1", notes, metrics.clone()).run());
        let rotations = ["a is now b", "b is now c"];
        for text in rotations {
            events.publish(saying("chat", text));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut told = api.fields(EVENTS, "note");
        told.sort();
        assert_eq!(told, rotations);
        for n in 0..100 {
            events.publish(saying("chat", &format!("{n} of 100")));
        }
        events.publish(saying("other", "no such target"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(api.count(EVENTS), 26);
        let dropped = metrics.events.with_label_values(&["dropped"]).get();
        assert_eq!(dropped, 77);
        tokio::time::sleep(Duration::from_mins(7)).await;
        events.publish(saying("chat", "later"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(api.count(EVENTS), 27);
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
