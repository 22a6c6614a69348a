//! Makes keys and certificates. It keeps nothing and knows no policy but the
//! lifetimes that it is given.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::parse;
use super::{BACKDATED, CA_CERT, CA_KEY, CA_LIFE, CertError, CertFacts, LEAF_CERT, LEAF_LIFE};

/// A CA that signs itself, and its key in PEM.
pub(super) fn ca(now: Timestamp) -> Result<(CertFacts, String), CertError> {
    let key = KeyPair::generate().map_err(refused)?;
    let mut params = CertificateParams::default();
    // The time makes the subject unique, so that a leaf names its own CA.
    params.distinguished_name = named(&format!("llmroute session CA {}", now.as_millisecond()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, CA_LIFE);
    let cert = params.self_signed(&key).map_err(refused)?;
    Ok((
        parse::certificate(&cert.pem(), CA_CERT)?,
        key.serialize_pem(),
    ))
}

/// A server certificate for `names` under `signer`, and its key in PEM.
pub(super) fn leaf(
    signer: &CertFacts,
    signer_key: &str,
    names: &[String],
    now: Timestamp,
) -> Result<(CertFacts, String), CertError> {
    let ca_key = KeyPair::from_pem(signer_key).map_err(|_| CertError::WrongKey(CA_KEY))?;
    let issuer = Issuer::from_ca_cert_pem(&signer.pem, ca_key).map_err(refused)?;
    let key = KeyPair::generate().map_err(refused)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(refused)?;
    params.distinguished_name = named("llmroute session");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, LEAF_LIFE);
    let cert = params.signed_by(&key, &issuer).map_err(refused)?;
    Ok((
        parse::certificate(&cert.pem(), LEAF_CERT)?,
        key.serialize_pem(),
    ))
}

/// Does `key` belong to the first certificate of `pem`?
pub(super) fn check_key(pem: &str, key: &str, name: &'static str) -> Result<(), CertError> {
    certified(pem, key)
        .filter(|pair| !matches!(pair.keys_match(), Err(e) if !is_unknown(&e)))
        .map(drop)
        .ok_or(CertError::WrongKey(name))
}

/// The pair as rustls serves it.
pub(super) fn certified(pem: &str, key: &str) -> Option<CertifiedKey> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    let key = any_supported_type(&key).ok()?;
    Some(CertifiedKey::new(chain.ok()?, key))
}

fn valid(params: &mut CertificateParams, now: Timestamp, life: SignedDuration) {
    // rcgen's own time type, reached without naming the crate it comes from.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or(0);
        epoch + std::time::Duration::from_secs(seconds)
    };
    params.not_before = at(now - BACKDATED);
    params.not_after = at(now + life);
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn refused(error: impl std::fmt::Display) -> CertError {
    CertError::Issue(error.to_string())
}

/// A signing key that can't tell its public half is no mismatch.
fn is_unknown(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)
    )
}
