//! TLS over a connection of `net::stream`, by rustls: who shakes hands, with which certificates, and the
//! records in between.
//!
//! A [`Stream`](crate::net::stream::Stream) becomes a secure one in its place: what reads and writes it does not know the
//! difference. An idle connection holds its keys and no buffer. When to shake hands, and what a
//! failure means, is the caller's business.

mod acceptor;
mod buffer;
mod certificates;
mod connector;
mod layer;
pub(crate) mod stream;

pub use acceptor::Acceptor;
pub use certificates::{CertificateError, Identity, Roots};
pub use connector::Connector;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};
use std::sync::Arc;

/// What two ends have agreed on, in the words of the standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite's name in the IANA's registry.
    pub cipher: &'static str,
    /// The keys come from an earlier connection, and no certificate was shown.
    pub is_resumed: bool,
}

impl TlsInfo {
    fn of(state: &CommonState) -> Self {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        };
        let suite = state.negotiated_cipher_suite().map(|suite| suite.suite());
        let cipher = match suite {
            // rustls has its own names for these three.
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
            Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
            other => other.and_then(|suite| suite.as_str()).unwrap_or("unknown"),
        };
        Self {
            version,
            cipher,
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// The arithmetic. Named here and not as the process's default, so that no other crate decides it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
