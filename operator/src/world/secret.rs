//! A Secret that a user labelled for us. It has no `Debug` of its values.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use zeroize::Zeroizing;

use super::ObjectRef;

/// The operator sees no Secret without this label, with the value `true`.
pub const CREDENTIAL_LABEL: &str = "llmroute.dev/credential";

/// What a labelled Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFacts {
    /// Which one.
    pub id: ObjectRef,
    data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

// -------------------------------------------------------- impl SecretFacts

impl SecretFacts {
    /// Of values that are at hand.
    pub fn new(id: ObjectRef, data: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let data = data
            .into_iter()
            .map(|(key, value)| (key, Zeroizing::new(value)))
            .collect();
        Self { id, data }
    }

    /// `None` for a Secret without our label: to us it doesn't exist.
    pub fn from_secret(secret: Secret) -> Option<Self> {
        let labels = secret.metadata.labels.unwrap_or_default();
        if labels.get(CREDENTIAL_LABEL).is_none_or(|v| v != "true") {
            return None;
        }
        let id = ObjectRef::new(secret.metadata.namespace?, secret.metadata.name?);
        let data = secret.data.into_iter().flatten().map(|(k, v)| (k, v.0));
        // Only files have it; as the API server would, it wins over `data`.
        let text = secret.string_data.into_iter().flatten();
        Some(Self::new(
            id,
            data.chain(text.map(|(k, v)| (k, v.into_bytes()))),
        ))
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|value| value.as_slice())
    }

    /// The names of its entries.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.keys().map(String::as_str)
    }
}

impl fmt::Debug for SecretFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, data } = self;
        f.debug_struct("SecretFacts")
            .field("id", id)
            .field("keys", &data.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(label: &str) -> Option<SecretFacts> {
        let manifest = json!({
            "metadata": {"name": "openai", "namespace": "shop", "labels": {CREDENTIAL_LABEL: label}},
            "data": {"api-key": "c2stcGxhbnRlZA=="},
            "stringData": {"other": "sk-planted-too"},
        });
        SecretFacts::from_secret(serde_json::from_value(manifest).expect("a Secret"))
    }

    #[test]
    fn without_the_label_there_is_no_secret() {
        assert!(secret("true").is_some());
        assert!(secret("yes").is_none());
    }

    #[test]
    fn both_kinds_of_data_are_read_and_neither_is_shown() {
        let secret = secret("true").expect("labelled");
        assert_eq!(secret.get("api-key"), Some(b"sk-planted".as_slice()));
        assert_eq!(secret.get("other"), Some(b"sk-planted-too".as_slice()));
        let shown = format!("{secret:?}");
        assert!(
            shown.contains("api-key") && !shown.contains("planted"),
            "{shown}"
        );
        assert!(!shown.contains("115, 107"), "{shown}");
    }
}
