//! The client's part of SCRAM: two messages written, two read, and the server's proof.

use super::secret::{self, Keys};
use super::{ServerFirst, assert_nonce, attribute, digest, is_extension};
use crate::sasl::client::Fault;
use crate::sasl::{base64, gs2, prepare};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// What the server may ask for without further words: it chooses the cost, and we bear it.
/// A million are 0.2 s where the processor has instructions for SHA-256.
//= RFC 7677 section 3: at least 4096
const ITERATIONS: RangeInclusive<u32> = 4096..=1_000_000;

/// What is known so far.
pub(in crate::sasl) struct Client {
    /// Prepared.
    password: String,
    nonce: String,
    /// `n`, `y` or `p=` and the kind of binding.
    flag: String,
    authorization: String,
    binding: Vec<u8>,
    /// client-first-message without its header, and later the rest of what is signed.
    auth_message: Vec<u8>,
    pub(in crate::sasl) iterations: RangeInclusive<u32>,
    server_signature: Option<[u8; 32]>,
    /// The server has shown that it knows the password, too.
    pub(in crate::sasl) proved: bool,
}

impl Client {
    /// `None` if the name or the password cannot be prepared.
    //= RFC 5802 section 5.1: the client prepares the name, and ends the exchange if it cannot
    pub(in crate::sasl) fn new(user: &str, password: &str, nonce: &str) -> Option<Self> {
        assert_nonce(nonce);
        let mut bare = "n=".to_owned();
        gs2::quote(&prepare(user)?, &mut bare);
        bare.push_str(",r=");
        bare.push_str(nonce);
        Some(Self {
            password: prepare(password)?.into_owned(),
            nonce: nonce.to_owned(),
            //= RFC 5802 section 6: a client without channel binding says "n"
            flag: "n".to_owned(),
            authorization: String::new(),
            binding: Vec::new(),
            auth_message: bare.into_bytes(),
            iterations: ITERATIONS,
            server_signature: None,
            proved: false,
        })
    }

    /// `None` if `kind` is not the name of a binding, or there is no data.
    //= RFC 5802 section 6: a client that binds says "p"
    pub(in crate::sasl) fn bind(&mut self, kind: &str, data: &[u8]) -> Option<()> {
        if !gs2::is_binding_kind(kind) || data.is_empty() {
            return None;
        }
        self.flag = "p=".to_owned();
        self.flag.push_str(kind);
        self.binding = data.to_vec();
        Some(())
    }

    //= RFC 5802 section 6: a client that could bind to a server that does not offer it says "y"
    pub(in crate::sasl) fn could_bind(&mut self) {
        if self.binding.is_empty() {
            self.flag = "y".to_owned();
        }
    }

    /// `None` if the identity cannot be prepared.
    pub(in crate::sasl) fn authorization(&mut self, authorization: &str) -> Option<()> {
        self.authorization = prepare(authorization)?.into_owned();
        Some(())
    }

    fn header(&self) -> String {
        let mut header = self.flag.clone();
        header.push(',');
        if !self.authorization.is_empty() {
            header.push_str("a=");
            gs2::quote(&self.authorization, &mut header);
        }
        header.push(',');
        header
    }

    /// Appends client-first-message.
    pub(in crate::sasl) fn write_first(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header().as_bytes());
        out.extend_from_slice(&self.auth_message);
    }

    /// Reads server-first-message and appends client-final-message.
    pub(in crate::sasl) fn first(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let message = core::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let first = ServerFirst::read(message).ok_or(Fault::Malformed)?;
        //= RFC 5802 section 5.1: the nonce must begin with the one that the client sent
        match first.nonce.strip_prefix(&*self.nonce) {
            Some(added) if !added.is_empty() => {}
            _ => return Err(Fault::Nonce),
        }
        if !self.iterations.contains(&first.iterations) {
            return Err(Fault::Iterations(first.iterations));
        }
        let start = out.len();
        out.extend_from_slice(b"c=");
        base64::encode(&[self.header().as_bytes(), &self.binding].concat(), out);
        out.extend_from_slice(b",r=");
        out.extend_from_slice(first.nonce.as_bytes());
        let without_proof = out.get(start..).unwrap_or_default();
        //= RFC 5802 section 3: AuthMessage is client-first-message-bare, server-first-message and client-final-message-without-proof
        for part in [message.as_bytes(), without_proof] {
            self.auth_message.push(b',');
            self.auth_message.extend_from_slice(part);
        }
        let keys = Keys::derive(&self.password, &first.salt, first.iterations);
        self.server_signature = Some(secret::signature(&keys.server_key(), &self.auth_message));
        out.extend_from_slice(b",p=");
        base64::encode(&keys.proof(&self.auth_message), out);
        Ok(())
    }

    /// Reads server-final-message.
    //= RFC 5802 section 5: if the server's signature differs, the exchange has failed
    pub(in crate::sasl) fn last(&mut self, message: &[u8]) -> Result<(), Fault> {
        let message = core::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let mut attributes = message.split(',');
        let verdict = attributes.next();
        if attribute(verdict, "e=").is_some() {
            return Err(Fault::Refused);
        }
        let signature = attribute(verdict, "v=").and_then(digest);
        let signature = signature.ok_or(Fault::Malformed)?;
        if !attributes.all(is_extension) {
            return Err(Fault::Malformed);
        }
        let expected = self.server_signature.take().ok_or(Fault::Unexpected)?;
        if !secret::same(&signature, &expected) {
            return Err(Fault::Unproved);
        }
        self.proved = true;
        Ok(())
    }
}
