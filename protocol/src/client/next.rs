//! What to send, and what an answer may be: pure decisions over what the peer offers. Nothing here
//! changes a state, and nothing here knows what was sent before.

use super::window::Kind;
use super::{Config, Envelope, Recipient, Step, Unsendable};
use crate::command::{BodyKind, DeliverBy, Hold, Mail, Submitter};
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
    /// BDAT in the caller's chunks, when the recipients are answered for.
    OwnChunks,
}

/// A connection, as far as plans depend on it.
#[derive(Clone, Copy)]
pub(super) struct Peer<'c> {
    pub(super) extensions: &'c Extensions,
    pub(super) encrypted: bool,
    /// It has taken a message.
    pub(super) proven: bool,
    pub(super) config: &'c Config,
}

/// How to send this message to this peer, or why it cannot be sent.
pub(super) fn plan<'e>(
    envelope: &Envelope<'e>,
    peer: Peer<'_>,
) -> Result<(Mail<'e>, Way), Unsendable> {
    let (mail, offers) = (&envelope.mail, peer.extensions);
    let utf8 = mail.smtputf8
        || !mail.from.as_str().is_ascii()
        || envelope
            .recipients
            .iter()
            .any(|recipient| !recipient.to.as_str().is_ascii());
    //= RFC 6531 section 3.2: such a message goes to no server without SMTPUTF8
    if utf8 && !offers.has(Extension::SmtpUtf8) {
        return Err(Unsendable::Utf8);
    }
    let body = mail.body.filter(|body| *body != BodyKind::SevenBit);
    //= RFC 5321 section 2.4: octets above 127 go to no server without 8BITMIME,
    //= RFC 6152 section 3: and are announced by BODY=8BITMIME to those that have it
    if body == Some(BodyKind::EightBitMime) && !offers.has(Extension::EightBitMime) {
        return Err(Unsendable::EightBit);
    }
    let way = way(mail, offers, peer.proven, peer.config);
    //= RFC 3030 section 3: binary content needs BINARYMIME, goes by BDAT, and never by DATA
    if body == Some(BodyKind::BinaryMime)
        && (way == Way::Data || !offers.has(Extension::BinaryMime))
    {
        return Err(Unsendable::Binary);
    }
    //= RFC 1870 section 6.1: what is larger than the limit that was named is not even tried
    if mail.size > offers.size_max() && offers.size_max().is_some() {
        return Err(Unsendable::TooLarge);
    }
    //= RFC 8689 section 4.2.1: such a message goes over TLS alone, and to servers alone that promise to keep it so
    if mail.require_tls && !(peer.encrypted && offers.has(Extension::RequireTls)) {
        return Err(Unsendable::RequireTls);
    }
    let dsn = offers.has(Extension::Dsn);
    let mail = Mail {
        size: mail.size.filter(|_| offers.has(Extension::Size)),
        body,
        smtputf8: utf8,
        require_tls: mail.require_tls,
        //= RFC 3461 section 4: RET and ENVID are for servers that offer DSN; to others the message goes without
        return_: mail.return_.filter(|_| dsn),
        envelope_id: mail.envelope_id.filter(|_| dsn),
        submitter: submitter(mail, offers),
        deliver_by: deliver_by(mail.deliver_by, offers)?,
        hold: hold(mail.hold, offers)?,
        //= RFC 6710 section 4: a priority is a wish, without which the message is still the same
        priority: mail.priority.filter(|_| offers.has(Extension::MtPriority)),
        ..Mail::new(mail.from)
    };
    Ok((mail, way))
}

/// AUTH of MAIL.
//= RFC 4954 section 5: it is for servers alone that offer AUTH
fn submitter<'e>(mail: &Mail<'e>, offers: &Extensions) -> Option<Submitter<'e>> {
    let submitter = mail.submitter.filter(|_| offers.has(Extension::Auth))?;
    match submitter {
        //= RFC 4954 section 5: the value is xtext, which is ASCII, in SMTPUTF8 transactions too;
        //= RFC 4954 section 5: the value is xtext, which is ASCII, in SMTPUTF8 transactions too;
        //= RFC 4954 section 5: a mailbox that cannot be named is left open as AUTH=<>
        Submitter::Mailbox(mailbox) if !mailbox.as_str().is_ascii() => Some(Submitter::Unknown),
        other => Some(other),
    }
}

