//! `${NAME}` in the values of a Secret: so that a folder of manifests can be
//! committed without the keys. Nowhere else: a route that changes with the
//! shell it was started from would be a riddle.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The process's environment, taken once at the start and passed in.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

/// A variable that a Secret names and the environment lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unset {
    pub(crate) key: String,
    pub(crate) variable: String,
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(vars: I) -> Self {
        Self(vars.into_iter().collect())
    }
}

impl Environment {
    /// Fills in a Secret's `stringData`. A value whose variable is unset or
    /// empty is left out whole, as if the key weren't there: half a credential
    /// is none, and the target that needs it is then skipped for that reason.
    pub(crate) fn fill_in(&self, secret: &mut Value) -> Vec<Unset> {
        let mut unset = Vec::new();
        let Some(data) = secret.get_mut("stringData").and_then(Value::as_object_mut) else {
            return unset;
        };
        let mut filled = Map::new();
        for (key, value) in std::mem::take(data) {
            match value.as_str().map(|text| self.substitute(text)) {
                None => drop(filled.insert(key, value)),
                Some(Ok(text)) => drop(filled.insert(key, Value::String(text))),
                Some(Err(variable)) => unset.push(Unset { key, variable }),
            }
        }
        *data = filled;
        unset
    }

    /// Every `${NAME}` replaced; the name of the first that is unset otherwise.
    fn substitute(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
                // Not one of ours: a key may contain any bytes.
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            };
            let value = self
                .0
                .get(name)
                .filter(|v| !v.is_empty())
                .ok_or_else(|| name.to_owned())?;
            out.push_str(before);
            out.push_str(value);
            rest = tail;
        }
        out.push_str(rest);
        Ok(out)
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment() -> Environment {
        [
            ("KEY".to_owned(), "sk-1".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_set_variable_is_filled_in() {
        let mut secret = json!({"stringData": {"api-key": "Bearer ${KEY}!"}});
        assert_eq!(environment().fill_in(&mut secret), []);
        assert_eq!(secret["stringData"]["api-key"], "Bearer sk-1!");
    }

    #[test]
    fn an_unset_or_empty_variable_leaves_its_key_out_and_is_named() {
        for variable in ["MISSING", "EMPTY"] {
            let mut secret =
                json!({"stringData": {"api-key": format!("${{{variable}}}"), "other": "x"}});
            let unset = environment().fill_in(&mut secret);
            assert_eq!(
                unset,
                [Unset {
                    key: "api-key".into(),
                    variable: variable.into()
                }]
            );
            assert_eq!(secret["stringData"], json!({"other": "x"}));
        }
    }

    #[test]
    fn what_is_no_variable_stays_as_it_is() {
        for text in ["${", "${}", "${1X}", "$KEY", "${a b}", "${${KEY"] {
            assert_eq!(environment().substitute(text).as_deref(), Ok(text));
        }
    }
}
