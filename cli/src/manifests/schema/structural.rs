//! The structural part of a CRD's schema over one object, in the API server's
//! words, each refusal with its cure: types, bounds, patterns, enums, required
//! and unknown members, list sets and maps.
//!
//! Not JSON Schema: only what a CRD may say, with Kubernetes' extensions. The
//! one difference is meant: an unknown member is refused, as `kubectl` asks the
//! API server to, and not pruned.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

mod value;

use value::{named, nearest, shown};

/// A schema with its patterns compiled.
pub(super) struct Structural {
    schema: Value,
    patterns: HashMap<String, Regex>,
}

/// One object under one schema.
struct Walk<'a> {
    patterns: &'a HashMap<String, Regex>,
    refusals: Vec<String>,
}

// ---------------------------------------------------------- impl Structural

impl Structural {
    /// `Err` names a pattern that is none.
    pub(super) fn new(mut schema: Value) -> Result<Self, String> {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            for (name, kind) in [
                ("apiVersion", "string"),
                ("kind", "string"),
                ("metadata", "object"),
            ] {
                properties.insert(
                    name.to_owned(),
                    serde_json::json!({ "type": kind, OPEN: true }),
                );
            }
        }
        let mut patterns = HashMap::new();
        compile(&schema, &mut patterns)?;
        Ok(Self { schema, patterns })
    }

    /// Why the API server would refuse the object, as far as structure goes.
    pub(super) fn refusals(&self, object: &Value) -> Vec<String> {
        let mut walk = Walk {
            patterns: &self.patterns,
            refusals: Vec::new(),
        };
        walk.value(&self.schema, object, "");
        walk.refusals
    }
}

/// Kubernetes' mark for an object whose members aren't known.
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

