//! Admission without an API server: the committed CRDs themselves refuse and
//! default an object, so that `llmroute run` and a cluster agree on what is
//! valid, in the same words. Rules are written once, in the CRDs.
//!
//! Core kinds have no CRD here; of them only the shape that is used is checked.

mod structural;
#[cfg(test)]
mod tests;

use kube::core::cel::{self, CompiledSchema, apply_defaults, compile_schema};
use serde_json::Value;

use super::Kind;
use structural::Structural;

/// Refusals of one object that are told; the rest would repeat them.
const MAX_REFUSALS: usize = 16;

/// The schemas of the kinds that have a CRD, compiled once.
pub(crate) struct Schemas {
    provider: Schema,
    route: Schema,
    cel: cel::Validator,
}

struct Schema {
    /// As the API server has it: for defaults.
    open_api: Value,
    structural: Structural,
    rules: CompiledSchema,
}

/// The CRDs of this build don't compile: a defect of the build, never of an object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("the CRD of {0} has no schema")]
    Absent(Kind),
    #[error("the schema of {0} doesn't compile: {1}")]
    Invalid(Kind, String),
}

// ------------------------------------------------------------- impl Schemas

impl Schemas {
    pub(crate) fn new() -> Result<Self, SchemaError> {
        Ok(Self {
            provider: Schema::new(Kind::Provider)?,
            route: Schema::new(Kind::Route)?,
            cel: cel::Validator::new(),
        })
    }

    /// What an API server would store, or the reasons why it refuses.
    pub(crate) fn admit(
        &self,
        kind: Kind,
        mut document: Value,
        old: Option<&Value>,
    ) -> Result<Value, Vec<String>> {
        let schema = match kind {
            Kind::Provider => &self.provider,
            Kind::Route => &self.route,
            Kind::Secret => return texts(document, &["data", "stringData"]),
            Kind::ConfigMap => return texts(document, &["data"]),
            Kind::Namespace => return Ok(document),
        };
        prune_nulls(&mut document);
        // Status is the operator's to write; here as in a cluster it is dropped.
        if let Some(object) = document.as_object_mut() {
            object.remove("status");
        }
        let mut refusals = schema.structural.refusals(&document);
        if !refusals.is_empty() {
            refusals.truncate(MAX_REFUSALS);
            return Err(refusals);
        }
        let document = apply_defaults(&schema.open_api, &document);
        match self.cel.validate_compiled(&schema.rules, &document, old) {
            Ok(()) => Ok(document),
            Err(errors) => Err(errors
                .into_vec()
                .into_iter()
                .take(MAX_REFUSALS)
                .map(|e| format!("{}: {}", e.field_path, e.message))
                .collect()),
        }
    }
}

// -------------------------------------------------------------- impl Schema

impl Schema {
    fn new(kind: Kind) -> Result<Self, SchemaError> {
        let crd = match kind {
            Kind::Provider => llmroute_crds::provider_crd(),
            _ => llmroute_crds::route_crd(),
        };
        let open_api = crd
            .spec
            .versions
            .into_iter()
            .next()
            .and_then(|v| v.schema)
            .and_then(|s| s.open_api_v3_schema)
            .ok_or(SchemaError::Absent(kind))?;
        let invalid = |message: String| SchemaError::Invalid(kind, message);
        let open_api = serde_json::to_value(open_api).map_err(|e| invalid(e.to_string()))?;
        let structural = Structural::new(open_api.clone()).map_err(invalid)?;
        let rules = compile_schema(&open_api);
        if let Some(error) = rules.compilation_errors().first() {
            return Err(invalid(error.to_string()));
        }
        Ok(Self {
            open_api,
            structural,
            rules,
        })
    }
}

/// A `null` member is an absent one to the API server.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The values of a Secret or ConfigMap are texts. The message names the key and
/// never shows the value: it may be a credential.
fn texts(document: Value, fields: &[&str]) -> Result<Value, Vec<String>> {
    let mut refusals = Vec::new();
    for field in fields {
        match document.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(members)) => refusals.extend(
                members
                    .iter()
                    .filter(|(_, value)| !value.is_string())
                    .map(|(name, _)| format!("{field}.{name}: must be a string: put it in quotes")),
            ),
            Some(_) => refusals.push(format!("{field}: must be a map of strings")),
        }
    }
    if refusals.is_empty() {
        Ok(document)
    } else {
        Err(refusals)
    }
}
