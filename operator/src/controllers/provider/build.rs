//! From newtypes to resources. Nothing here can fail on what a user wrote; a
//! reference that leads nowhere is a finding beside the resource.

use std::sync::Arc;

use llmroute_crds::reason;
use llmroute_protocol::{self as wire, Body, Resource};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;

use super::fetch::Fetched;
use super::validate::{ValidAuth, ValidProvider};
use crate::catalog::AuthStyle;
use crate::controllers::refusal::Unresolved;
use crate::world::{CREDENTIAL_LABEL, ObjectRef};

/// A credential longer than this would burst the header limits of most hosts.
const MAX_CREDENTIAL: usize = 8 * 1024;
/// Bundles of a handful of CAs are a few KiB.
const MAX_BUNDLE: usize = 64 * 1024;

/// What a provider becomes.
pub(super) struct Built {
    pub(super) resource: Arc<Resource>,
    pub(super) credential: Option<Arc<Resource>>,
    pub(super) hash8: Option<String>,
    pub(super) unresolved: Option<Unresolved>,
}

/// Builds both resources.
pub(super) fn build(
    id: &ObjectRef,
    generation: i64,
    valid: &ValidProvider,
    fetched: &Fetched<'_>,
) -> Built {
    let (ca_pem, no_ca) = split(ca_bundle(valid, fetched));
    let (value, no_secret) = split(secret(valid, fetched));
    let hash8 = value.map(hash8);
    let credential = value.zip(hash8.clone()).map(|(value, hash8)| {
        Arc::new(Body::Credential(credential(id, value, hash8)).into_resource())
    });
    let provider = provider(id, generation, valid, ca_pem.unwrap_or_default());
    Built {
        resource: Arc::new(Body::Provider(provider).into_resource()),
        credential,
        hash8,
        unresolved: no_secret.or(no_ca),
    }
}

/// A body that every sidecar refuses: one that took an older version keeps it.
pub(super) fn poison(id: &ObjectRef, generation: i64) -> Arc<Resource> {
    let provider = wire::Provider {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        generation,
        dialect: wire::Dialect::Unspecified.into(),
        ..wire::Provider::default()
    };
    Arc::new(Body::Provider(provider).into_resource())
}

fn provider(
    id: &ObjectRef,
    generation: i64,
    valid: &ValidProvider,
    ca_pem: &str,
) -> wire::Provider {
    // Destructured: a new member must say what it becomes on the wire.
    let ValidProvider {
        type_,
        dialect,
        base_url,
        auth,
        ca_key: _,
        quirks,
        models,
        open_models,
        health,
        allowed: _,
    } = valid;
    wire::Provider {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        generation,
        r#type: type_.clone(),
        dialect: (*dialect).into(),
        base_url: base_url.as_ref().map_or("", |url| url.as_str()).to_owned(),
        ca_pem: ca_pem.to_owned(),
        auth: Some(wire_auth(auth)),
        models: models.values().cloned().collect(),
        health: Some(*health),
        quirks: quirks.iter().map(|quirk| (*quirk).into()).collect(),
        open_models: *open_models,
    }
}

fn wire_auth(auth: &ValidAuth) -> wire::Auth {
    let of = |type_: wire::auth::Type, style: &AuthStyle| wire::Auth {
        r#type: type_.into(),
        header: style.header.clone(),
        prefix: style.prefix.clone(),
    };
    match auth {
        ValidAuth::None => wire::Auth {
            r#type: wire::auth::Type::None.into(),
            ..wire::Auth::default()
        },
        ValidAuth::Passthrough(style) => of(wire::auth::Type::Passthrough, style),
        ValidAuth::Secret(style, _) => of(wire::auth::Type::Credential, style),
    }
}

fn credential(id: &ObjectRef, value: &[u8], hash8: String) -> wire::Credential {
    wire::Credential {
        provider: id.to_string(),
        value: value.to_vec().into(),
        hash8,
    }
}

/// The value that is sent. White space around it is a slip of `echo`, never part of a key.
fn secret<'a>(
    valid: &ValidProvider,
    fetched: &Fetched<'a>,
) -> Result<Option<&'a [u8]>, Unresolved> {
    let (ValidAuth::Secret(_, key), Some(id)) = (&valid.auth, &fetched.references.secret) else {
        return Ok(None);
    };
    let Some(secret) = fetched.secret else {
        let ObjectRef { namespace, name } = id;
        return Err(Unresolved {
            reason: reason::SECRET_NOT_FOUND,
            message: format!(
                "no Secret {id} labelled {CREDENTIAL_LABEL}=true; if it exists: kubectl -n {namespace} label secret {name} {CREDENTIAL_LABEL}=true"
            ),
        });
    };
    let not_found = |message: String| Unresolved {
        reason: reason::KEY_NOT_FOUND,
        message,
    };
    let Some(value) = secret.get(key) else {
        return Err(not_found(format!(
            "Secret {id} has no key {key}{}",
            keys(secret.keys())
        )));
    };
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(not_found(format!("key {key} of Secret {id} is empty")));
    }
    // What an HTTP header carries: anything else would fail each call.
    if value.len() > MAX_CREDENTIAL || !value.iter().all(|b| (0x20..0x7f).contains(b)) {
        let message = format!(
            "key {key} of Secret {id} can't be sent in a header: it must be one line of at most {MAX_CREDENTIAL} printable ASCII characters"
        );
        return Err(not_found(message));
    }
    Ok(Some(value))
}

fn ca_bundle<'a>(
    valid: &ValidProvider,
    fetched: &Fetched<'a>,
) -> Result<Option<&'a str>, Unresolved> {
    let (Some(key), Some(id)) = (&valid.ca_key, &fetched.references.config_map) else {
        return Ok(None);
    };
    let Some(map) = fetched.config_map else {
        return Err(Unresolved {
            reason: reason::CONFIG_MAP_NOT_FOUND,
            message: format!("no ConfigMap {id}: create it with the CA's certificates under {key}"),
        });
    };
    let not_found = |message: String| Unresolved {
        reason: reason::KEY_NOT_FOUND,
        message,
    };
    let Some(pem) = map.get(key) else {
        let keys = keys(map.keys().map(String::as_str));
        return Err(not_found(format!("ConfigMap {id} has no key {key}{keys}")));
    };
    if pem.len() > MAX_BUNDLE || !are_certificates(pem) {
        let message = format!(
            "key {key} of ConfigMap {id} isn't a bundle of PEM certificates of at most {MAX_BUNDLE} bytes"
        );
        return Err(not_found(message));
    }
    Ok(Some(pem))
}

/// At least one, and nothing that isn't: a private key must not travel by mistake.
fn are_certificates(pem: &str) -> bool {
    let mut count = 0;
    let all = Pem::iter_from_buffer(pem.as_bytes()).all(|block| {
        count += 1;
        block.is_ok_and(|pem| pem.label == "CERTIFICATE" && pem.parse_x509().is_ok())
    });
    all && count > 0
}

/// The names of a few keys, for who wrote the wrong one.
fn keys<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let few: Vec<_> = keys.take(5).collect();
    if few.is_empty() {
        return "; it is empty".to_owned();
    }
    format!("; it has {}", few.join(", "))
}

/// The first 8 hex digits of the value's SHA-256.
fn hash8(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

fn split<T>(found: Result<Option<T>, Unresolved>) -> (Option<T>, Option<Unresolved>) {
    match found {
        Ok(value) => (value, None),
        Err(unresolved) => (None, Some(unresolved)),
    }
}
