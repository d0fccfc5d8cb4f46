//! Certificates and keys from PEM files. Every error names the file and what is wrong with it.

use super::provider;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why certificates or a key cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no PEM.
    #[error("{}: is no PEM file: {source}", path.display())]
    NotPem {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// No certificate is in the file.
    #[error("{}: has no certificate (no `-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// No private key is in the file.
    #[error("{}: has no private key (PKCS #8, PKCS #1 or SEC 1, not encrypted)", .0.display())]
    NoKey(PathBuf),
    /// It is a key, but none that can be used.
    #[error("{}: the private key cannot be used: {source}", path.display())]
    UnusableKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The first certificate makes no sense.
    #[error("{}: the first certificate cannot be used: {source}", path.display())]
    UnusableCertificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The key is another certificate's.
    #[error("{}: the key is not that of the first certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// TLS itself cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// A certificate with those that lead from it to a root, and its private key.
#[derive(Clone, Debug)]
pub struct Identity(Arc<CertifiedKey>);

impl Identity {
    /// Reads a chain of certificates, the host's own first, and the key that belongs to it. Both may stand
    /// in one file.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else, or the key is not the certificate's.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let chain = read_certificates(certificate)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate(certificate.into()));
        }
        let text = read(key)?;
        let private = match PrivateKeyDer::from_pem_slice(&text) {
            Ok(private) => private,
            Err(pem::Error::NoItemsFound) => return Err(CertificateError::NoKey(key.into())),
            Err(source) => {
                let path = key.into();
                return Err(CertificateError::NotPem { path, source });
            }
        };
        let private = provider().key_provider.load_private_key(private);
        let private = private.map_err(|source| CertificateError::UnusableKey {
            path: key.into(),
            source,
        })?;
        let certified = CertifiedKey::new(chain, private);
        match certified.keys_match() {
            Ok(()) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch {
                certificate: certificate.into(),
                key: key.into(),
            }),
            Err(source) => Err(CertificateError::UnusableCertificate {
                path: certificate.into(),
                source,
            }),
        }
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

/// Certificates that are trusted to speak for others.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads a file of root certificates, such as `/etc/ssl/certs/ca-certificates.crt`. One that makes no sense is
    /// passed over, since such files hold all kinds of them.
    ///
    /// # Errors
    /// When the file cannot be read, is no PEM, or has no certificate that can be used.
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        let mut store = RootCertStore::empty();
        let (count, _) = store.add_parsable_certificates(read_certificates(path)?);
        if count == 0 {
            return Err(CertificateError::NoCertificate(path.into()));
        }
        Ok(Self(Arc::new(store)))
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let text = std::fs::read(path);
    text.map_err(|source| CertificateError::Unreadable {
        path: path.into(),
        source,
    })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>();
    certificates.map_err(|source| CertificateError::NotPem {
        path: path.into(),
        source,
    })
}
