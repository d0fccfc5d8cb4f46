//! XOAUTH2 and OAUTHBEARER: a bearer token in a list of pairs, read and written. What a token is
//! worth is the caller's business.

use super::gs2;
use alloc::string::String;
use alloc::vec::Vec;

/// What parts the pairs.
//= RFC 7628 section 3.1: kvsep is %x01
const SEPARATOR: char = '\x01';

/// What a client answers to an error in OAUTHBEARER, so that the server can end the exchange.
//= RFC 7628 section 3.2.3: a single %x01
pub(super) const DUMMY: &[u8] = b"\x01";

/// A message, understood.
pub(super) struct Message<'m> {
    /// Quoted in OAUTHBEARER, as it is in XOAUTH2.
    pub(super) authorization: &'m str,
    /// Empty if nothing was said.
    pub(super) host: &'m str,
    pub(super) port: Option<u16>,
    /// Empty if the client only asks what it would take.
    pub(super) token: &'m str,
}

/// The first message of OAUTHBEARER; `None` if it is not of this form.
//= RFC 7628 section 3.1: gs2-header kvsep *kvpair kvsep
pub(super) fn read_bearer(message: &[u8]) -> Option<Message<'_>> {
    let message = core::str::from_utf8(message).ok()?;
    let (header, pairs) = message.split_once(SEPARATOR)?;
    let (header, behind) = gs2::read(header)?;
    // There is no channel binding in this mechanism, so that nobody can have asked for one.
    if !behind.is_empty() || header.flag.starts_with("p=") {
        return None;
    }
    let pairs = pairs.strip_suffix(SEPARATOR)?;
    let (mut host, mut port, mut auth) = (None, None, None);
    for pair in pairs.split_terminator(SEPARATOR) {
        let (key, value) = pair.split_once('=')?;
        if !is_key(key) || !value.bytes().all(is_value_octet) {
            return None;
        }
        let slot = match key {
            "host" => &mut host,
            "port" => &mut port,
            "auth" => &mut auth,
            //= RFC 7628 section 3.1: unknown pairs are ignored
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    // A last pair ends with a separator of its own.
    if !pairs.is_empty() && !pairs.ends_with(SEPARATOR) {
        return None;
    }
    Some(Message {
        authorization: header.authorization,
        host: host.unwrap_or_default(),
        port: match port {
            Some(digits) => Some(read_port(digits)?),
            None => None,
        },
        //= RFC 7628 section 3.1: auth is required
        token: read_token(auth?)?,
    })
}

/// The message of XOAUTH2; `None` if it is not of this form.
//= https://developers.google.com/gmail/imap/xoauth2-protocol section "initial client response": user=, ^A, auth=Bearer, ^A, ^A
pub(super) fn read_x(message: &[u8]) -> Option<Message<'_>> {
    let message = core::str::from_utf8(message).ok()?;
    let (user, behind) = message.strip_prefix("user=")?.split_once(SEPARATOR)?;
    let auth = behind
        .strip_prefix("auth=")?
        .strip_suffix(SEPARATOR)?
        .strip_suffix(SEPARATOR)?;
    (!user.is_empty() && !user.contains('\0')).then_some(Message {
        authorization: user,
        host: "",
        port: None,
        token: read_token(auth)?,
    })
}

/// Appends the first message of OAUTHBEARER; false, and nothing is appended, if these strings cannot
/// be sent in it.
pub(super) fn write_bearer(
    authorization: &str,
    host: &str,
    port: Option<u16>,
    token: &str,
    out: &mut Vec<u8>,
) -> bool {
    let sound = !authorization.contains(['\0', SEPARATOR])
        && host.bytes().all(|octet| octet.is_ascii_graphic())
        && port != Some(0)
        && is_token(token);
    if sound {
        let mut text = String::from("n,");
        if !authorization.is_empty() {
            text.push_str("a=");
            gs2::quote(authorization, &mut text);
        }
        text.push_str(",\x01");
        if !host.is_empty() {
            text.push_str("host=");
            text.push_str(host);
            text.push(SEPARATOR);
        }
        if let Some(port) = port {
            text.push_str(&alloc::format!("port={port}\x01"));
        }
        text.push_str("auth=Bearer ");
        text.push_str(token);
        text.push_str("\x01\x01");
        out.extend_from_slice(text.as_bytes());
    }
    sound
}

/// Appends the message of XOAUTH2; false, and nothing is appended, if these strings cannot be sent in
/// it.
pub(super) fn write_x(user: &str, token: &str, out: &mut Vec<u8>) -> bool {
    let sound = !user.is_empty() && !user.contains(['\0', SEPARATOR]) && is_token(token);
    if sound {
        for part in ["user=", user, "\x01auth=Bearer ", token, "\x01\x01"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    sound
}

//= RFC 7628 section 3.1: key = 1*(ALPHA)
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_alphabetic())
}

//= RFC 7628 section 3.1: value = *(VCHAR / SP / HTAB / CR / LF)
fn is_value_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() || matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

//= RFC 7628 section 3.1: a decimal positive integer without leading zeros
fn read_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|octet| octet.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// The token of an Authorization field; empty if the field is.
//= RFC 7628 section 4: the name of the scheme may be in any case
//= RFC 7628 section 4.3: an empty field is how a client asks for the scope that it would need
fn read_token(auth: &str) -> Option<&str> {
    if auth.is_empty() {
        return Some("");
    }
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && is_token(token)).then_some(token)
}

/// Those of RFC 6750 section 2.1 are of fewer characters, but not everybody's tokens are such.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic())
}
