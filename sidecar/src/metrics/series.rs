//! The children of one combination of route, provider and model.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::Families;
use super::cost::Spent;
use crate::error::Cause;
use crate::meter::{PicoUsd, Usage};

/// How a call ended, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// 1xx to 3xx, whole.
    Success,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// The answer broke off after its head.
    Broken,
    /// The client left.
    Cancelled,
}

/// How a try at a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// An answer that was relayed, whatever its status says of the request.
    Answered,
    /// It failed in a way that another target may mend.
    Failed(Cause),
    /// 401 on a credential of ours.
    Unauthorized,
    /// It failed in a way that no other try mends.
    Refused,
    /// The client left, or the call's time was up.
    Cancelled,
}

/// Kinds of tokens, by label.
const KINDS: [&str; 5] = [
    "input",
    "cached_input",
    "cache_write",
    "output",
    "reasoning",
];

/// Children, each made when it is first counted.
pub struct Series {
    labels: [Box<str>; 3],
    families: FamilyRefs,
    requests: [OnceLock<IntCounter>; 5],
    attempts: [OnceLock<IntCounter>; 9],
    retries: [OnceLock<IntCounter>; 5],
    tokens: [OnceLock<IntCounter>; 5],
    estimated: OnceLock<IntCounter>,
    unpriced: OnceLock<IntCounter>,
    ejections: OnceLock<IntCounter>,
    first_byte: Histogram,
    duration: Histogram,
    spent: Arc<Spent>,
}

/// Cheap clones of the families that children are made from.
struct FamilyRefs {
    requests: IntCounterVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    tokens: IntCounterVec,
    estimated: IntCounterVec,
    unpriced: IntCounterVec,
    ejections: IntCounterVec,
}

// ---------------------------------------------------------------- impl Series

impl Series {
    pub(super) fn new(families: &Families, labels: [&str; 3]) -> Self {
        Self {
            requests: Default::default(),
            attempts: Default::default(),
            retries: Default::default(),
            tokens: Default::default(),
            estimated: OnceLock::new(),
            unpriced: OnceLock::new(),
            ejections: OnceLock::new(),
            first_byte: families.first_byte.with_label_values(&labels),
            duration: families.duration.with_label_values(&labels),
            spent: families.cost.of(labels),
            labels: labels.map(Box::from),
            families: FamilyRefs {
                requests: families.requests.clone(),
                attempts: families.attempts.clone(),
                retries: families.retries.clone(),
                tokens: families.tokens.clone(),
                estimated: families.usage_estimated.clone(),
                unpriced: families.usage_unpriced.clone(),
                ejections: families.ejections.clone(),
            },
        }
    }

    fn child<'c>(
        &self,
        cell: &'c OnceLock<IntCounter>,
        family: &IntCounterVec,
        label: Option<&str>,
    ) -> &'c IntCounter {
        cell.get_or_init(|| {
            let [route, provider, model] = &self.labels;
            let labels: [&str; 4] = [route, provider, model, label.unwrap_or_default()];
            family.with_label_values(&labels[..if label.is_some() { 4 } else { 3 }])
        })
    }

    /// A call ended.
    pub(crate) fn request(&self, end: End, duration: Duration) {
        let cell = &self.requests[end as usize];
        self.child(cell, &self.families.requests, Some(end.word()))
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// The first byte of an answer went out.
    pub(crate) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }

    /// A try ended.
    pub(crate) fn attempt(&self, end: AttemptEnd) {
        let cell = &self.attempts[end.index()];
        self.child(cell, &self.families.attempts, Some(end.word()))
            .inc();
    }

    /// Another try follows one that failed here.
    pub(crate) fn retry(&self, cause: Cause) {
        let cell = &self.retries[cause as usize];
        self.child(cell, &self.families.retries, Some(cause.word()))
            .inc();
    }

    /// A target was ejected.
    pub(crate) fn ejected(&self) {
        let ejected = || {
            let [_, provider, model] = &self.labels;
            self.families
                .ejections
                .with_label_values(&[&**provider, &**model])
        };
        self.ejections.get_or_init(ejected).inc();
    }

    /// What a call used, and what it cost where that is known.
    pub(crate) fn usage(&self, usage: &Usage, estimated: bool, cost: Option<PicoUsd>) {
        let counts = [
            usage.input,
            usage.cached,
            usage.cache_write.saturating_add(usage.cache_write_long),
            usage.output,
            usage.reasoning,
        ];
        for ((cell, kind), count) in self.tokens.iter().zip(KINDS).zip(counts) {
            if count > 0 {
                self.child(cell, &self.families.tokens, Some(kind))
                    .inc_by(count);
            }
        }
        if estimated {
            self.child(&self.estimated, &self.families.estimated, None)
                .inc();
        }
        match cost {
            Some(cost) => self.spent.add(cost),
            None => self
                .child(&self.unpriced, &self.families.unpriced, None)
                .inc(),
        }
    }
}

// ---------------------------------------------------------------- impl End

impl End {
    /// The word for logs and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

// ---------------------------------------------------------------- impl AttemptEnd

impl AttemptEnd {
    /// The word for logs and labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed(cause) => cause.word(),
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Failed(cause) => 1 + cause as usize,
            Self::Unauthorized => 6,
            Self::Refused => 7,
            Self::Cancelled => 8,
        }
    }
}
