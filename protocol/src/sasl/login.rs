//! LOGIN: two prompts and two answers, without any RFC (draft-murchison-sasl-login, expired). Whether
//! the password is right is the caller's business.

/// What the server asks first.
///
/// Clients either do not look at the prompts or look for these words.
pub(super) const USER: &[u8] = b"Username:";

/// What it asks next.
pub(super) const PASSWORD: &[u8] = b"Password:";

/// An answer: UTF-8, not empty and without NUL, as in PLAIN, or `None`.
pub(super) fn read(answer: &[u8]) -> Option<&str> {
    let answer = core::str::from_utf8(answer).ok()?;
    is_sound(answer).then_some(answer)
}

/// Can it be sent as an answer?
pub(super) fn is_sound(answer: &str) -> bool {
    !answer.is_empty() && !answer.contains('\0')
}
