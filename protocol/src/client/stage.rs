//! The names of the places where a connection and its newest transaction can stand, and what can
//! be read from a place. Nothing moves here: `state` makes the moves.

use super::{Fate, Unsendable, Violation};

/// Where the connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Greeting, EHLO, STARTTLS, AUTH and questions: nothing can begin before the answer.
    Opening,
    /// The peer has said a challenge, and the caller has not answered it.
    Challenged,
    /// Transactions.
    Ready,
    /// The caller shakes hands.
    Handshake,
    /// QUIT was sent.
    Quitting,
    /// It was not told yet that this ended the connection.
    Ending(Violation),
    /// Over.
    Closed,
    /// Over, and by a 421: the peer has taken nothing that it has not answered.
    TurnedAway,
}

/// Where the newest transaction stands.
///
/// ```text
/// None ── begin ──► Begun ── RSET ──► Cleared ── MAIL ──► Envelope ── DATA ──► Asked ── 354 ──► Body ──► Ended
///                     │                                    │  │ └────────────── BDAT ───────────►┘▲
///                     ▼                                    │  └─ own chunks ──► Due ── BDAT ─────►┤
///                Unsendable                                ▼                     ▲                │
///                                                       GivenUp                  └─ not the last ─┘
///                                              nobody takes it, or `reset`
/// ```
/// From the four at the ends an answer, or the lack of any, leads back to `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// There is none.
    None,
    /// Nothing of it was sent.
    Begun,
    /// RSET was sent in front of it.
    Cleared,
    /// MAIL was sent, and `written_count` of the recipients.
    Envelope,
    /// DATA was sent.
    Asked,
    /// The caller's next chunk is due.
    Due,
    /// The content is due, or on its way.
    Body,
    /// The end of the content was sent.
    Ended,
    /// No content will be sent; answers may be outstanding.
    GivenUp,
    /// No content can be sent; that is not told yet.
    Unsendable(Unsendable),
}

/// What came back for a transaction so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answers {
    /// Whether MAIL was taken, once that is known.
    pub(super) mail: Option<bool>,
    /// Recipients answered for, and those of them that were taken.
    pub(super) answered: u16,
    pub(super) taken: u16,
    /// LMTP: how many of those that were taken have their answer behind the content.
    pub(super) delivered: u16,
}

impl Answers {
    pub(super) const NONE: Self = Self {
        mail: None,
        answered: 0,
        taken: 0,
        delivered: 0,
    };

    /// The sender was refused.
    pub(super) const fn refused(self) -> bool {
        matches!(self.mail, Some(false))
    }

    /// Of so many recipients none is left: the sender was refused, or each of them.
    pub(super) const fn nobody(self, recipient_count: u16) -> bool {
        self.refused() || (self.answered == recipient_count && self.taken == 0)
    }

    /// Everybody of so many recipients has the last answer: nobody is left, or it was LMTP and all was said.
    const fn complete(self, recipient_count: u16) -> bool {
        self.nobody(recipient_count)
            || (self.answered == recipient_count && self.delivered == self.taken)
    }
}

impl Stage {
    /// What has become of a transaction that stood here when the connection ended, with these
    /// answers; by a 421 if it was turned away.
    pub(super) const fn fate(
        self,
        answers: Answers,
        recipient_count: u16,
        turned_away: bool,
    ) -> Option<Fate> {
        let complete = answers.complete(recipient_count);
        match self {
            Self::None => None,
            // Its recipients are not counted yet, and none was answered for.
            Self::Begun | Self::Cleared | Self::Unsendable(_) => Some(Fate::Unsent),
            Self::GivenUp => Some(Fate::Answered),
            Self::Envelope | Self::Asked | Self::Due | Self::Body | Self::Ended if complete => {
                Some(Fate::Answered)
            }
            Self::Ended if !turned_away => Some(Fate::InDoubt),
            Self::Envelope | Self::Asked | Self::Due | Self::Body | Self::Ended => {
                Some(Fate::Unsent)
            }
        }
    }
}
