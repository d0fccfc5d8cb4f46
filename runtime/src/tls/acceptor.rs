//! The accepting end: what all TLS connections of a listener share.

use super::certificates::{CertificateError, Identity};
use super::provider;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;

/// Shakes hands as a server, with one certificate, by TLS 1.2 or 1.3; asks for no certificate of the peer's.
///
/// Cheap to clone, for any number of shards: a ticket that one of them gave resumes at all of them, so the
/// key for tickets is theirs together. A renewed certificate is a new acceptor.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// An acceptor that shows this certificate.
    ///
    /// # Errors
    /// When the machine has no randomness for the key of the tickets.
    pub fn new(identity: &Identity) -> Result<Self, CertificateError> {
        let resolver = SingleCertAndKey::from(identity.certified());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.ticketer = Ticketer::new().map_err(CertificateError::Tls)?;
        // A client that comes back takes a new one with it each time.
        config.send_tls13_tickets = 1;
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}
