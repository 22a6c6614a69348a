//! What is said of a route: pure of what was built, what the connected sidecars
//! answered, and now.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use llmroute_crds::route::{self as crd, RouteSummary};
use llmroute_crds::{LLMRouteStatus, condition, reason};
use llmroute_protocol::Kind;

use super::{Good, RouteState, claims};
use crate::controllers::conditions::{Status, Verdict, settle, whole_seconds, with_ready};
use crate::controllers::conflicts::Conflict;
use crate::controllers::refusal::{joined, told};
use crate::controllers::{Dataplane, Rejection};
use crate::world::ObjectRef;

/// Models that the column shows before it counts.
const SHOWN_MODELS: usize = 3;
/// A sample is cut here: sidecars wrote it.
const MAX_SAMPLE: usize = 256;

/// What a status is made of, besides the state.
pub(crate) struct Pushed<'a> {
    pub(crate) id: &'a ObjectRef,
    pub(crate) conflict: Option<&'a Conflict>,
    pub(crate) dataplane: &'a Dataplane,
}

/// The whole status.
pub(crate) fn status(
    state: &RouteState,
    previous: &LLMRouteStatus,
    pushed: &Pushed<'_>,
    now: Timestamp,
) -> LLMRouteStatus {
    let dataplane = pushed.dataplane;
    let verdicts = vec![
        accepted(state, pushed.conflict),
        resolved(state),
        programmed(state, pushed),
    ];
    LLMRouteStatus {
        observed_generation: Some(state.generation),
        conditions: settle(
            with_ready(verdicts),
            &previous.conditions,
            state.generation,
            now,
        ),
        dataplane: Some(crd::Dataplane {
            connected: dataplane.connected,
            acked: dataplane.acked,
            rejected: dataplane.rejected,
            stale: dataplane.stale,
            version: state.push.resource.version.clone(),
        }),
        summary: Some(RouteSummary {
            models: models(state),
            sidecars: format!("{}/{}", using(state, dataplane), dataplane.connected),
        }),
        rejections: samples(state, pushed),
    }
}

/// How many sidecars use the generation that the object has now: what they
/// acknowledged of a refused one is an older version.
fn using(state: &RouteState, dataplane: &Dataplane) -> u32 {
    match &state.accepted {
        Ok(()) => dataplane.acked,
        Err(_) => 0,
    }
}

fn accepted(state: &RouteState, conflict: Option<&Conflict>) -> Verdict {
    let of = |status, reason, message| Verdict::new(condition::ACCEPTED, status, reason, message);
    match (&state.accepted, conflict) {
        (Err(refusals), _) => {
            let message = told(refusals) + &in_force(state);
            of(Status::False, reason::INVALID, message)
        }
        (Ok(()), Some(conflict)) => of(Status::False, reason::CONFLICTED, conflict.to_string()),
        (Ok(()), None) => of(Status::True, reason::ACCEPTED, never_reached(state)),
    }
}

/// No mistake, but hardly meant.
fn never_reached(state: &RouteState) -> String {
    let good = state.good.as_ref();
    let repeated = good.map(|good| claims::repeated(&good.valid));
    let repeated = repeated.unwrap_or_default();
    let count = repeated.len();
    joined(repeated.into_iter(), count)
}

fn resolved(state: &RouteState) -> Verdict {
    let of = |status, reason, message: String| {
        Verdict::new(condition::RESOLVED_REFS, status, reason, message)
    };
    if state.good.is_none() {
        let message = "not looked at: the object isn't accepted".to_owned();
        return of(Status::Unknown, reason::PENDING, message);
    }
    if let Some(first) = state.unresolved.first() {
        let messages = state.unresolved.iter().map(|u| u.message.clone());
        return of(
            Status::False,
            first.reason,
            joined(messages, state.unresolved.len()),
        );
    }
    if state.unpriced.is_empty() {
        return of(Status::True, reason::RESOLVED_REFS, String::new());
    }
    // Nothing needs the price yet, but it should not be missed by surprise.
    let unpriced = joined(state.unpriced.iter().cloned(), state.unpriced.len());
    of(
        Status::True,
        reason::PRICE_MISSING,
        format!(
            "no price is known for {unpriced}: calls are metered in tokens but not in money; set spec.models[].price of the LLMProvider"
        ),
    )
}

