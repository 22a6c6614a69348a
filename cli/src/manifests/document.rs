//! One YAML document: which object it is, before anything is checked.

use std::fmt;

use serde_json::Value;

/// The kinds that mean something to `llmroute run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespace,
    ConfigMap,
    Secret,
    Provider,
    Route,
}

/// Names one object among all files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) kind: Kind,
    /// Empty for a `Namespace`.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Why a document is no object that can be taken.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("{0} is missing: every manifest needs apiVersion, kind and metadata.name")]
    Missing(&'static str),
    #[error("apiVersion {found:?} of a {kind} isn't served; write {wanted:?}")]
    ApiVersion {
        kind: Kind,
        found: String,
        wanted: &'static str,
    },
    #[error(
        "metadata.{field} {value:?} isn't a name: use at most 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends"
    )]
    Name { field: &'static str, value: String },
}

// ---------------------------------------------------------------- impl Kind

impl Kind {
    /// The kind of a document, or `None` where it means nothing here: a folder
    /// may hold Deployments and Services beside ours.
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("", "Namespace") => Some(Self::Namespace),
            ("", "ConfigMap") => Some(Self::ConfigMap),
            ("", "Secret") => Some(Self::Secret),
            ("llmroute.dev", "LLMProvider") => Some(Self::Provider),
            ("llmroute.dev", "LLMRoute") => Some(Self::Route),
            _ => None,
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ConfigMap | Self::Secret => "v1",
            Self::Provider | Self::Route => "llmroute.dev/v1alpha1",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespace",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Provider => "LLMProvider",
            Self::Route => "LLMRoute",
        })
    }
}

// ----------------------------------------------------------- impl ObjectKey

impl ObjectKey {
    /// The key of a document, its namespace defaulted. `None`: a kind that
    /// means nothing here.
    pub(crate) fn of(
        document: &Value,
        default_namespace: &str,
    ) -> Result<Option<Self>, DocumentError> {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").ok_or(DocumentError::Missing("apiVersion"))?;
        let kind = text("/kind").ok_or(DocumentError::Missing("kind"))?;
        let Some(kind) = Kind::of(api_version, kind) else {
            return Ok(None);
        };
        if api_version != kind.api_version() {
            let (found, wanted) = (api_version.to_owned(), kind.api_version());
            return Err(DocumentError::ApiVersion {
                kind,
                found,
                wanted,
            });
        }
        let name = text("/metadata/name").ok_or(DocumentError::Missing("metadata.name"))?;
        let namespace = match kind {
            Kind::Namespace => "",
            _ => text("/metadata/namespace").unwrap_or(default_namespace),
        };
        for (field, value) in [("name", name), ("namespace", namespace)] {
            let absent = value.is_empty() && field == "namespace";
            if !absent && !is_dns_name(value) {
                return Err(DocumentError::Name {
                    field,
                    value: value.chars().take(64).collect(),
                });
            }
        }
        Ok(Some(Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        match namespace.as_str() {
            "" => write!(f, "{kind} {name}"),
            _ => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// RFC 1123: what the API server takes as a name.
pub(crate) fn is_dns_name(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !value.is_empty()
        && value.len() <= 253
        && value.split('.').all(|label| {
            let label = label.as_bytes();
            label.first().is_some_and(|&b| inner(b))
                && label.last().is_some_and(|&b| inner(b))
                && label.iter().all(|&b| inner(b) || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespace_is_defaulted_and_an_own_one_kept() {
        let route = |metadata: Value| json!({"apiVersion": "llmroute.dev/v1alpha1", "kind": "LLMRoute", "metadata": metadata});
        let key = |v: &Value| {
            ObjectKey::of(v, "default")
                .expect("a document")
                .expect("our kind")
                .to_string()
        };
        assert_eq!(
            key(&route(json!({"name": "chat"}))),
            "LLMRoute default/chat"
        );
        assert_eq!(
            key(&route(json!({"name": "chat", "namespace": "shop"}))),
            "LLMRoute shop/chat"
        );
    }

    #[test]
    fn a_foreign_kind_is_passed_over() {
        let foreign =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        assert_eq!(ObjectKey::of(&foreign, "default"), Ok(None));
    }

    #[test]
    fn a_wrong_version_of_our_kind_says_which_is_served() {
        let old =
            json!({"apiVersion": "llmroute.dev/v1", "kind": "LLMRoute", "metadata": {"name": "x"}});
        let error = ObjectKey::of(&old, "default")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("llmroute.dev/v1alpha1"), "{error}");
    }

    #[test]
    fn a_document_without_a_name_says_so() {
        let error = ObjectKey::of(&json!({"apiVersion": "v1", "kind": "Secret"}), "default");
        assert_eq!(error, Err(DocumentError::Missing("metadata.name")));
        let bad = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "No Name"}});
        assert!(matches!(
            ObjectKey::of(&bad, "default"),
            Err(DocumentError::Name { .. })
        ));
    }
}
