//! PLAIN: the one message of RFC 4616 section 2, read and written. Whether the password is right is the
//! caller's business.

use alloc::vec::Vec;

/// The message, understood.
pub(super) struct Message<'m> {
    pub(super) authorization: &'m str,
    pub(super) user: &'m str,
    pub(super) password: &'m str,
}

/// `None` if it is not of this form.
//= RFC 4616 section 2: [authzid] NUL authcid NUL passwd, in UTF-8; the latter two are not empty
pub(super) fn read(message: &[u8]) -> Option<Message<'_>> {
    let mut parts = core::str::from_utf8(message).ok()?.split('\0');
    let message = Message {
        authorization: parts.next()?,
        user: parts.next().filter(|user| !user.is_empty())?,
        password: parts.next().filter(|password| !password.is_empty())?,
    };
    parts.next().is_none().then_some(message)
}

/// Appends the message; false, and nothing is appended, if these strings cannot be sent in it.
//= RFC 4616 section 2: NUL must not appear in any of the three
pub(super) fn write(authorization: &str, user: &str, password: &str, out: &mut Vec<u8>) -> bool {
    let parts = [authorization, user, password];
    let sound =
        !user.is_empty() && !password.is_empty() && parts.iter().all(|part| !part.contains('\0'));
    if sound {
        out.extend_from_slice(authorization.as_bytes());
        out.push(0);
        out.extend_from_slice(user.as_bytes());
        out.push(0);
        out.extend_from_slice(password.as_bytes());
    }
    sound
}
