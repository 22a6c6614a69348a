//! `GET /models`: what this pod may call.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::Exchange;
use crate::dialect::openai::{model_body, models_body};
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
    let models = table.models();
    Ok(models_body(models.iter().map(|name| (&**name, OWNER))))
}

/// One of them, which may be one that only a wildcard takes.
pub(super) fn one(exchange: &Exchange, headers: &HeaderMap, name: &str) -> Result<Bytes, ApiError> {
    let table = exchange.config.table();
    match table.find(name, headers) {
        Found::Rule(_) => Ok(model_body(name, OWNER)),
        found => Err(not_found(&table, &found, name)),
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
