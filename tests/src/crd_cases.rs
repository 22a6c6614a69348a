//! The case table of `tests/crd-cases`: what the CRDs accept and refuse. Read
//! here, tried elsewhere. Its grammar is in the README beside it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One place of one object, and what may stand there.
#[derive(Debug)]
pub struct Case {
    /// The file, for messages.
    pub file: String,
    /// `LLMProvider` or `LLMRoute`.
    pub kind: String,
    /// A keyword of the schema, or `unique`, `int-or-string`, `cel`.
    pub rule: String,
    /// With `cel`: what is in the message.
    pub says: Option<String>,
    /// As the API server writes it: `spec.rules[0].name`.
    pub field: String,
    /// As the schema has it: `spec.rules[].name`.
    pub place: String,
    /// Before an update: the whole object.
    pub from: Option<Value>,
    /// Whole objects.
    pub accepted: Vec<Value>,
    /// Whole objects.
    pub refused: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    base: Value,
    cases: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    rule: String,
    says: Option<String>,
    at: Vec<String>,
    from: Option<Value>,
    accepted: Vec<Value>,
    refused: Vec<Value>,
}

/// Every case of a folder.
pub fn load(dir: &Path) -> Result<Vec<Case>> {
    let mut paths: Vec<_> = fs::read_dir(dir)?
        .map(|e| Ok(e?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    ensure!(!paths.is_empty(), "no case under {}", dir.display());
    let mut cases = Vec::new();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path)?;
        let file: File = serde_yaml::from_str(&text).with_context(|| name.clone())?;
        for row in &file.cases {
            for at in &row.at {
                cases.push(
                    case(&name, &file.base, row, at).with_context(|| format!("{name}: {at}"))?,
                );
            }
        }
    }
    Ok(cases)
}

fn case(file: &str, base: &Value, row: &Row, at: &str) -> Result<Case> {
    ensure!(
        !row.accepted.is_empty() && !row.refused.is_empty(),
        "needs both kinds of value"
    );
    ensure!(
        (row.rule == "cel") == row.says.is_some(),
        "says goes with cel"
    );
    let with = |value: &Value| -> Result<Value> {
        let mut object = base.clone();
        put(&mut object, at, grow(value))?;
        Ok(object)
    };
    Ok(Case {
        file: file.to_owned(),
        kind: base["kind"]
            .as_str()
            .context("base has no kind")?
            .to_owned(),
        rule: row.rule.clone(),
        says: row.says.clone(),
        field: field(at, |index| format!("[{index}]")),
        place: place(at),
        from: row.from.as_ref().map(with).transpose()?,
        accepted: row.accepted.iter().map(with).collect::<Result<_>>()?,
        refused: row.refused.iter().map(with).collect::<Result<_>>()?,
    })
}

/// Puts a value at a pointer, making what is missing on the way; null removes.
fn put(object: &mut Value, at: &str, value: Value) -> Result<()> {
    let mut here = object;
    let steps: Vec<_> = at
        .split('/')
        .skip(1)
        .map(|step| step.trim_matches(['{', '}']))
        .collect();
    let (last, way) = steps.split_last().context("an empty pointer")?;
    for (step, next) in way.iter().zip(steps.iter().skip(1)) {
        let empty = if index(next).is_some() {
            Value::Array(vec![])
        } else {
            Value::Object(Map::new())
        };
        here = match (index(step), here) {
            (Some(at), Value::Array(items)) => items.get_mut(at).context("base lacks that item")?,
            (None, Value::Object(members)) => members.entry(*step).or_insert(empty),
            _ => bail!("{step} isn't in the base"),
        };
    }
    match (index(last), here) {
        (Some(at), Value::Array(items)) if at < items.len() => items[at] = value,
        (Some(_), Value::Array(items)) => items.push(value),
        (None, Value::Object(members)) if value.is_null() => drop(members.remove(*last)),
        (None, Value::Object(members)) => drop(members.insert((*last).to_owned(), value)),
        _ => bail!("{last} isn't in the base"),
    }
    Ok(())
}

/// Long values are written short: `=a*3`, `{=items: 3, of: X}`, `{=members: 3, of: X}`.
fn grow(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(repeated(text)),
        Value::Array(items) => items.iter().map(grow).collect(),
        Value::Object(members) => {
            let of = members.get("of").unwrap_or(&Value::Null);
            let count = |key| members.get(key).and_then(Value::as_u64);
            if let Some(count) = count("=items") {
                (0..count).map(|i| numbered(of, i)).collect()
            } else if let Some(count) = count("=members") {
                (0..count)
                    .map(|i| (format!("k{i}"), numbered(of, i)))
                    .collect()
            } else {
                members.iter().map(|(k, v)| (k.clone(), grow(v))).collect()
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn repeated(text: &str) -> String {
    let parsed = text.split_once('=').and_then(|(before, rest)| {
        let (unit, rest) = rest.split_once('*')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at(digits);
        Some(format!(
            "{before}{}{after}",
            unit.repeat(count.parse().ok()?)
        ))
    });
    parsed.unwrap_or_else(|| text.to_owned())
}

fn numbered(value: &Value, i: u64) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('#', &i.to_string())),
        Value::Array(items) => items.iter().map(|item| numbered(item, i)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(k, v)| (k.clone(), numbered(v, i)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn index(step: &str) -> Option<usize> {
    step.parse().ok()
}

fn field(at: &str, item: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for step in at.split('/').skip(1) {
        match index(step) {
            Some(at) => text.push_str(&item(at)),
            None if text.is_empty() => text.push_str(step),
            None => text.extend([".", step.trim_matches(['{', '}'])]),
        }
    }
    text
}

fn place(at: &str) -> String {
    let braced = at.ends_with('}');
    let place = field(at, |_| "[]".to_owned());
    match place.rsplit_once('.') {
        // The values of a map have no names in a schema.
        Some((map, _)) if braced => format!("{map}{{}}"),
        _ => place,
    }
}
