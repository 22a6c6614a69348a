//! One choice.

use std::sync::Arc;

use fastrand::Rng;
use tokio::time::Instant;

use super::health::Outcome;
use crate::table::{Auth, Credential, MAX_TARGETS, Model, Provider, Rule, Target, TargetModel};

/// How often this call was sent to each of its rule's targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried([u8; MAX_TARGETS]);

/// Where one try goes, with all that it needs: whatever is pushed meanwhile,
/// the try ends with the key that it began with.
#[derive(Clone)]
pub struct Pick {
    /// Index into the rule's targets.
    pub target: usize,
    /// Whose it is.
    pub provider: Arc<Provider>,
    /// What is asked for there.
    pub model: Arc<Model>,
    /// The key to send; `None` where the provider's auth asks for none.
    pub credential: Option<Arc<Credential>>,
    at: Instant,
}

/// Why there is no target at all for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoTarget {
    /// None of the rule's providers has the model.
    ModelUnknown,
    /// No provider, no credential, or not the model that the target names.
    Unavailable,
    /// Whatever could be used has a credential that was answered with 401.
    CredentialRejected,
}

/// A target that this call could go to.
struct Candidate<'r> {
    index: usize,
    target: &'r Target,
    provider: &'r Arc<Provider>,
    model: Arc<Model>,
    credential: Option<Arc<Credential>>,
    tries: u8,
    ejected: Option<Instant>,
}

// ---------------------------------------------------------------- pick

/// Chooses the target of the next try and notes it in `tried`.
///
/// In this order: targets with a weight before those of weight 0; what this call
/// tried least; what isn't ejected, of that the lowest priority number, within
/// it by weight. Where all are ejected, the one whose time ends first: the last
/// one is never left out, so a rule with a single target goes on calling it.
pub fn pick(
    rule: &Rule,
    requested: &str,
    tried: &mut Tried,
    now: Instant,
    rng: &mut Rng,
) -> Result<Pick, NoTarget> {
    let usable = usable(rule, requested, tried, now)?;
    let chosen = choose(usable, rng).pick(now);
    let times = &mut tried.0[chosen.target];
    *times = times.saturating_add(1);
    let (serial, policy) = (chosen.serial(), &chosen.provider.health);
    chosen.model.health().picked(serial, policy, now);
    Ok(chosen)
}

fn usable<'r>(
    rule: &'r Rule,
    requested: &str,
    tried: &Tried,
    now: Instant,
) -> Result<Vec<Candidate<'r>>, NoTarget> {
    let mut usable = Vec::with_capacity(rule.targets.len());
    let mut why = NoTarget::ModelUnknown;
    let mut rejected = Vec::new();
    for (index, target) in rule.targets.iter().enumerate() {
        match Candidate::new(index, target, requested, tried, now) {
            Ok(candidate) if candidate.is_rejected() => rejected.push(candidate),
            Ok(candidate) => usable.push(candidate),
            Err(reason) => why = why.max(reason),
        }
    }
    if !usable.is_empty() {
        return Ok(usable);
    }
    if rejected.is_empty() {
        return Err(why);
    }
    // Nothing else is left. A provider that once said 401 by mistake would stay
    // unused until somebody rotates a good key: now and then one call finds out.
    let again = rejected.into_iter().find(|c| c.takes_another_try(now));
    again.map(|c| vec![c]).ok_or(NoTarget::CredentialRejected)
}

fn choose<'r>(mut candidates: Vec<Candidate<'r>>, rng: &mut Rng) -> Candidate<'r> {
    if candidates.iter().any(|c| c.target.weight > 0) {
        candidates.retain(|c| c.target.weight > 0);
    }
    let least = candidates.iter().map(|c| c.tries).min();
    candidates.retain(|c| Some(c.tries) == least);
    if candidates.iter().all(|c| c.ejected.is_some()) {
        return candidates
            .into_iter()
            .min_by_key(|c| (c.ejected, c.target.priority))
            .expect("there is at least one candidate");
    }
    candidates.retain(|c| c.ejected.is_none());
    let lowest = candidates.iter().map(|c| c.target.priority).min();
    candidates.retain(|c| Some(c.target.priority) == lowest);
    weighted(candidates, rng)
}

fn weighted<'r>(candidates: Vec<Candidate<'r>>, rng: &mut Rng) -> Candidate<'r> {
    // Either all have a weight or none has. Sixteen times 32 bits fit into 64.
    let share = |c: &Candidate<'_>| u64::from(c.target.weight.max(1));
    let mut point = rng.u64(0..candidates.iter().map(share).sum());
    let mut candidates = candidates.into_iter();
    let hit = candidates.find(|c| match point.checked_sub(share(c)) {
        Some(rest) => {
            point = rest;
            false
        }
        None => true,
    });
    hit.expect("the point lies below the sum of the shares")
}

// ---------------------------------------------------------------- impl Candidate

impl<'r> Candidate<'r> {
    fn new(
        index: usize,
        target: &'r Target,
        requested: &str,
        tried: &Tried,
        now: Instant,
    ) -> Result<Self, NoTarget> {
        let (Some(provider), None) = (&target.provider, &target.unavailable) else {
            return Err(NoTarget::Unavailable);
        };
        let model = match &target.model {
            TargetModel::AsRequested => provider.model(requested),
            TargetModel::Fixed(model) => Some(model.clone()),
            TargetModel::Missing(_) => return Err(NoTarget::Unavailable),
        };
        let model = model.ok_or(NoTarget::ModelUnknown)?;
        let credential = provider.credential();
        if matches!(provider.auth, Auth::Credential { .. }) && credential.is_none() {
            return Err(NoTarget::Unavailable);
        }
        let serial = serial(credential.as_deref());
        Ok(Self {
            index,
            target,
            provider,
            ejected: model.health().ejected_until(serial, now),
            model,
            credential,
            tries: tried.0[index],
        })
    }

    fn is_rejected(&self) -> bool {
        self.credential.as_ref().is_some_and(|c| c.is_rejected())
    }

    fn takes_another_try(&self, now: Instant) -> bool {
        let after = self.provider.health.max_eject_for;
        let credential = self.credential.as_ref();
        credential.is_some_and(|c| c.takes_another_try(after, now))
    }

    fn pick(self, now: Instant) -> Pick {
        Pick {
            target: self.index,
            provider: self.provider.clone(),
            model: self.model,
            credential: self.credential,
            at: now,
        }
    }
}

// ---------------------------------------------------------------- impl Pick

impl Pick {
    /// How the try ended. True where its target is thereby ejected.
    pub fn record(&self, outcome: Outcome, now: Instant) -> bool {
        if let Some(credential) = &self.credential {
            match outcome {
                Outcome::Unauthorized => credential.reject(now),
                Outcome::Answered => credential.accept(),
                _ => {}
            }
        }
        let policy = &self.provider.health;
        let health = self.model.health();
        health.record(self.serial(), policy, self.at, outcome, now)
    }

    /// The same try with a key that was pushed after it began: after a 401 it
    /// is made once more. `None`: there is no newer one.
    pub fn renewed(&self, now: Instant) -> Option<Self> {
        let newer = self.provider.credential()?;
        let newer = (newer.serial() > self.serial() && !newer.is_rejected()).then_some(newer)?;
        Some(Self {
            credential: Some(newer),
            at: now,
            ..self.clone()
        })
    }

    fn serial(&self) -> u64 {
        serial(self.credential.as_deref())
    }
}

/// 0 where there is no key of ours: the caller's own isn't told apart.
fn serial(credential: Option<&Credential>) -> u64 {
    credential.map_or(0, Credential::serial)
}
