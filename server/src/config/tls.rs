//! What the configuration says of TLS, and what was read of it: names, modes, certificates.
//!
//! The files are read by [`Config::load`](super::Config::load) alone. Two configurations are the same when they name the
//! same files, whatever stands in them.

use mailrail_runtime::tls::{Acceptor, CertificateError, Identity};
use std::path::PathBuf;

/// How a listener offers TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenerTls {
    /// Not at all.
    #[default]
    Off,
    /// By STARTTLS; mail in clear text is taken too.
    StartTls,
    /// From the first byte on.
    //= RFC 8314 section 3.3: TLS from the start, without STARTTLS
    Implicit,
}

impl ListenerTls {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::StartTls, Self::Implicit];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// What delivery asks of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryTls {
    /// Never.
    Disabled,
    /// Where the peer offers it, with any certificate; in clear text where it fails.
    //= RFC 7435 section 3: encryption without authentication where there is no better
    #[default]
    Opportunistic,
    /// Always, with any certificate.
    RequiredInsecure,
    /// Always, with a certificate for the host's name under a root that is trusted.
    Required,
}

impl DeliveryTls {
    pub(crate) const ALL: [Self; 4] = [
        Self::Disabled,
        Self::Opportunistic,
        Self::RequiredInsecure,
        Self::Required,
    ];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Opportunistic => "Opportunistic",
            Self::RequiredInsecure => "RequiredInsecure",
            Self::Required => "Required",
        }
    }
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the host's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl CertificateFiles {
    pub(super) fn load(&self) -> Result<Acceptor, CertificateError> {
        Acceptor::new(&Identity::load(&self.certificate, &self.key)?)
    }
}

/// What was read of files that the configuration names; nothing in one that was only checked.
#[derive(Clone, Debug)]
pub struct Loaded<T>(Option<T>);

impl<T> Loaded<T> {
    /// What was read, where something was.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    pub(super) fn set(&mut self, value: T) {
        self.0 = Some(value);
    }
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// The files' names are compared, and not what was in them.
impl<T> PartialEq for Loaded<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Loaded<T> {}
