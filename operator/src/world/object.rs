//! An object of one of our kinds, as it came.

use std::fmt;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

/// Names an object of a kind that the context gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An `LLMProvider` or `LLMRoute`, nothing of it read yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which one.
    pub id: ObjectRef,
    /// Of this life of the name.
    pub uid: String,
    /// Grows with each change of `spec`.
    pub generation: i64,
    /// The older of two routes wins a match.
    pub created: Timestamp,
    /// `Null` where there is none.
    pub spec: Value,
    /// As last seen: what a condition's `lastTransitionTime` carries on from.
    pub status: Option<Value>,
}

// ---------------------------------------------------------- impl ObjectRef

impl ObjectRef {
    /// `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Reads `namespace/name`, as resources are called on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Some(Self::new(namespace, name))
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// ------------------------------------------------------------- impl Object

impl Object {
    /// What a watch delivers; `None` without a name, which no API server sends.
    pub fn from_dynamic(object: DynamicObject) -> Option<Self> {
        let DynamicObject {
            types: _,
            metadata,
            mut data,
        } = object;
        let id = ObjectRef::new(metadata.namespace?, metadata.name?);
        Some(Self {
            id,
            uid: metadata.uid.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata
                .creation_timestamp
                .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            spec: data.get_mut("spec").map_or(Value::Null, Value::take),
            status: data.get_mut("status").map(Value::take),
        })
    }

    /// A manifest as an API server would have stored it; `None` without namespace or name.
    pub fn from_manifest(document: &Value, generation: i64, created: Timestamp) -> Option<Self> {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        Some(Self {
            id: ObjectRef::new(text("/metadata/namespace")?, text("/metadata/name")?),
            uid: text("/metadata/uid").unwrap_or_default().to_owned(),
            generation,
            created,
            spec: document.get("spec").cloned().unwrap_or_default(),
            status: document.get("status").cloned(),
        })
    }
}
