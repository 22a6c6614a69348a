//! Values and names as a message shows them.

use serde_json::Value;

/// A message shows so many characters of a value.
const SHOWN: usize = 80;

/// The value, shortened. Secrets never come here: they have no CRD.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => named(value).to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() <= SHOWN => value.to_string(),
        Value::String(text) => {
            let head: String = text.chars().take(SHOWN).collect();
            format!("{}…", Value::from(head))
        }
    }
}

/// What kind of value it is, in the words of a schema.
pub(super) fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The known name that was probably meant: at most two letters off, case aside.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const FAR: usize = 3;
    if name.len() > 64 {
        return None;
    }
    known
        .map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|&(distance, known)| distance < FAR.min(known.len()))
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let kept = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_field_that_was_meant() {
        let known = ["baseURL", "insecure", "caBundleRef"];
        assert_eq!(nearest("baseUrl", known.into_iter()), Some("baseURL"));
        assert_eq!(nearest("insecrue", known.into_iter()), Some("insecure"));
        assert_eq!(nearest("region", known.into_iter()), None);
    }

    #[test]
    fn a_long_value_is_shortened() {
        let long = shown(&Value::from("a".repeat(500)));
        assert!(long.len() < 100 && long.ends_with('…'), "{long}");
    }
}
