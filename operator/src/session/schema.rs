//! What a sidecar of another version can read.
//!
//! A sidecar that is older gets resources without the kinds and top-level
//! fields that its schema doesn't have; it would ignore them anyway, but then
//! nobody would say so. What is nested in an older field is left to it to
//! ignore. Inequality of versions never refuses anybody: without a common
//! version the sidecar keeps what it has and counts as stale.

use std::sync::Arc;

use llmroute_protocol::{Hello, Kind, Resource, SCHEMA_MAX, SCHEMA_MIN, version_of};

/// The newest version of the protocol that both ends speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schema(u32);

/// A resource as a schema can carry it.
#[derive(Debug, PartialEq)]
pub(super) enum Fitted {
    /// As it is.
    Whole,
    /// Without fields that the schema doesn't have.
    Stripped(Arc<Resource>),
    /// The schema doesn't have its kind.
    Withheld,
}

/// A part of `session.proto` that came after version 1.
struct Newer {
    kind: Kind,
    /// The field of the kind's message; `None` for the kind itself.
    field: Option<u32>,
    since: u32,
}

/// Everything that came after version 1: nothing yet.
const NEWER: &[Newer] = &[];

// ---------------------------------------------------------------- impl Schema

impl Schema {
    /// `None` without a common version. A sidecar that doesn't say speaks the first.
    pub(super) fn of(hello: &Hello) -> Option<Self> {
        let newest = hello.schema_max.clamp(1, SCHEMA_MAX);
        let oldest = hello.schema_min.max(SCHEMA_MIN);
        (newest >= oldest).then_some(Self(newest))
    }

    /// What of a resource this schema can carry.
    pub(super) fn fit(self, resource: &Resource) -> Fitted {
        if self.0 == SCHEMA_MAX {
            return Fitted::Whole;
        }
        self.fit_to(NEWER, resource)
    }

    fn fit_to(self, newer: &[Newer], resource: &Resource) -> Fitted {
        let unknown = newer
            .iter()
            .filter(|part| part.kind == resource.kind() && part.since > self.0);
        let mut fields = Vec::new();
        for part in unknown {
            match part.field {
                Some(field) => fields.push(field),
                None => return Fitted::Withheld,
            }
        }
        match without(&resource.body, &fields) {
            Some(body) if body.len() < resource.body.len() => {
                Fitted::Stripped(Arc::new(Resource {
                    kind: resource.kind,
                    name: resource.name.clone(),
                    version: version_of(&body),
                    body: body.into(),
                }))
            }
            _ => Fitted::Whole,
        }
    }
}

/// The encoded message without its top-level `fields`; `None` when it isn't one.
fn without(mut message: &[u8], fields: &[u32]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(message.len());
    while !message.is_empty() {
        let (key, key_length) = varint(message)?;
        let rest = message.get(key_length..)?;
        let value = match key & 7 {
            0 => varint(rest)?.1,
            1 => 8,
            2 => {
                let (length, own) = varint(rest)?;
                own.checked_add(usize::try_from(length).ok()?)?
            }
            5 => 4,
            _ => return None,
        };
        let (field, after) = message.split_at_checked(key_length.checked_add(value)?)?;
        if !fields.iter().any(|number| u64::from(*number) == key >> 3) {
            kept.extend_from_slice(field);
        }
        message = after;
    }
    Some(kept)
}

/// A varint and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use llmroute_protocol::{Body, Provider};

    use super::*;

    fn hello(schema_min: u32, schema_max: u32) -> Hello {
        Hello {
            schema_min,
            schema_max,
            ..Hello::default()
        }
    }

    fn provider() -> Provider {
        Provider {
            namespace: "shop".into(),
            name: "openai".into(),
            generation: 300,
            ca_pem: "PEM".into(),
            open_models: true,
            ..Provider::default()
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        assert_eq!(
            Schema::of(&hello(1, SCHEMA_MAX + 7)),
            Some(Schema(SCHEMA_MAX))
        );
        assert_eq!(Schema::of(&hello(0, 0)), Some(Schema(1)));
        assert_eq!(Schema::of(&hello(SCHEMA_MAX + 1, SCHEMA_MAX + 2)), None);
    }

    #[test]
    fn a_field_that_the_schema_lacks_is_dropped_and_nothing_else() {
        let whole = Body::Provider(provider()).into_resource();
        let field = |field| Newer {
            kind: Kind::Provider,
            field: Some(field),
            since: 2,
        };
        let fitted = Schema(1).fit_to(&[field(7), field(12)], &whole);
        let expected = Body::Provider(Provider {
            ca_pem: String::new(),
            open_models: false,
            ..provider()
        });
        assert_eq!(fitted, Fitted::Stripped(Arc::new(expected.into_resource())));
        assert_eq!(Schema(2).fit_to(&[field(7)], &whole), Fitted::Whole);
        // A field that isn't set isn't missed.
        assert_eq!(Schema(1).fit_to(&[field(10)], &whole), Fitted::Whole);
    }

    #[test]
    fn a_kind_that_the_schema_lacks_is_withheld() {
        let kind = Newer {
            kind: Kind::Provider,
            field: None,
            since: 2,
        };
        let whole = Body::Provider(provider()).into_resource();
        assert_eq!(Schema(1).fit_to(&[kind], &whole), Fitted::Withheld);
    }

    #[test]
    fn bytes_that_are_no_message_are_left_alone() {
        for bytes in [
            &b"\xff\xff\xff"[..],
            b"\x0a\x7f",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b",
        ] {
            assert_eq!(without(bytes, &[1]), None, "{bytes:?}");
        }
    }
}
