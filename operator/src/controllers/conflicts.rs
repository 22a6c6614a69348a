//! Two routes with the same match: which of them, and does any pod see both?
//!
//! The sidecar decides by the same rule which one serves (the older, then the
//! lesser name); here the younger one is told. Only routes of one namespace can
//! meet. They do if one's selector contains the other's, or if there is a pod
//! that both select: selectors that merely could overlap are no conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::route::Claim;
use crate::world::{ObjectRef, PodFacts, Selector};

type Pods = BTreeMap<ObjectRef, PodFacts>;

/// An older route has the same match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    with: ObjectRef,
    claim: Claim,
}

/// Who claims what, by namespace.
#[derive(Default)]
pub(super) struct Conflicts(BTreeMap<String, Namespace>);

#[derive(Default)]
struct Namespace {
    routes: BTreeMap<String, Claimant>,
    /// By age, then name.
    claims: BTreeMap<Claim, BTreeSet<(i64, String)>>,
    /// Those with more than one claimant.
    contested: BTreeSet<Claim>,
}

struct Claimant {
    created: i64,
    selector: Selector,
    claims: BTreeSet<Claim>,
    conflict: Option<Conflict>,
}

// ----------------------------------------------------------- impl Conflicts

impl Conflicts {
    /// Takes what a route claims now, and tells whose conflicts are other than before.
    pub(super) fn set(
        &mut self,
        route: &ObjectRef,
        created: i64,
        selector: Selector,
        claims: BTreeSet<Claim>,
        pods: &Pods,
    ) -> BTreeSet<ObjectRef> {
        let namespace = self.0.entry(route.namespace.clone()).or_default();
        let mut touched = namespace.take(&route.name);
        touched.extend(namespace.put(&route.name, created, selector, claims));
        namespace.judge(&route.namespace, touched, pods)
    }

    /// A route is gone, or claims nothing any more.
    pub(super) fn remove(&mut self, route: &ObjectRef, pods: &Pods) -> BTreeSet<ObjectRef> {
        let Some(namespace) = self.0.get_mut(&route.namespace) else {
            return BTreeSet::new();
        };
        let touched = namespace.take(&route.name);
        let changed = namespace.judge(&route.namespace, touched, pods);
        if namespace.routes.is_empty() {
            self.0.remove(&route.namespace);
        }
        changed
    }

    /// A pod of `namespace` came, went or has other labels.
    pub(super) fn pods_changed(&mut self, namespace: &str, pods: &Pods) -> BTreeSet<ObjectRef> {
        let Some(claims) = self.0.get_mut(namespace) else {
            return BTreeSet::new();
        };
        let touched = claims.claimants(&claims.contested);
        claims.judge(namespace, touched, pods)
    }

    /// Why a route doesn't serve all of its matches.
    pub(super) fn of(&self, route: &ObjectRef) -> Option<&Conflict> {
        let namespace = self.0.get(&route.namespace)?;
        namespace.routes.get(&route.name)?.conflict.as_ref()
    }
}

// ----------------------------------------------------------- impl Namespace

impl Namespace {
    /// Takes a route out; returns who shared a claim with it.
    fn take(&mut self, name: &str) -> BTreeSet<String> {
        let Some(gone) = self.routes.remove(name) else {
            return BTreeSet::new();
        };
        for claim in &gone.claims {
            let Some(claimants) = self.claims.get_mut(claim) else {
                continue;
            };
            claimants.remove(&(gone.created, name.to_owned()));
            if claimants.len() < 2 {
                self.contested.remove(claim);
            }
            if claimants.is_empty() {
                self.claims.remove(claim);
            }
        }
        self.claimants(&gone.claims)
    }

    /// Puts a route in; returns who shares a claim with it, itself among them.
    fn put(
        &mut self,
        name: &str,
        created: i64,
        selector: Selector,
        claims: BTreeSet<Claim>,
    ) -> BTreeSet<String> {
        for claim in &claims {
            let claimants = self.claims.entry(claim.clone()).or_default();
            claimants.insert((created, name.to_owned()));
            if claimants.len() > 1 {
                self.contested.insert(claim.clone());
            }
        }
        let mut touched = self.claimants(&claims);
        touched.insert(name.to_owned());
        let claimant = Claimant {
            created,
            selector,
            claims,
            conflict: None,
        };
        self.routes.insert(name.to_owned(), claimant);
        touched
    }

    fn claimants(&self, claims: &BTreeSet<Claim>) -> BTreeSet<String> {
        let shared = claims.iter().filter_map(|claim| self.claims.get(claim));
        shared.flatten().map(|(_, name)| name.clone()).collect()
    }

    fn judge(
        &mut self,
        namespace: &str,
        touched: BTreeSet<String>,
        pods: &Pods,
    ) -> BTreeSet<ObjectRef> {
        let mut changed = BTreeSet::new();
        for name in touched {
            let conflict = self.conflict(namespace, &name, pods);
            let Some(route) = self.routes.get_mut(&name) else {
                continue;
            };
            if route.conflict != conflict {
                route.conflict = conflict;
                changed.insert(ObjectRef::new(namespace, name));
            }
        }
        changed
    }

    /// The oldest route that wins a match of `name`.
    fn conflict(&self, namespace: &str, name: &str, pods: &Pods) -> Option<Conflict> {
        let route = self.routes.get(name)?;
        let contested = route.claims.intersection(&self.contested);
        let older = contested.flat_map(|claim| {
            let claimants = self.claims.get(claim).into_iter().flatten();
            let own = (route.created, name.to_owned());
            let older = claimants.take_while(move |claimant| **claimant < own);
            older.map(move |(created, older)| (*created, older, claim))
        });
        let meet = |older: &str| {
            let older = self.routes.get(older);
            older.is_some_and(|older| meet(namespace, &older.selector, &route.selector, pods))
        };
        let (_, older, claim) = older.filter(|(_, older, _)| meet(older)).min()?;
        Some(Conflict {
            with: ObjectRef::new(namespace, older),
            claim: claim.clone(),
        })
    }
}

fn meet(namespace: &str, a: &Selector, b: &Selector, pods: &Pods) -> bool {
    let both = |pod: &PodFacts| a.matches(&pod.labels) && b.matches(&pod.labels);
    let of_namespace = pods.range(ObjectRef::new(namespace, "")..);
    let mut of_namespace = of_namespace.take_while(|(id, _)| id.namespace == namespace);
    a.nested(b) || of_namespace.any(|(_, pod)| pod.injected && both(pod))
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with, claim } = self;
        write!(
            f,
            "LLMRoute {with} is older and has the same match ({claim}): in pods that both select it wins that match; the others of this route serve on"
        )
    }
}
