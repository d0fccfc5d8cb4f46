//! MAIL and RCPT with text of their own, for an envelope that outlives the bytes it was read from: what a
//! relay keeps, and what a proxy says again to the next host.

use super::{Mail, OriginalRecipient, Recipient, Submitter};
use crate::address::{OwnedForwardPath, OwnedReversePath, ReversePath};
use crate::xtext::Xtext;
use alloc::boxed::Box;

/// MAIL FROM and its parameters, with text of their own.
///
/// ```
/// use mailrail_protocol::address::{OwnedReversePath, ReversePath};
/// use mailrail_protocol::command::{Mail, OwnedMail};
///
/// let sender: OwnedReversePath = "<x@a.example>".parse()?;
/// let kept: OwnedMail = Mail::new(sender.as_reverse_path()).into();
/// drop(sender);
/// assert_eq!(kept.as_mail().from.as_str(), "x@a.example");
/// # Ok::<(), mailrail_protocol::address::Malformed>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct OwnedMail {
    from: OwnedReversePath,
    envelope_id: Option<Box<str>>,
    submitter: Option<OwnedSubmitter>,
    /// The rest, which borrows nothing.
    plain: Mail<'static>,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
enum OwnedSubmitter {
    Unknown,
    Mailbox(Box<str>),
}

impl OwnedMail {
    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_mail(&self) -> Mail<'_> {
        let submitter = self.submitter.as_ref().map(|submitter| match submitter {
            OwnedSubmitter::Unknown => Submitter::Unknown,
            OwnedSubmitter::Mailbox(text) => Submitter::Mailbox(Xtext::known(text)),
        });
        Mail {
            from: self.from.as_reverse_path(),
            envelope_id: self.envelope_id.as_deref().map(Xtext::known),
            submitter,
            ..self.plain
        }
    }
}

impl From<Mail<'_>> for OwnedMail {
    fn from(mail: Mail<'_>) -> Self {
        let submitter = mail.submitter.map(|submitter| match submitter {
            Submitter::Unknown => OwnedSubmitter::Unknown,
            Submitter::Mailbox(text) => OwnedSubmitter::Mailbox(text.as_str().into()),
        });
        Self {
            from: mail.from.into(),
            envelope_id: mail.envelope_id.map(|text| text.as_str().into()),
            submitter,
            plain: Mail {
                from: ReversePath::Null,
                envelope_id: None,
                submitter: None,
                size: mail.size,
                body: mail.body,
                smtputf8: mail.smtputf8,
                require_tls: mail.require_tls,
                return_: mail.return_,
                deliver_by: mail.deliver_by,
                hold: mail.hold,
                priority: mail.priority,
            },
        }
    }
}

/// RCPT TO and its parameters, with text of their own.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct OwnedRecipient {
    to: OwnedForwardPath,
    notify: Option<super::Notify>,
    /// ORCPT: the type, and the address as it was encoded.
    original: Option<(Box<str>, Box<str>)>,
}

impl OwnedRecipient {
    /// The view of it that everything else works with.
    #[must_use]
    pub fn as_recipient(&self) -> Recipient<'_> {
        Recipient {
            to: self.to.as_forward_path(),
            notify: self.notify,
            original: self.original.as_ref().and_then(|(address_type, address)| {
                OriginalRecipient::new(address_type, Xtext::known(address))
            }),
        }
    }
}

impl From<Recipient<'_>> for OwnedRecipient {
    fn from(recipient: Recipient<'_>) -> Self {
        Self {
            to: recipient.to.into(),
            notify: recipient.notify,
            original: recipient.original.map(|original| {
                let address = original.address();
                (original.address_type().into(), address.as_str().into())
            }),
        }
    }
}
