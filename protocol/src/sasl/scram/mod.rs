//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, RFC 5802 section 7: the grammar that both sides share. Who
//! says what when is in `client` and `server`, what is kept of a password in `secret`.

pub(super) mod client;
mod secret;
pub(super) mod server;

pub use secret::{Decoy, ScramSecret};

use super::{base64, gs2};
use alloc::vec::Vec;

/// Octets in a client's nonce. Nobody has as many; and the server's first message, which repeats it,
/// then fits in a line.
const NONCE_LEN_MAX: usize = 1024;

/// What the client says first.
struct ClientFirst<'m> {
    header: gs2::Header<'m>,
    /// All behind the header.
    bare: &'m str,
    /// Quoted.
    user: &'m str,
    nonce: &'m str,
}

impl<'m> ClientFirst<'m> {
    /// `None` if it is not of this form.
    //= RFC 5802 section 7: gs2-header, then a name, a nonce and extensions
    fn read(message: &'m [u8]) -> Option<Self> {
        let message = core::str::from_utf8(message).ok()?;
        let (header, bare) = gs2::read(message)?;
        let mut attributes = bare.split(',');
        let user = attribute(attributes.next(), "n=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        let sound = is_nonce(nonce) && nonce.len() <= NONCE_LEN_MAX;
        (sound && attributes.all(is_extension)).then_some(Self {
            header,
            bare,
            user,
            nonce,
        })
    }
}

/// What the server says first.
struct ServerFirst<'m> {
    nonce: &'m str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'m> ServerFirst<'m> {
    /// `None` if it is not of this form.
    //= RFC 5802 section 7: a nonce, a salt, a count of iterations and extensions
    fn read(message: &'m str) -> Option<Self> {
        let mut attributes = message.split(',');
        let nonce = attribute(attributes.next(), "r=")?;
        let salt = attribute(attributes.next(), "s=")?;
        let iterations = attribute(attributes.next(), "i=")?;
        let salt = octets(salt).filter(|salt| !salt.is_empty())?;
        (is_nonce(nonce) && attributes.all(is_extension)).then_some(Self {
            nonce,
            salt,
            iterations: positive(iterations)?,
        })
    }
}

/// What the client says last.
struct ClientFinal<'m> {
    /// Base64 of the header and the binding.
    binding: &'m str,
    nonce: &'m str,
    /// All but the proof and the comma before it.
    without_proof: &'m str,
    proof: [u8; 32],
}

impl<'m> ClientFinal<'m> {
    /// `None` if it is not of this form.
    //= RFC 5802 section 7: the binding, the nonce, extensions, and at the end the proof
    fn read(message: &'m [u8]) -> Option<Self> {
        let message = core::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), "c=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        attributes.all(is_extension).then_some(Self {
            binding,
            nonce,
            without_proof,
            proof: digest(proof)?,
        })
    }
}

/// The value of the attribute if it has this name.
fn attribute<'m>(text: Option<&'m str>, name: &str) -> Option<&'m str> {
    text?.strip_prefix(name)
}

/// An attribute that this version of SCRAM does not know, and may ignore.
//= RFC 5802 section 5.1: an attribute "m" makes the exchange fail, other unknown ones are ignored
fn is_extension(text: &str) -> bool {
    let Some((name, value)) = text.split_once('=') else {
        return false;
    };
    let &[letter] = name.as_bytes() else {
        return false;
    };
    letter.is_ascii_alphabetic() && letter != b'm' && !value.is_empty() && !value.contains('\0')
}

//= RFC 5802 section 7: printable = %x21-2B / %x2D-7E
fn is_nonce(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// # Panics
/// If the nonce is empty or holds a comma or anything that is not visible ASCII.
#[track_caller]
fn assert_nonce(nonce: &str) {
    assert!(
        is_nonce(nonce),
        "a nonce is of visible ASCII characters without comma"
    );
}

//= RFC 5802 section 7: posit-number = %x31-39 *DIGIT
fn positive(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|octet| octet.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

fn octets(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    base64::decode(text.as_bytes(), &mut octets).then_some(octets)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    octets(text)?.try_into().ok()
}
