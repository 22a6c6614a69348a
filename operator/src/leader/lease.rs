//! What follows from a Lease that was read: pure, by the caller's clock.
//!
//! The times inside a Lease are other clocks and are never compared. A holder
//! is given up when the Lease was not written for its whole duration *as seen
//! from here*.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;

/// The Lease in the operator's namespace.
pub const LEASE: &str = "llmroute-operator";

/// A holder that didn't renew for so long may be followed by another.
const DURATION_S: i32 = 15;

/// What one process has seen of the Lease.
pub(super) struct Election {
    namespace: String,
    identity: String,
    seen: Option<Seen>,
}

struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Somebody else leads.
    Wait,
    /// There is no Lease: create it.
    Create(Box<Lease>),
    /// Ours, or free to take: write it with the version that was read.
    Replace(Box<Lease>),
    /// We led, and somebody else does now.
    Deposed {
        /// The holder that was read.
        by: String,
    },
}

// ---------------------------------------------------------------- impl Election

impl Election {
    pub(super) fn new(namespace: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            seen: None,
        }
    }

    /// `held`: whether this process took the Lease before.
    pub(super) fn decide(&mut self, lease: Option<Lease>, held: bool, now: Instant) -> Step {
        let Some(lease) = lease else {
            self.seen = None;
            return Step::Create(Box::new(self.renewed(Lease::default(), true)));
        };
        let holder = holder(&lease).to_owned();
        if holder == self.identity {
            return Step::Replace(Box::new(self.renewed(lease, false)));
        }
        if held && !holder.is_empty() {
            return Step::Deposed { by: holder };
        }
        if holder.is_empty() || self.has_expired(&lease, now) {
            return Step::Replace(Box::new(self.renewed(lease, true)));
        }
        Step::Wait
    }

    /// The Lease without a holder, if we are the holder.
    pub(super) fn released(&self, mut lease: Lease) -> Option<Lease> {
        if holder(&lease) != self.identity {
            return None;
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        Some(lease)
    }

    fn has_expired(&mut self, lease: &Lease, now: Instant) -> bool {
        let version = lease.metadata.resource_version.clone();
        match &self.seen {
            Some(seen) if seen.version == version => now - seen.at >= duration(lease),
            _ => {
                self.seen = Some(Seen { version, at: now });
                false
            }
        }
    }

    fn renewed(&self, lease: Lease, taken: bool) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let old = lease.spec.unwrap_or_default();
        let transitions = old.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION_S),
            acquire_time: if taken { now.clone() } else { old.acquire_time },
            renew_time: now,
            lease_transitions: Some(transitions.saturating_add(i32::from(taken))),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(LEASE.to_owned()),
            namespace: Some(self.namespace.clone()),
            managed_fields: None,
            ..lease.metadata
        };
        Lease {
            metadata,
            spec: Some(spec),
        }
    }
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|s| s.holder_identity.as_deref())
        .unwrap_or_default()
}

fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|s| s.lease_duration_seconds);
    // Bounded: a Lease edited by hand must not block the election for days.
    let seconds = seconds.unwrap_or(DURATION_S).clamp(1, 60);
    Duration::from_secs(u64::from(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    fn name(step: &Step) -> String {
        match step {
            Step::Wait => "wait".into(),
            Step::Create(_) => "create".into(),
            Step::Replace(l) => format!(
                "replace {}",
                l.metadata.resource_version.as_deref().unwrap_or("-")
            ),
            Step::Deposed { by } => format!("deposed by {by}"),
        }
    }

    #[test]
    fn what_follows_from_a_lease() {
        for (read, held, expected) in [
            (None, false, "create"),
            (None, true, "create"),
            (Some(lease("me", "7")), false, "replace 7"),
            (Some(lease("me", "7")), true, "replace 7"),
            (Some(lease("", "7")), false, "replace 7"),
            (Some(lease("", "7")), true, "replace 7"),
            (Some(lease("other", "7")), false, "wait"),
            (Some(lease("other", "7")), true, "deposed by other"),
        ] {
            let step = Election::new("ns", "me").decide(read.clone(), held, Instant::now());
            assert_eq!(name(&step), expected, "{read:?} held: {held}");
        }
    }

    #[test]
    fn a_holder_is_followed_only_after_its_whole_duration_without_a_write() {
        let mut election = Election::new("ns", "me");
        let start = Instant::now();
        let mut at = |version: &str, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            name(&election.decide(Some(lease("other", version)), false, now))
        };
        assert_eq!(at("1", 0), "wait");
        assert_eq!(at("1", 14), "wait");
        assert_eq!(at("2", 15), "wait", "it was renewed");
        assert_eq!(at("2", 29), "wait");
        assert_eq!(at("2", 30), "replace 2");
    }

    #[test]
    fn only_the_holder_releases() {
        let election = Election::new("ns", "me");
        assert!(election.released(lease("other", "1")).is_none());
        let released = election.released(lease("me", "1"));
        assert_eq!(holder(&released.expect("ours")), "");
    }
}