fn programmed(state: &RouteState, pushed: &Pushed<'_>) -> Verdict {
    let of = |status, reason, message: String| {
        Verdict::new(condition::PROGRAMMED, status, reason, message)
    };
    let Dataplane {
        connected,
        acked,
        rejected,
        stale,
        rejections: _,
    } = *pushed.dataplane;
    if state.accepted.is_err() {
        let message = format!("not pushed: the object isn't accepted{}", in_force(state));
        return of(Status::False, reason::REJECTED, message);
    }
    if connected == 0 {
        let message = "no sidecar is connected whose pod the route selects".to_owned();
        return of(Status::Unknown, reason::NO_SIDECARS, message);
    }
    let count = format!("{acked} of {connected} sidecars use this generation");
    if rejected == connected {
        let message = format!("{count}; all refused it{}", first_sample(state, pushed));
        return of(Status::False, reason::REJECTED, message);
    }
    if rejected > 0 || stale > 0 {
        let first = first_sample(state, pushed);
        let message =
            format!("{count}; {rejected} refused it, {stale} did not answer for 30 s{first}");
        return of(Status::False, reason::PARTIALLY_PROGRAMMED, message);
    }
    if acked < connected {
        return of(Status::False, reason::PENDING, count);
    }
    of(Status::True, reason::PROGRAMMED, count)
}

/// One of the refusals, for who reads only the condition.
fn first_sample(state: &RouteState, pushed: &Pushed<'_>) -> String {
    let samples = samples(state, pushed);
    let text = |s: &crd::Rejection| format!("; pod {}: {}: {}", s.pod, s.path, s.message);
    samples.first().map(text).unwrap_or_default()
}

/// What serves on while the newest generation doesn't.
fn in_force(state: &RouteState) -> String {
    let good = state.good.as_ref();
    let text = |good: &Good| format!("; generation {} is still in force", good.generation);
    good.map(text).unwrap_or_default()
}

/// What the route matches, for a column: the first few, then how many more.
fn models(state: &RouteState) -> String {
    let mut names: Vec<&str> = Vec::new();
    for rule in state.good.iter().flat_map(|good| &good.valid.rules) {
        let lists = rule.wire.matches.iter().map(|m| m.models.as_slice());
        let lists = lists.chain(rule.wire.matches.is_empty().then_some(&[][..]));
        for list in lists {
            names.extend(list.iter().map(String::as_str));
            names.extend(list.is_empty().then_some("*"));
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    let more = names.len().saturating_sub(SHOWN_MODELS);
    names.truncate(SHOWN_MODELS);
    let shown = names.join(",");
    let shown = if more == 0 {
        shown
    } else {
        format!("{shown},+{more}")
    };
    shown.chars().take(MAX_SAMPLE).collect()
}

fn samples(state: &RouteState, pushed: &Pushed<'_>) -> Vec<crd::Rejection> {
    let mut rejections: Vec<&Rejection> = pushed.dataplane.rejections.iter().collect();
    rejections.sort_by(|a, b| (&a.pod, &a.resource, &a.path).cmp(&(&b.pod, &b.resource, &b.path)));
    let samples = rejections.into_iter().take(Dataplane::SAMPLES);
    samples
        .map(|rejection| sample(state, pushed.id, rejection))
        .collect()
}

fn sample(state: &RouteState, id: &ObjectRef, rejection: &Rejection) -> crd::Rejection {
    let Rejection {
        pod,
        resource,
        path,
        message,
        at,
    } = rejection;
    let own = resource.kind == Kind::Route && resource.name == id.to_string();
    let of_other = || format!("{} {}: ", kind(resource.kind), resource.name);
    let prefix = if own { String::new() } else { of_other() };
    crd::Rejection {
        pod: pod.clone(),
        rule: if own {
            rule(state, path)
        } else {
            String::new()
        },
        path: path.chars().take(MAX_SAMPLE).collect(),
        message: prefix + &message.chars().take(MAX_SAMPLE).collect::<String>(),
        time: Time(whole_seconds(*at)),
    }
}

/// The name of the rule that a path leads into.
fn rule(state: &RouteState, path: &str) -> String {
    let index = path
        .strip_prefix("spec.rules[")
        .and_then(|rest| rest.split(']').next());
    let index: Option<usize> = index.and_then(|index| index.parse().ok());
    let good = state.good.as_ref();
    let rule = good
        .zip(index)
        .and_then(|(good, index)| good.valid.rules.get(index));
    rule.map(|rule| rule.wire.name.clone()).unwrap_or_default()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Route => "LLMRoute",
        Kind::Provider => "LLMProvider",
        Kind::Credential => "credential of LLMProvider",
        Kind::Global => "global",
        Kind::Unspecified => "resource",
    }
}
