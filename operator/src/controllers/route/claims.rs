//! Which matches a route lays claim to, in a form that compares: two routes
//! that say the same in another order say the same.

use std::collections::BTreeSet;
use std::fmt;

use llmroute_protocol::{Match, header_match::Type};

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
    let catch_all = [Match::default()];
    let mut claims = BTreeSet::new();
    for rule in &route.rules {
        let matches = match rule.wire.matches.as_slice() {
            [] => &catch_all[..],
            matches => matches,
        };
        claims.extend(matches.iter().flat_map(of_match));
    }
    claims
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
