//! The leaf as the session port serves it, swapped in memory.
//!
//! Handshakes read one pointer; a renewal replaces it. Connections that are
//! open keep the certificate that they were opened with.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Material, issue};

/// The certificate in force, shared by all handshakes. Empty at first.
#[derive(Clone, Default)]
pub struct ServedLeaf(Arc<ArcSwapOption<CertifiedKey>>);

// ---------------------------------------------------------------- impl ServedLeaf

impl ServedLeaf {
    /// Serves the leaf of `material` from now on.
    pub fn replace(&self, material: &Material) {
        let pair = issue::certified(&material.leaf.pem, &material.leaf_key);
        // `Material::read` has checked the pair; nothing else makes a Material.
        self.0.store(pair.map(Arc::new));
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.0.load().is_some()
    }

    /// The TLS settings of the session port: TLS 1.3, since both ends are ours,
    /// and HTTP/2.
    pub fn tls_config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Sessions live for an hour and reconnect to another replica: tickets
        // would be sent for nothing.
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

impl ResolvesServerCert for ServedLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The private key has no `Debug`, but the trait asks for one.
impl fmt::Debug for ServedLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedLeaf")
            .field("is_set", &self.is_set())
            .finish_non_exhaustive()
    }
}
