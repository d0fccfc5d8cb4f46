//! What a server keeps in place of a password, and what it shows for a name that it does not know.
//! The arithmetic of SCRAM is here and nowhere else.

use super::{digest, octets, positive};
use crate::sasl::{base64, prepare};
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use ctutils::CtEq;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What a server keeps in place of a password: enough to know it again, not enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    /// Random octets, one or more, other ones for each user.
    pub salt: Vec<u8>,
    /// How often the password was hashed: 4,096 or more.
    //= RFC 7677 section 3: at least 4096
    pub iterations: u32,
    /// What the client's proof is compared with.
    pub stored_key: [u8; 32],
    /// What the server proves itself by.
    pub server_key: [u8; 32],
}

impl ScramSecret {
    /// Makes the secret of a password; `None` if the password cannot be prepared (see
    /// [`prepare`]), the salt is empty or there are no iterations.
    ///
    /// This takes as long as there are iterations: half a millisecond for 4,096 where the processor
    /// has instructions for SHA-256.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Option<Self> {
        if salt.is_empty() || iterations == 0 {
            return None;
        }
        let keys = Keys::derive(&prepare(password)?, salt, iterations);
        Some(Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: keys.stored_key(),
            server_key: keys.server_key(),
        })
    }

    /// Is it the secret of this password? For PLAIN and LOGIN beside SCRAM, with one store for all.
    ///
    /// It takes as long as `derive`.
    #[must_use]
    pub fn accepts(&self, password: &str) -> bool {
        Self::derive(password, &self.salt, self.iterations)
            .is_some_and(|secret| same(&secret.stored_key, &self.stored_key))
    }

    /// Reads what `write` has written; `None` if it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, rest) = rest.split_once('$')?;
        let (stored_key, server_key) = rest.split_once(':')?;
        Some(Self {
            salt: octets(salt).filter(|salt| !salt.is_empty())?,
            iterations: positive(iterations)?,
            stored_key: digest(stored_key)?,
            server_key: digest(server_key)?,
        })
    }

    /// Appends it in the form in which directories and databases keep it.
    //= RFC 5803 section 2: mechanism $ iterations : salt $ stored key : server key
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("SCRAM-SHA-256${}:", self.iterations).as_bytes());
        base64::encode(&self.salt, out);
        out.push(b'$');
        base64::encode(&self.stored_key, out);
        out.push(b':');
        base64::encode(&self.server_key, out);
    }
}

/// Whoever reads a log shall not read this.
impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// What the server shows for names that it does not know, so that nobody can tell them from those
/// that it knows.
///
/// A made-up salt has to stay the same for a name, as a real one does; therefore it is computed of
/// the name and a key. It deceives nobody unless the real secrets have as long a salt and as many
/// iterations as it says here.
#[derive(Clone, Copy)]
pub struct Decoy {
    /// Random octets, the same for as long as salts are, on all servers that share users; a
    /// secret.
    pub key: [u8; 32],
    /// Octets in a salt: 1 to 32.
    pub salt_len: usize,
    /// How often a password was hashed.
    pub iterations: u32,
}

impl Decoy {
    /// For secrets with 16 octets of salt and 4,096 iterations.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            salt_len: 16,
            iterations: 4096,
        }
    }

    /// A secret for a name: of no password, and always the same. An exchange makes its own for
    /// `None`; this is for servers that take several spellings for one name, and pass one
    /// of them here.
    #[must_use]
    pub fn secret(&self, user: &str) -> ScramSecret {
        let made_up = |label: &[u8]| hmac(&self.key, &[label, b"\0", user.as_bytes()]);
        let mut salt = made_up(b"salt").to_vec();
        salt.truncate(self.salt_len.max(1));
        ScramSecret {
            salt,
            iterations: self.iterations,
            stored_key: made_up(b"stored key"),
            server_key: made_up(b"server key"),
        }
    }
}

/// Whoever reads a log shall not read this.
impl fmt::Debug for Decoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoy")
            .field("salt_len", &self.salt_len)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// What a client computes of a password.
pub(super) struct Keys {
    salted_password: [u8; 32],
}

impl Keys {
    /// `password` has been prepared.
    //= RFC 5802 section 2.2: Hi() is PBKDF2 with one block of output
    pub(super) fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        Self {
            salted_password: pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(
                password.as_bytes(),
                salt,
                iterations,
            ),
        }
    }

    //= RFC 5802 section 3: ClientKey := HMAC(SaltedPassword, "Client Key")
    fn client_key(&self) -> [u8; 32] {
        hmac(&self.salted_password, &[b"Client Key"])
    }

    //= RFC 5802 section 3: StoredKey := H(ClientKey)
    fn stored_key(&self) -> [u8; 32] {
        hash(&self.client_key())
    }

    //= RFC 5802 section 3: ServerKey := HMAC(SaltedPassword, "Server Key")
    pub(super) fn server_key(&self) -> [u8; 32] {
        hmac(&self.salted_password, &[b"Server Key"])
    }

    //= RFC 5802 section 3: ClientProof := ClientKey XOR ClientSignature
    pub(super) fn proof(&self, auth_message: &[u8]) -> [u8; 32] {
        let client_key = self.client_key();
        xor(&client_key, &signature(&hash(&client_key), auth_message))
    }
}

/// ClientSignature and ServerSignature, each of its key.
//= RFC 5802 section 3: ClientSignature := HMAC(StoredKey, AuthMessage), ServerSignature likewise
pub(super) fn signature(key: &[u8; 32], auth_message: &[u8]) -> [u8; 32] {
    hmac(key, &[auth_message])
}

/// Was the proof made by somebody who knows the password?
//= RFC 5802 section 3: the key that the proof gives back is hashed and compared to StoredKey
pub(super) fn proves(proof: &[u8; 32], stored_key: &[u8; 32], auth_message: &[u8]) -> bool {
    let client_key = xor(proof, &signature(stored_key, auth_message));
    same(&hash(&client_key), stored_key)
}

/// Compares in a time that does not depend on the octets.
pub(super) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).to_bool()
}

fn hash(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key of 32 octets is shorter than a block: `KeyInit::new` would want a whole one.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length are taken");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut out = *a;
    for (out, other) in out.iter_mut().zip(b) {
        *out ^= other;
    }
    out
}
