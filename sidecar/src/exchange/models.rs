//! `GET /models`: what this pod may call.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::Exchange;
use crate::dialect::openai::{ListedModel, model_body, models_body};
use crate::error::ApiError;
use crate::table::{Found, Table};

/// Whose the models are, for clients that group by it.
const OWNER: &str = "llmroute";
/// Names in an error's text: enough to see a slip of the pen.
const SHOWN: usize = 20;
/// Bytes of the asked-for name in an error's text.
const SHOWN_BYTES: usize = 128;

/// All of them.
pub(super) fn list(exchange: &Exchange, headers: &HeaderMap) -> Result<Bytes, ApiError> {
    let table = exchange.config.table();
    if matches!(table.find("", headers), Found::NoConfig) {
        return Err(ApiError::NoConfig);
    }
    let names = table.models();
    let models = names.iter().map(|name| {
        let found = table.find(name, headers);
        listed(name, &found)
    });
    Ok(models_body(&models.collect::<Vec<_>>()))
}

/// One of them, which may be one that only a wildcard takes.
pub(super) fn one(exchange: &Exchange, headers: &HeaderMap, name: &str) -> Result<Bytes, ApiError> {
    let table = exchange.config.table();
    match table.find(name, headers) {
        found @ Found::Rule(_) => Ok(model_body(&listed(name, &found))),
        found => Err(not_found(&table, &found, name)),
    }
}

/// The limits are the least of the targets': whichever serves, they hold.
fn listed<'a>(name: &'a str, found: &Found) -> ListedModel<'a> {
    let rule = match found {
        Found::Rule(rule) => Some(rule),
        _ => None,
    };
    let models = rule.into_iter().flat_map(|rule| &rule.targets);
    let models = models.filter_map(|target| target.resolve(name));
    let (mut context_window, mut max_output_tokens) = (None, None);
    for model in models {
        least(&mut context_window, model.context_tokens);
        least(&mut max_output_tokens, model.max_output_tokens);
    }
    ListedModel {
        id: name,
        owned_by: OWNER,
        context_window,
        max_output_tokens,
    }
}

/// 0 says nothing.
fn least(so_far: &mut Option<u64>, limit: u64) {
    if limit > 0 {
        *so_far = Some(so_far.map_or(limit, |least| least.min(limit)));
    }
}

/// Why no rule was found.
pub(super) fn not_found(table: &Table, found: &Found, model: &str) -> ApiError {
    match found {
        Found::Rule(_) => ApiError::Internal,
        Found::Poisoned(route) => ApiError::RouteInvalid {
            route: Arc::from(route.key.as_str()),
        },
        Found::NoRoute => ApiError::NoRoute,
        Found::NoConfig => ApiError::NoConfig,
        Found::UnknownModel => ApiError::ModelNotFound {
            model: cut(model).into(),
            models: names(table).into(),
        },
    }
}

fn names(table: &Table) -> String {
    let all = table.models();
    let mut names = all
        .iter()
        .take(SHOWN)
        .map(|name| &**name)
        .collect::<Vec<_>>();
    if names.is_empty() {
        return "none".into();
    }
    if all.len() > SHOWN {
        names.push("… (GET /v1/models)");
    }
    names.join(", ")
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(SHOWN_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_that_is_known_holds() {
        let mut limit = None;
        for (told, then) in [
            (0, None),
            (200_000, Some(200_000)),
            (0, Some(200_000)),
            (128_000, Some(128_000)),
            (1_000_000, Some(128_000)),
        ] {
            least(&mut limit, told);
            assert_eq!(limit, then, "after {told}");
        }
    }
}
