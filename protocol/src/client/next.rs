//! What to send, and what an answer may be: pure decisions over what the peer offers. Nothing here
//! changes a state, and nothing here knows what was sent before.

use super::window::Kind;
use super::{Config, Envelope, Step, Unsendable};
use crate::command::{BodyKind, Mail};
use crate::extension::{Extension, Extensions};
use core::time::Duration;

/// How the content of a transaction travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// DATA, once somebody waits for it.
    Data,
    /// BDAT, when the recipients are answered for.
    Chunk,
    /// BDAT right behind the recipients, their answers yet to come.
    ChunkAtOnce,
}

/// How to send this message to this peer, or why it cannot be sent.
pub(super) fn plan<'e>(
    envelope: &Envelope<'e>,
    extensions: Extensions,
    proven: bool,
    config: &Config,
) -> Result<(Mail<'e>, Way), Unsendable> {
    let utf8 = envelope.mail.smtputf8
        || !envelope.mail.from.as_str().is_ascii()
        || envelope
            .recipients
            .iter()
            .any(|recipient| !recipient.to.as_str().is_ascii());
    let eight_bit = envelope.mail.body == Some(BodyKind::EightBitMime);
    //= RFC 6531 section 3.2: such a message goes to no server without SMTPUTF8
    if utf8 && !extensions.has(Extension::SmtpUtf8) {
        return Err(Unsendable::Utf8);
    }
    //= RFC 5321 section 2.4: octets above 127 go to no server without 8BITMIME
    if eight_bit && !extensions.has(Extension::EightBitMime) {
        return Err(Unsendable::EightBit);
    }
    //= RFC 1870 section 6.1: what is larger than the limit that was named is not even tried
    if envelope.mail.size > extensions.size_max() && extensions.size_max().is_some() {
        return Err(Unsendable::TooLarge);
    }
    let mail = Mail {
        size: envelope
            .mail
            .size
            .filter(|_| extensions.has(Extension::Size)),
        body: eight_bit.then_some(BodyKind::EightBitMime),
        smtputf8: utf8,
        ..Mail::new(envelope.mail.from)
    };
    Ok((mail, way(envelope.mail.size, extensions, proven, config)))
}

//= RFC 3030 section 3: BDAT goes to servers alone that offer CHUNKING
fn way(size: Option<u64>, extensions: Extensions, proven: bool, config: &Config) -> Way {
    let Some(size) = size.filter(|_| config.chunking && extensions.has(Extension::Chunking)) else {
        return Way::Data;
    };
    let at_once_max = if proven {
        config.at_once_proven_max
    } else {
        config.at_once_max
    };
    if size <= at_once_max && pipelines(extensions, config) {
        Way::ChunkAtOnce
    } else {
        Way::Chunk
    }
}

/// May several commands be on their way at once?
pub(super) const fn pipelines(extensions: Extensions, config: &Config) -> bool {
    config.pipelining && extensions.has(Extension::Pipelining)
}

/// How long to wait for the answer to such a command.
pub(super) const fn timeout(kind: Kind, config: &Config) -> Duration {
    let timeouts = &config.timeouts;
    match kind {
        Kind::Greeting => timeouts.greeting,
        Kind::Hello | Kind::HelloOld | Kind::StartTls => timeouts.ehlo,
        Kind::Reset | Kind::Mail => timeouts.mail,
        Kind::Recipient => timeouts.recipient,
        Kind::Data => timeouts.data,
        Kind::End | Kind::EndOfNothing | Kind::Chunk => timeouts.data_dot,
        Kind::Quit => timeouts.quit,
    }
}

/// What a caller calls the step that such a command belongs to.
pub(super) const fn step(kind: Kind) -> Step {
    match kind {
        Kind::Greeting => Step::Greeting,
        Kind::Hello | Kind::HelloOld => Step::Hello,
        Kind::StartTls => Step::StartTls,
        Kind::Reset => Step::Reset,
        Kind::Mail => Step::Mail,
        Kind::Recipient => Step::Recipient,
        Kind::Data => Step::Data,
        Kind::End | Kind::EndOfNothing | Kind::Chunk => Step::EndOfData,
        Kind::Quit => Step::Quit,
    }
}
