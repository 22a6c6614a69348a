//! Admission without an API server: the committed CRDs themselves refuse and
//! default an object, so that `llmroute run` and a cluster agree on what is
//! valid, in the same words. Rules are written once, in the CRDs.
//!
//! Core kinds have no CRD here; of them only the shape that is used is checked.

use jsonschema::Validator;
use kube::core::cel::{self, CompiledSchema, apply_defaults, compile_schema};
use serde_json::{Map, Value, json};

use super::Kind;

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
    /// Closed: a field that the schema doesn't name is refused, not pruned. A
    /// typo on a laptop should be seen.
    closed: Validator,
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
        let mut refusals: Vec<String> = schema
            .closed
            .iter_errors(&document)
            .take(MAX_REFUSALS)
            .map(|e| format!("{}: {e}", dotted(e.instance_path().as_str())))
            .collect();
        refusals.extend(repeated_keys(&schema.open_api, &document));
        if !refusals.is_empty() {
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
        let mut closed = open_api.clone();
        close(&mut closed);
        if let Some(properties) = closed.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("apiVersion".into(), json!({"type": "string"}));
            properties.insert("kind".into(), json!({"type": "string"}));
            properties.insert("metadata".into(), json!({"type": "object"}));
        }
        let closed =
            jsonschema::options().build(&closed).map_err(|e| invalid(e.to_string()))?;
        let rules = compile_schema(&open_api);
        if let Some(error) = rules.compilation_errors().first() {
            return Err(invalid(error.to_string()));
        }
        Ok(Self { open_api, closed, rules })
    }
}

/// Kubernetes' extensions in the words of JSON Schema: unknown fields refused,
/// int-or-string typed, sets unique.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let set = |object: &mut Map<String, Value>, name: &str, value: Value| {
        object.entry(name).or_insert(value);
    };
    if object.contains_key("properties") {
        set(object, "additionalProperties", Value::Bool(false));
    }
    if object.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        set(object, "type", json!(["integer", "string"]));
    }
    if object.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set") {
        set(object, "uniqueItems", Value::Bool(true));
    }
    for name in ["properties"] {
        if let Some(children) = object.get_mut(name).and_then(Value::as_object_mut) {
            children.values_mut().for_each(close);
        }
    }
    for name in ["items", "additionalProperties"] {
        object.get_mut(name).into_iter().for_each(close);
    }
}

/// Items of a list map that share their key: the API server's check, which JSON
/// Schema can't say.
fn repeated_keys(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk_keys(schema, value, String::new(), &mut found);
    found
}

fn walk_keys(schema: &Value, value: &Value, path: String, found: &mut Vec<String>) {
    if let (Some(properties), Some(members)) =
        (schema.get("properties").and_then(Value::as_object), value.as_object())
    {
        for (name, member) in members {
            if let Some(child) = properties.get(name) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk_keys(child, member, path, found);
            }
        }
    }
    let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) else { return };
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (index, item) in list.iter().enumerate() {
        let same = |other: &Value| keys.iter().all(|&key| other.get(key) == item.get(key));
        if !keys.is_empty() && list[..index].iter().any(same) {
            found.push(format!("{path}[{index}]: Duplicate value of {}", keys.join(", ")));
        }
        walk_keys(items, item, format!("{path}[{index}]"), found);
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
                    .map(|(name, _)| format!("{field}.{name}: must be a string; put it in quotes")),
            ),
            Some(_) => refusals.push(format!("{field}: must be a map of strings")),
        }
    }
    if refusals.is_empty() { Ok(document) } else { Err(refusals) }
}

/// `/spec/rules/0/name` in the words of the API server: `spec.rules[0].name`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
            path.push('[');
            path.push_str(part);
            path.push(']');
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(part);
        }
    }
    path
}
