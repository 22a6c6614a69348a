//! Reads certificates out of the Secret's data: times and names, no policy.

use std::collections::BTreeSet;

use jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertError, Data};

/// What there is to know about a certificate, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFacts {
    /// The certificate itself.
    pub pem: String,
    /// The subject, DER.
    pub subject: Vec<u8>,
    /// The issuer's subject, DER.
    pub issuer: Vec<u8>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid to.
    pub not_after: Timestamp,
    /// DNS names and IP addresses.
    pub names: BTreeSet<String>,
}

/// All certificates under `key`, at least one.
pub(super) fn certificates(data: &Data, key: &'static str) -> Result<Vec<CertFacts>, CertError> {
    let bytes = data.get(key).ok_or(CertError::Missing(key))?;
    let all: Option<Vec<_>> = Pem::iter_from_buffer(bytes)
        .map(|pem| pem.ok().and_then(|pem| facts(&pem)))
        .collect();
    match all {
        Some(all) if !all.is_empty() => Ok(all),
        _ => Err(CertError::NotACertificate(key)),
    }
}

/// The certificate of one PEM text that this program made.
pub(super) fn certificate(pem: &str, key: &'static str) -> Result<CertFacts, CertError> {
    let data = Data::from([(key.to_owned(), pem.into())]);
    Ok(certificates(&data, key)?.swap_remove(0))
}

pub(super) fn text(data: &Data, key: &'static str) -> Result<String, CertError> {
    let bytes = data.get(key).ok_or(CertError::Missing(key))?;
    String::from_utf8(bytes.clone()).map_err(|_| CertError::WrongKey(key))
}

fn facts(pem: &Pem) -> Option<CertFacts> {
    let (_, cert) = X509Certificate::from_der(&pem.contents).ok()?;
    let validity = cert.validity();
    let names = match cert.subject_alternative_name() {
        Ok(Some(san)) => san.value.general_names.iter().filter_map(name).collect(),
        _ => BTreeSet::new(),
    };
    Some(CertFacts {
        pem: encode(&pem.contents),
        subject: cert.subject().as_raw().to_vec(),
        issuer: cert.issuer().as_raw().to_vec(),
        not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        names,
    })
}

fn name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    }
}

/// One form for every certificate, whatever the Secret's line ends were.
fn encode(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: String = text
        .as_bytes()
        .chunks(64)
        .flat_map(|line| line.iter().map(|b| char::from(*b)).chain(['\n']))
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}
