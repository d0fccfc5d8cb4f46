//! The connecting end: what all TLS connections to other hosts share, and what is asked of their certificates.

use super::certificates::{CertificateError, Roots};
use super::provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Shakes hands as a client, by TLS 1.2 or 1.3, and shows no certificate of its own.
///
/// It remembers the tickets of some hundred peers, to resume at once. Made once for each shard, its memory
/// of them is not shared.
#[derive(Clone, Debug)]
pub struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Encrypts, and takes whatever certificate is shown.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    //= RFC 7435 section 3: protection from those who only listen is better than none
    pub fn opportunistic() -> Result<Self, CertificateError> {
        let schemes = provider()
            .signature_verification_algorithms
            .supported_schemes();
        Self::with(Arc::new(Anybody(schemes)))
    }

    /// Insists on a certificate for the name asked for, under one of these roots.
    ///
    /// # Errors
    /// When TLS cannot be set up with these roots.
    pub fn verified(roots: &Roots) -> Result<Self, CertificateError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.store(), provider());
        let verifier = verifier
            .build()
            .map_err(|error| CertificateError::Tls(Error::General(error.to_string())))?;
        Self::with(verifier)
    }

    fn with(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, CertificateError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// What a peer is asked for: its name, or its address where the name is none that a certificate could have.
pub(super) fn server_name(name: &str, peer: std::net::IpAddr) -> ServerName<'static> {
    // A name in DNS may end in a dot, and one in a certificate does not.
    let name = name.strip_suffix('.').unwrap_or(name);
    match ServerName::try_from(name) {
        Ok(name) => name.to_owned(),
        Err(_) => ServerName::IpAddress(IpAddr::from(peer)),
    }
}

/// Takes any certificate. What it signed is not looked at either: whoever stands in between may show a
/// certificate of his own, and a signature of it proves nothing more.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
