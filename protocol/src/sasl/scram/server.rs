//! The server's part of SCRAM: two messages read, two written, and the comparison. It holds no
//! buffers of the connection and chooses no replies.

use super::secret::{self, Decoy, ScramSecret};
use super::{ClientFinal, ClientFirst, assert_nonce};
use crate::sasl::{base64, gs2, prepare};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Why an exchange ends here.
pub(in crate::sasl) enum Refusal {
    /// A message is not of its form.
    Malformed,
    /// The client thinks otherwise of channel binding, or of the channel.
    Binding,
    /// A wrong proof, or no such user: nobody can tell.
    Credentials,
}

/// What is known so far.
pub(in crate::sasl) struct Server {
    decoy: Decoy,
    /// Ours at first; the client's and ours from its first message on.
    nonce: String,
    pub(in crate::sasl) user: String,
    pub(in crate::sasl) authorization: String,
    /// What the client has to send as `c=`.
    binding: Vec<u8>,
    auth_message: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
    known: bool,
}

impl Server {
    pub(in crate::sasl) fn new(nonce: &str, decoy: &Decoy) -> Self {
        assert_nonce(nonce);
        Self {
            decoy: *decoy,
            nonce: nonce.to_owned(),
            user: String::new(),
            authorization: String::new(),
            binding: Vec::new(),
            auth_message: Vec::new(),
            stored_key: [0; 32],
            server_key: [0; 32],
            known: false,
        }
    }

    /// Reads client-first-message: after it `user` is known. `plus` is the mechanism's name,
    /// `bindings` are what this server could bind to: with one of them it has offered -PLUS.
    pub(in crate::sasl) fn first(
        &mut self,
        message: &[u8],
        plus: bool,
        bindings: &[(String, Vec<u8>)],
    ) -> Result<(), Refusal> {
        let first = ClientFirst::read(message).ok_or(Refusal::Malformed)?;
        let user = gs2::unquote(first.user).ok_or(Refusal::Malformed)?;
        let authorization = gs2::unquote(first.header.authorization).ok_or(Refusal::Malformed)?;
        let data = match (first.header.flag.strip_prefix("p="), plus) {
            //= RFC 5802 section 6: a kind of binding that the server does not support fails
            (Some(kind), true) => {
                let known = bindings.iter().find(|(known, _)| known == kind);
                &*known.ok_or(Refusal::Binding)?.1
            }
            //= RFC 5802 section 6: "y" where the server does bind means that somebody took -PLUS off its list
            (None, false) if first.header.flag == "y" && !bindings.is_empty() => {
                return Err(Refusal::Binding);
            }
            (None, false) => &[],
            // -PLUS is the name for "p" and for nothing else.
            _ => return Err(Refusal::Binding),
        };
        //= RFC 5802 section 5.1: the server prepares the name, and ends the exchange if it cannot
        self.user = prepare(&user).ok_or(Refusal::Malformed)?.into_owned();
        //= RFC 4954 section 4: likewise the identity to act as, unless it was sent empty
        if !authorization.is_empty() {
            let prepared = prepare(&authorization).ok_or(Refusal::Malformed)?;
            self.authorization = prepared.into_owned();
        }
        let header = first.header.text.as_bytes();
        base64::encode(&[header, data].concat(), &mut self.binding);
        self.nonce.insert_str(0, first.nonce);
        self.auth_message.extend_from_slice(first.bare.as_bytes());
        Ok(())
    }

    /// Takes the user's secret, and appends server-first-message.
    pub(in crate::sasl) fn secret(&mut self, secret: Option<&ScramSecret>, out: &mut Vec<u8>) {
        // The decoy is made in both cases, so that both take as long.
        let decoy = self.decoy.secret(&self.user);
        self.known = secret.is_some();
        let secret = secret.unwrap_or(&decoy);
        self.stored_key = secret.stored_key;
        self.server_key = secret.server_key;
        let start = out.len();
        out.extend_from_slice(b"r=");
        out.extend_from_slice(self.nonce.as_bytes());
        out.extend_from_slice(b",s=");
        base64::encode(&secret.salt, out);
        out.extend_from_slice(alloc::format!(",i={}", secret.iterations).as_bytes());
        self.auth_message.push(b',');
        let message = out.get(start..).unwrap_or_default();
        self.auth_message.extend_from_slice(message);
    }

    /// Reads client-final-message, and appends server-final-message if the client has proved that
    /// it knows the password.
    pub(in crate::sasl) fn last(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let last = ClientFinal::read(message).ok_or(Refusal::Malformed)?;
        //= RFC 5802 section 5.1: the nonce must be the one that the server sent
        if last.nonce != self.nonce {
            return Err(Refusal::Credentials);
        }
        //= RFC 5802 section 6: the server always validates "c="
        if last.binding.as_bytes() != self.binding {
            return Err(Refusal::Binding);
        }
        self.auth_message.push(b',');
        self.auth_message
            .extend_from_slice(last.without_proof.as_bytes());
        let proved = secret::proves(&last.proof, &self.stored_key, &self.auth_message);
        let signature = secret::signature(&self.server_key, &self.auth_message);
        if !(proved && self.known) {
            return Err(Refusal::Credentials);
        }
        out.extend_from_slice(b"v=");
        base64::encode(&signature, out);
        Ok(())
    }
}
