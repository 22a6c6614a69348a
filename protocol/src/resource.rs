//! A resource's name, version and body, as both ends must see them.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{Credential, Global, Held, Kind, Provider, Resource, Route};

/// Names one resource among all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// `namespace/name`.
    pub name: String,
}

/// A decoded body: the message that belongs to the kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// An `LLMRoute`.
    Route(Route),
    /// An `LLMProvider`.
    Provider(Provider),
    /// The secret of an `LLMProvider`.
    Credential(Credential),
    /// What concerns every sidecar.
    Global(Global),
}

/// Why the bytes of a resource are not a body.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A kind of a newer operator. It is left alone, with a warning in the ack.
    #[error("unknown kind {0}")]
    UnknownKind(i32),
    /// Bytes that are not the message of their kind.
    #[error("malformed body")]
    Malformed(#[source] prost::DecodeError),
}

// ---------------------------------------------------------------- impl Key

impl Key {
    /// The key of `kind` and `namespace/name`.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

// ---------------------------------------------------------------- impl Body

impl Body {
    /// What the resource is called on the wire.
    pub fn key(&self) -> Key {
        match self {
            Self::Route(r) => Key::new(Kind::Route, format!("{}/{}", r.namespace, r.name)),
            Self::Provider(p) => Key::new(Kind::Provider, format!("{}/{}", p.namespace, p.name)),
            Self::Credential(c) => Key::new(Kind::Credential, c.provider.clone()),
            Self::Global(_) => Key::new(Kind::Global, "global"),
        }
    }

    /// Encodes the body once and names it by its content.
    pub fn into_resource(self) -> Resource {
        let Key { kind, name } = self.key();
        let body = match self {
            Self::Route(m) => m.encode_to_vec(),
            Self::Provider(m) => m.encode_to_vec(),
            Self::Credential(m) => m.encode_to_vec(),
            Self::Global(m) => m.encode_to_vec(),
        };
        Resource {
            kind: kind.into(),
            name,
            version: version_of(&body),
            body: Bytes::from(body),
        }
    }

    /// Reads the body of a resource.
    pub fn decode(resource: &Resource) -> Result<Self, DecodeError> {
        let bytes = resource.body.clone();
        let kind =
            Kind::try_from(resource.kind).map_err(|_| DecodeError::UnknownKind(resource.kind))?;
        match kind {
            Kind::Route => Route::decode(bytes).map(Self::Route),
            Kind::Provider => Provider::decode(bytes).map(Self::Provider),
            Kind::Credential => Credential::decode(bytes).map(Self::Credential),
            Kind::Global => Global::decode(bytes).map(Self::Global),
            Kind::Unspecified => return Err(DecodeError::UnknownKind(resource.kind)),
        }
        .map_err(DecodeError::Malformed)
    }
}

/// The version of a resource: 16 hex digits of its body's SHA-256. Equal bytes
/// have an equal version whoever leads, so a new leader resends nothing.
pub fn version_of(body: &[u8]) -> String {
    hex(&Sha256::digest(body)[..8])
}

/// The hash of a set of resources: over kind, name and version in key order.
/// The caller may pass them in any order.
pub fn set_hash<'a>(held: impl IntoIterator<Item = (&'a Key, &'a str)>) -> Bytes {
    let mut all: Vec<_> = held.into_iter().collect();
    all.sort_unstable();
    let mut hash = Sha256::new();
    for (key, version) in all {
        hash.update(i32::from(key.kind).to_be_bytes());
        for part in [key.name.as_str(), version] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Bytes::copy_from_slice(&hash.finalize()[..16])
}

impl From<&Held> for Key {
    fn from(held: &Held) -> Self {
        Self::new(held.kind(), held.name.clone())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> Body {
        Body::Route(Route {
            namespace: "shop".into(),
            name: name.into(),
            ..Route::default()
        })
    }

    #[test]
    fn equal_bodies_have_equal_versions_and_others_do_not() {
        assert_eq!(
            route("a").into_resource().version,
            route("a").into_resource().version
        );
        assert_ne!(
            route("a").into_resource().version,
            route("b").into_resource().version
        );
    }

    #[test]
    fn a_body_survives_its_envelope() {
        let resource = route("chat").into_resource();
        assert_eq!(resource.name, "shop/chat");
        assert_eq!(Body::decode(&resource).expect("decodes"), route("chat"));
    }

    #[test]
    fn the_set_hash_ignores_order_and_sees_every_version() {
        let (a, b) = (
            Key::new(Kind::Route, "s/a"),
            Key::new(Kind::Provider, "s/b"),
        );
        assert_eq!(
            set_hash([(&a, "1"), (&b, "2")]),
            set_hash([(&b, "2"), (&a, "1")])
        );
        assert_ne!(
            set_hash([(&a, "1"), (&b, "2")]),
            set_hash([(&a, "1"), (&b, "3")])
        );
    }

    #[test]
    fn a_kind_of_a_newer_operator_is_named_not_guessed() {
        let resource = Resource {
            kind: 77,
            ..Resource::default()
        };
        assert!(matches!(
            Body::decode(&resource),
            Err(DecodeError::UnknownKind(77))
        ));
    }
}
