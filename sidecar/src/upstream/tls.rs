//! TLS towards providers: TLS 1.2 and newer, verified, with the public roots
//! or with a private bundle in their place. There is no switch that turns
//! verification off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why a CA bundle can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No certificate in the text.
    #[error("the CA bundle holds no certificate")]
    Empty,
    /// A block that isn't a certificate.
    #[error("the CA bundle is malformed")]
    Malformed,
}

/// The client configurations in use, one a bundle: a configuration also holds
/// the resumption tickets, which endpoints of one bundle may share.
#[derive(Default)]
pub(super) struct Configs {
    by_bundle: Mutex<HashMap<Box<str>, Weak<ClientConfig>>>,
}

impl Configs {
    /// The configuration for `ca_pem`; an empty one means the public roots.
    pub(super) fn get(&self, ca_pem: &str) -> Result<Arc<ClientConfig>, BundleError> {
        let mut by_bundle = self
            .by_bundle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = by_bundle.get(ca_pem).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = Arc::new(build(roots(ca_pem)?));
        by_bundle.retain(|_, config| config.strong_count() > 0);
        by_bundle.insert(ca_pem.into(), Arc::downgrade(&config));
        Ok(config)
    }
}

fn roots(ca_pem: &str) -> Result<RootCertStore, BundleError> {
    let mut roots = RootCertStore::empty();
    if ca_pem.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    }
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|_| BundleError::Malformed)?;
        roots.add(certificate).map_err(|_| BundleError::Malformed)?;
    }
    if roots.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(roots)
}

fn build(roots: RootCertStore) -> ClientConfig {
    // The provider is named here and not installed for the process: whoever
    // embeds this crate may have installed another.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_one_bundle_share_a_configuration_and_others_dont() {
        let configs = Configs::default();
        let public = configs.get("").expect("the public roots");
        assert!(Arc::ptr_eq(&public, &configs.get("").expect("again")));
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        let configs = Configs::default();
        assert!(matches!(configs.get("hello"), Err(BundleError::Empty)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(configs.get(broken), Err(BundleError::Malformed)));
    }
}