/// BY.
fn deliver_by(
    wish: Option<DeliverBy>,
    offers: &Extensions,
) -> Result<Option<DeliverBy>, Unsendable> {
    let Some(by) = wish else { return Ok(None) };
    let offered = offers.has(Extension::DeliverBy);
    if by.notify {
        //= RFC 2852 section 4: in mode N the message goes on also where its time is not watched
        return Ok(Some(by).filter(|_| offered));
    }
    //= RFC 2852 section 4: in mode R it goes to no server that does not offer DELIVERBY;
    //= RFC 2852 section 4: nor to one whose shortest time is longer, nor when the time is up
    let shortest = i64::from(offers.deliver_by_min()).max(1);
    if offered && i64::from(by.seconds) >= shortest {
        Ok(Some(by))
    } else {
        Err(Unsendable::DeliverBy)
    }
}

/// HOLDFOR and HOLDUNTIL.
//= RFC 4865 section 3: a message that is to be held goes only where it is held, and for so long
fn hold(wish: Option<Hold>, offers: &Extensions) -> Result<Option<Hold>, Unsendable> {
    let limits = offers.future_release();
    let held = match wish {
        None => true,
        Some(_) if !offers.has(Extension::FutureRelease) => false,
        Some(Hold::For(seconds)) => seconds <= limits.interval_max_s,
        Some(Hold::Until(moment)) => moment <= limits.until_max,
    };
    held.then_some(wish).ok_or(Unsendable::Hold)
}

/// A recipient as this peer can be told of it.
pub(super) fn recipient<'e>(
    recipient: &Recipient<'e>,
    utf8: bool,
    offers: &Extensions,
) -> Recipient<'e> {
    //= RFC 3461 section 4: NOTIFY and ORCPT are for servers that offer DSN; to others the message goes without
    if !offers.has(Extension::Dsn) {
        return Recipient::new(recipient.to);
    }
    let mut told = *recipient;
    //= RFC 6533 section 3: UTF-8 stands for itself in transactions with SMTPUTF8 alone
    told.original = told
        .original
        .filter(|original| utf8 || original.address().as_str().is_ascii());
    told
}

//= RFC 3030 section 3: BDAT goes to servers alone that offer CHUNKING
fn way(mail: &Mail<'_>, offers: &Extensions, proven: bool, config: &Config) -> Way {
    if !(config.chunking && offers.has(Extension::Chunking)) {
        return Way::Data;
    }
    let binary = mail.body == Some(BodyKind::BinaryMime);
    let Some(size) = mail.size else {
        return if binary || config.own_chunks {
            Way::OwnChunks
        } else {
            Way::Data
        };
    };
    let at_once_max = if proven {
        config.at_once_proven_max
    } else {
        config.at_once_max
    };
    if size <= at_once_max && pipelines(offers, config) {
        Way::ChunkAtOnce
    } else {
        Way::Chunk
    }
}

/// May several commands be on their way at once?
pub(super) const fn pipelines(extensions: &Extensions, config: &Config) -> bool {
    config.pipelining && extensions.has(Extension::Pipelining)
}

/// How long to wait for the answer to such a command.
pub(super) const fn timeout(kind: Kind, config: &Config) -> Duration {
    let timeouts = &config.timeouts;
    match step(kind) {
        Step::Greeting => timeouts.greeting,
        Step::Hello | Step::StartTls => timeouts.ehlo,
        Step::Auth => timeouts.auth,
        Step::Other => timeouts.other,
        Step::Reset | Step::Mail => timeouts.mail,
        Step::Recipient => timeouts.recipient,
        Step::Data => timeouts.data,
        Step::EndOfData => timeouts.data_dot,
        Step::Quit => timeouts.quit,
    }
}

/// What a caller calls the step that such a command belongs to.
pub(super) const fn step(kind: Kind) -> Step {
    match kind {
        Kind::Greeting => Step::Greeting,
        Kind::Hello | Kind::HelloOld => Step::Hello,
        Kind::StartTls => Step::StartTls,
        Kind::Auth | Kind::AuthCancel => Step::Auth,
        Kind::XClient | Kind::XForward | Kind::Other => Step::Other,
        Kind::Reset => Step::Reset,
        Kind::Mail => Step::Mail,
        Kind::Recipient => Step::Recipient,
        Kind::Data => Step::Data,
        Kind::End | Kind::EndOfNothing | Kind::Chunk | Kind::ChunkLast => Step::EndOfData,
        Kind::Quit => Step::Quit,
    }
}
