//! `Debug` of the one message that holds a secret. prost is told to derive none
//! for it, so that no `{:?}`, however deep, can print a key.

use std::fmt;

use crate::Credential;

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Destructured: a new field must decide whether it may be shown.
        let Self {
            provider,
            value: _,
            hash8,
        } = self;
        f.debug_struct("Credential")
            .field("provider", provider)
            .field("value", &"<redacted>")
            .field("hash8", hash8)
            .finish()
    }
}

// The envelope of a credential carries the same bytes.
impl fmt::Debug for crate::Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            name,
            version,
            body,
        } = self;
        f.debug_struct("Resource")
            .field("kind", &crate::Kind::try_from(*kind).unwrap_or_default())
            .field("name", name)
            .field("version", version)
            .field("body_len", &body.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Body, Credential};

    #[test]
    fn a_credential_shows_no_secret_however_it_is_debugged() {
        let credential = Credential {
            provider: "shop/openai".into(),
            value: b"sk-planted".to_vec().into(),
            hash8: "12345678".into(),
        };
        assert!(!format!("{credential:?}").contains("planted"));
        let resource = Body::Credential(credential).into_resource();
        assert!(!format!("{resource:?}").contains("planted"));
        let numbers = format!("{:?}", b"sk-planted");
        assert!(!format!("{resource:?}").contains(&numbers[1..numbers.len() - 1]));
    }
}
