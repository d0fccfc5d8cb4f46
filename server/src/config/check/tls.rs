//! What is right about TLS in a configuration: modes by their names, and a certificate where one is needed. Pure:
//! what is in the files is looked at when the configuration is loaded.

use super::{Check, Checked};
use crate::config::file::{self, Given};
use crate::config::{CertificateFiles, DeliveryTls, ListenerTls};
use std::path::PathBuf;
use toml::Spanned;

impl Check<'_> {
    /// How a listener offers TLS, and with which certificate.
    pub(super) fn listener_tls(
        &self,
        given: &file::Listener,
    ) -> Checked<(ListenerTls, Option<CertificateFiles>)> {
        let names = || ListenerTls::ALL.into_iter();
        let tls = match &given.tls {
            None => ListenerTls::Off,
            Some(text) => {
                let found = names().find(|mode| mode.name() == text.get_ref());
                found.ok_or_else(|| {
                    let what = format!(
                        "\"{}\" is not possible; write \"off\", \"starttls\" or \"implicit\" (TLS from the \
                         first byte on)",
                        text.get_ref()
                    );
                    self.at(text.span(), what)
                })?
            }
        };
        match (tls, &given.tls, &given.certificate, &given.key) {
            (ListenerTls::Off, _, None, None) => Ok((tls, None)),
            (ListenerTls::Off, _, Some(text), _) | (ListenerTls::Off, _, None, Some(text)) => {
                let what = "is not used without TLS; write tls = \"starttls\", or leave it out";
                Err(self.at(text.span(), what.to_owned()))
            }
            (_, _, Some(certificate), Some(key)) => {
                let files = CertificateFiles {
                    certificate: self.file(certificate)?,
                    key: self.file(key)?,
                };
                Ok((tls, Some(files)))
            }
            (_, Some(text), _, _) => {
                let what = format!(
                    "\"{}\" needs a certificate; write for example certificate = \"/etc/mailrail/mx.pem\" and \
                     key = \"/etc/mailrail/mx.key\"",
                    tls.name()
                );
                Err(self.at(text.span(), what))
            }
            (_, None, _, _) => unreachable!("without a word of it, TLS is off"),
        }
    }

    fn file(&self, given: &Spanned<String>) -> Checked<PathBuf> {
        let text = given.get_ref();
        if text.is_empty() || text.contains('\0') {
            let what = "is no path; write it like \"/etc/mailrail/mx.pem\"";
            return Err(self.at(given.span(), what.to_owned()));
        }
        Ok(PathBuf::from(text))
    }

    /// What delivery asks of TLS.
    pub(super) fn delivery_tls(&self, given: &Given<String>) -> Checked<DeliveryTls> {
        let Some(text) = given else {
            return Ok(DeliveryTls::Opportunistic);
        };
        let found = DeliveryTls::ALL
            .into_iter()
            .find(|mode| mode.name() == text.get_ref());
        found.ok_or_else(|| {
            let what = format!(
                "\"{}\" is not possible; write \"Opportunistic\" (where it is offered), \"RequiredInsecure\" (always, \
                 with any certificate), \"Required\" (always, with a valid certificate) or \"Disabled\"",
                text.get_ref()
            );
            self.at(text.span(), what)
        })
    }
}
