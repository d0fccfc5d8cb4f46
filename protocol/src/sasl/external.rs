//! EXTERNAL: the client's certificate has said who it is, and this message says who it wants to act
//! as. Whether it may is the caller's business.

/// Who the client wants to act as: empty for whoever the certificate names; `None` if it is no name.
//= RFC 4422 appendix A.1: any UTF-8 without NUL, or nothing at all
pub(super) fn read(message: &[u8]) -> Option<&str> {
    let authorization = core::str::from_utf8(message).ok()?;
    is_sound(authorization).then_some(authorization)
}

/// Can it be sent?
pub(super) fn is_sound(authorization: &str) -> bool {
    !authorization.contains('\0')
}
