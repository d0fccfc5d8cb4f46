//! SASL, RFC 4422: what is said inside an AUTH exchange, for both sides, without sockets, without
//! randomness (nonces are arguments) and without any store of passwords. How an exchange travels
//! in SMTP is the sessions' business: they carry its base64 and never look inside.

pub mod base64;
mod mechanism;

pub use mechanism::{Mechanism, Mechanisms};
