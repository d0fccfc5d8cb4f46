//! Which kind of failure an answer tells of. Pure: code, status and text in, a category out.

use crate::message::Answer;

/// The categories that operators know from other bulk senders.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // each is its own name
pub enum Category {
    BadMailbox,
    BadDomain,
    InactiveMailbox,
    QuotaIssues,
    MessageExpired,
    SpamRelated,
    PolicyRelated,
    VirusRelated,
    ProtocolErrors,
    RoutingErrors,
    NoAnswerFromHost,
    BadConnection,
    ContentRelated,
    RelayingIssues,
    Other,
}

/// The category of an answer.
pub fn classify(answer: &Answer<'_>) -> Category {
    let _ = answer;
    unimplemented!()
}
