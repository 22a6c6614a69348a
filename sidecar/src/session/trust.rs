//! Whom the session trusts: the operator's own CA and nobody else.
//!
//! The first certificates come with the pod (`LLMROUTE_CA_PEM`), later ones over
//! the session and from the cache. The union of all is trusted: an old CA goes
//! out of use by its own end, and a pod that was created under it must still
//! find the operator. Public roots mean nothing here.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why there is nobody to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Neither the environment nor the cache holds a certificate.
    #[error(
        "no CA of the operator is known: set LLMROUTE_CA_PEM to ca.crt of its Secret llmroute-certs"
    )]
    Empty,
    /// A block that isn't a certificate.
    #[error("LLMROUTE_CA_PEM or the pushed CA bundle holds a malformed certificate")]
    Malformed,
}

/// A client configuration that trusts the union of `bundles`.
pub(super) fn client_config(bundles: &[&str]) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    for bundle in bundles {
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            let certificate = certificate.map_err(|_| TrustError::Malformed)?;
            roots.add(certificate).map_err(|_| TrustError::Malformed)?;
        }
    }
    if roots.is_empty() {
        return Err(TrustError::Empty);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_certificate_the_cure_is_named() {
        for bundles in [&[][..], &["", "\n"][..]] {
            let error = client_config(bundles).expect_err("nobody to trust");
            assert_eq!(error, TrustError::Empty);
            assert!(error.to_string().contains("LLMROUTE_CA_PEM"));
        }
    }

    #[test]
    fn a_malformed_block_is_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(client_config(&[broken]).err(), Some(TrustError::Malformed));
    }
}
