//! Which matches a route lays claim to, in a form that compares: two routes
//! that say the same in another order say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use llmroute_protocol::{Match, Rule, header_match::Type};

use super::validate::ValidRoute;

/// One model with the headers that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// As written; `*` for every model.
    model: String,
    headers: BTreeSet<(String, String, bool)>,
}

/// Every claim of a route. A rule without matches claims all that nothing else does.
pub(super) fn of(route: &ValidRoute) -> BTreeSet<Claim> {
    let rules = route.rules.iter();
    rules.flat_map(|rule| of_rule(&rule.wire)).collect()
}

/// Claims of a rule that an earlier rule of the same route makes too, each with
/// what is said of it: such a match is never reached.
pub(super) fn repeated(route: &ValidRoute) -> Vec<String> {
    let mut first = BTreeMap::new();
    let mut told = Vec::new();
    for (index, rule) in route.rules.iter().enumerate() {
        for claim in of_rule(&rule.wire) {
            match first.get(&claim) {
                None => _ = first.insert(claim, &rule.wire.name),
                Some(name) => told.push(format!(
                    "spec.rules[{index}]: rule {} is never reached by {claim}: rule {name} comes first and takes it too",
                    rule.wire.name
                )),
            }
        }
    }
    told
}

fn of_rule(rule: &Rule) -> BTreeSet<Claim> {
    match rule.matches.as_slice() {
        [] => of_match(&Match::default()).collect(),
        matches => matches.iter().flat_map(of_match).collect(),
    }
}

fn of_match(match_: &Match) -> impl Iterator<Item = Claim> {
    let headers: BTreeSet<_> = match_
        .headers
        .iter()
        .map(|h| {
            (
                h.name.to_ascii_lowercase(),
                h.value.clone(),
                h.r#type() == Type::Prefix,
            )
        })
        .collect();
    let models = match match_.models.as_slice() {
        [] => vec!["*".to_owned()],
        models => models.to_vec(),
    };
    models.into_iter().map(move |model| Claim {
        model,
        headers: headers.clone(),
    })
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model.as_str() {
            "*" => write!(f, "every model")?,
            model => write!(f, "model {model}")?,
        }
        for (index, (name, value, prefix)) in self.headers.iter().enumerate() {
            let joint = if index == 0 { " with header" } else { " and" };
            let star = if *prefix { "*" } else { "" };
            write!(f, "{joint} {name}: {value}{star}")?;
        }
        Ok(())
    }
}