fn compile(schema: &Value, patterns: &mut HashMap<String, Regex>) -> Result<(), String> {
    match schema {
        Value::Object(members) => {
            if let Some(pattern) = members.get("pattern").and_then(Value::as_str) {
                let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
                patterns.insert(pattern.to_owned(), regex);
            }
            members
                .values()
                .try_for_each(|member| compile(member, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|item| compile(item, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

// ---------------------------------------------------------------- impl Walk

impl Walk<'_> {
    fn refuse(&mut self, path: &str, what: &str) {
        self.refusals.push(format!("{path}: {what}"));
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &str) {
        if !self.of_type(schema, value, path) {
            return;
        }
        self.one_of(schema, value, path);
        match value {
            Value::String(text) => self.text(schema, text, path),
            Value::Number(_) => self.number(schema, value, path),
            Value::Array(items) => self.list(schema, items, path),
            Value::Object(members) => self.object(schema, members, path),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn of_type(&mut self, schema: &Value, value: &Value, path: &str) -> bool {
        let (wanted, fits) = match schema["type"].as_str() {
            Some("string") => ("string", value.is_string()),
            Some("integer") => ("integer", value.is_i64() || value.is_u64()),
            Some("boolean") => ("boolean", value.is_boolean()),
            Some("array") => ("array", value.is_array()),
            Some("object") => ("object", value.is_object()),
            _ if schema["x-kubernetes-int-or-string"] == true => (
                "integer or string",
                value.is_string() || value.is_i64() || value.is_u64(),
            ),
            _ => return true,
        };
        if !fits {
            let cure = match (wanted, value) {
                ("string", Value::Number(_) | Value::Bool(_)) => ": put it in quotes",
                ("integer or string", Value::Number(_)) => {
                    ": put a decimal in quotes, so that it is exact"
                }
                ("array", _) => ": write a list, [...] or one '- ' a line",
                ("object", _) => ": write members, one 'name: value' a line",
                _ => "",
            };
            let found = shown(value);
            self.refuse(
                path,
                &format!(
                    "Invalid value: {found}: must be of type {wanted}, not {}{cure}",
                    named(value)
                ),
            );
        }
        fits
    }

    fn one_of(&mut self, schema: &Value, value: &Value, path: &str) {
        let Some(options) = schema["enum"].as_array() else {
            return;
        };
        if !options.contains(value) {
            let options: Vec<_> = options.iter().map(ToString::to_string).collect();
            let options = options.join(", ");
            self.refuse(
                path,
                &format!(
                    "Unsupported value: {}: supported values: {options}",
                    shown(value)
                ),
            );
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        let found = shown(&Value::from(text));
        if let Some(most) = schema["maxLength"]
            .as_u64()
            .filter(|&most| count(text.chars()) > most)
        {
            self.refuse(
                path,
                &format!("Too long: may not be more than {most} characters"),
            );
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self
                .patterns
                .get(pattern)
                .is_some_and(|regex| !regex.is_match(text))
        {
            let cure = llmroute_crds::cure(pattern).unwrap_or_default();
            self.refuse(
                path,
                &format!("Invalid value: {found}: should match {pattern}: {cure}"),
            );
        }
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str) {
        // Bounds are floats in the types of the API; all of ours are whole.
        let bound = |keyword: &str| schema[keyword].as_f64();
        let Some(number) = value.as_f64() else { return };
        for (outside, word, bound) in [
            (
                bound("minimum").filter(|&least| number < least),
                "greater",
                bound("minimum"),
            ),
            (
                bound("maximum").filter(|&most| number > most),
                "less",
                bound("maximum"),
            ),
        ] {
            if let (Some(_), Some(bound)) = (outside, bound) {
                self.refuse(
                    path,
                    &format!("Invalid value: {value}: should be {word} than or equal to {bound}"),
                );
            }
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], path: &str) {
        let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        let found = count(items);
        if let Some(most) = most.filter(|&most| found > most) {
            self.refuse(
                path,
                &format!("Too many: {found}: must have at most {most} items"),
            );
            return;
        }
        if let Some(least) = least.filter(|&least| found < least) {
            self.refuse(
                path,
                &format!("Invalid value: {found}: should have at least {least} items: add one"),
            );
        }
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(key) = key_of(schema, item)
                && items[..index]
                    .iter()
                    .any(|other| key_of(schema, other) == Some(key.clone()))
            {
                self.refuse(
                    &path,
                    &format!("Duplicate value: {key}: each may stand here once"),
                );
            }
            self.value(&schema["items"], item, &path);
        }
    }

    fn object(&mut self, schema: &Value, members: &Map<String, Value>, path: &str) {
        let within = |name: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        if schema[OPEN] == true {
            return;
        }
        if let Some(most) = schema["maxProperties"]
            .as_u64()
            .filter(|&most| count(members) > most)
        {
            self.refuse(
                path,
                &format!(
                    "Too many: {}: must have at most {most} items",
                    members.len()
                ),
            );
        }
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !members.contains_key(name) {
                self.refuse(&within(name), "Required value: add it");
            }
        }
        let known = schema["properties"].as_object();
        for (name, member) in members {
            let inner = known
                .and_then(|known| known.get(name))
                .or_else(|| schema.get("additionalProperties"));
            if let Some(inner) = inner {
                self.value(inner, member, &within(name));
                continue;
            }
            let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
            let cure = nearest(name, names).map_or_else(
                || "remove it".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            self.refuse(&within(name), &format!("unknown field: {cure}"));
        }
    }
}

/// What makes an item of a set or a list map the same as another.
fn key_of(schema: &Value, item: &Value) -> Option<Value> {
    match schema["x-kubernetes-list-type"].as_str()? {
        "set" => Some(item.clone()),
        "map" => {
            let keys = schema["x-kubernetes-list-map-keys"]
                .as_array()?
                .iter()
                .filter_map(Value::as_str);
            let members =
                keys.map(|key| (key.to_owned(), item.get(key).cloned().unwrap_or_default()));
            Some(Value::Object(members.collect()))
        }
        _ => None,
    }
}

fn count(items: impl IntoIterator) -> u64 {
    u64::try_from(items.into_iter().count()).unwrap_or(u64::MAX)
}
