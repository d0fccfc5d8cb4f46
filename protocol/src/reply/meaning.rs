//! What the known enhanced status codes mean, in few words each: RFC 3463 section 3 and the registry that
//! RFC 5248 section 2 opened. What to do about one is not known here.

use super::Status;

impl Status {
    /// What subject and detail mean together, in a few words of English; `None` where they are not
    /// known here. The class, which only says how it ended, does not matter for it.
    #[must_use]
    pub fn meaning(&self) -> Option<&'static str> {
        MEANINGS
            .binary_search_by_key(&(self.subject, self.detail), |&(subject, detail, _)| {
                (subject, detail)
            })
            .ok()
            .and_then(|place| MEANINGS.get(place))
            .map(|&(_, _, meaning)| meaning)
    }
}

/// Subject, detail and meaning; in order.
//= RFC 5248 section 2.1: the registry names the document that defines each
const MEANINGS: &[(u16, u16, &str)] = &[
    //= RFC 3463 section 3.1: other or undefined
    (0, 0, "Other undefined status"),
    //= RFC 3463 section 3.2: addresses
    (1, 0, "Other address status"),
    (1, 1, "Bad destination mailbox address"),
    (1, 2, "Bad destination system address"),
    (1, 3, "Bad destination mailbox address syntax"),
    (1, 4, "Destination mailbox address ambiguous"),
    (1, 5, "Destination mailbox address valid"),
    (1, 6, "Destination mailbox has moved"),
    (1, 7, "Bad sender's mailbox address syntax"),
    (1, 8, "Bad sender's system address"),
    // Message tracking: relayed to a mailer that cannot be asked how it went on
    (1, 9, "Message relayed to non-compliant mailer"),
    //= RFC 7505 section 6: domains that take no mail
    (1, 10, "Recipient address has null MX"),
    //= RFC 3463 section 3.3: mailboxes
    (2, 0, "Other or undefined mailbox status"),
    (2, 1, "Mailbox disabled, not accepting messages"),
    (2, 2, "Mailbox full"),
    (2, 3, "Message length exceeds administrative limit"),
    (2, 4, "Mailing list expansion problem"),
    //= RFC 3463 section 3.4: mail systems
    (3, 0, "Other or undefined mail system status"),
    (3, 1, "Mail system full"),
    (3, 2, "System not accepting network messages"),
    (3, 3, "System not capable of selected features"),
    (3, 4, "Message too big for system"),
    (3, 5, "System incorrectly configured"),
    //= RFC 6710 section 4.1: priorities
    (3, 6, "Requested priority was changed"),
    //= RFC 3463 section 3.5: network and routing
    (4, 0, "Other or undefined network or routing status"),
    (4, 1, "No answer from host"),
    (4, 2, "Bad connection"),
    (4, 3, "Directory server failure"),
    (4, 4, "Unable to route"),
    (4, 5, "Mail system congestion"),
    (4, 6, "Routing loop detected"),
    (4, 7, "Delivery time expired"),
    //= RFC 3463 section 3.6: the protocol of delivery
    (5, 0, "Other or undefined protocol status"),
    (5, 1, "Invalid command"),
    (5, 2, "Syntax error"),
    (5, 3, "Too many recipients"),
    (5, 4, "Invalid command arguments"),
    (5, 5, "Wrong protocol version"),
    //= RFC 4954 section 6: authentication
    (5, 6, "Authentication exchange line is too long"),
    //= RFC 3463 section 3.7: contents and media
    (6, 0, "Other or undefined media error"),
    (6, 1, "Media not supported"),
    (6, 2, "Conversion required and prohibited"),
    (6, 3, "Conversion required but not supported"),
    (6, 4, "Conversion with loss performed"),
    (6, 5, "Conversion failed"),
    //= RFC 4468 section 5: content by reference
    (6, 6, "Message content not available"),
    //= RFC 6531 section 4.2: addresses and headers beyond ASCII
    (
        6,
        7,
        "Non-ASCII addresses not permitted for that sender or recipient",
    ),
    (
        6,
        8,
        "UTF-8 string reply is required, but not permitted by the client",
    ),
    (
        6,
        9,
        "UTF-8 header message cannot be transferred to one or more recipients",
    ),
    //= RFC 3463 section 3.8: security and policy
    (7, 0, "Other or undefined security status"),
    (7, 1, "Delivery not authorized, message refused"),
    (7, 2, "Mailing list expansion prohibited"),
    (7, 3, "Security conversion required but not possible"),
    (7, 4, "Security features not supported"),
    (7, 5, "Cryptographic failure"),
    (7, 6, "Cryptographic algorithm not supported"),
    (7, 7, "Message integrity failure"),
    //= RFC 4954 section 6: authentication
    (7, 8, "Authentication credentials invalid"),
    (7, 9, "Authentication mechanism is too weak"),
    //= RFC 5248 section 2.4: codes in use that no document had described
    (7, 10, "Encryption needed"),
    //= RFC 4954 section 6: authentication
    (
        7,
        11,
        "Encryption required for requested authentication mechanism",
    ),
    (7, 12, "A password transition is needed"),
    //= RFC 5248 section 2.4: codes in use that no document had described
    (7, 13, "User account disabled"),
    (7, 14, "Trust relationship required"),
    //= RFC 6710 section 4.1: priorities
    (7, 15, "Priority level is too low"),
    (7, 16, "Message is too big for the specified priority"),
    // Require-Recipient-Valid-Since: mailboxes that changed hands
    (7, 17, "Mailbox owner has changed"),
    (7, 18, "Domain owner has changed"),
    (7, 19, "The required age of the mailbox cannot be verified"),
    //= RFC 7372 section 3: the sender's domain was not proved
    (7, 20, "No passing DKIM signature found"),
    (7, 21, "No acceptable DKIM signature found"),
    (7, 22, "No valid author-matched DKIM signature found"),
    (7, 23, "SPF validation failed"),
    (7, 24, "SPF validation error"),
    (7, 25, "Reverse DNS validation failed"),
    (7, 26, "Multiple authentication checks failed"),
    //= RFC 7505 section 6: domains that take no mail
    (7, 27, "Sender address has null MX"),
    (7, 28, "Mail flood detected"),
    //= RFC 8617 section 10.4: a chain of intermediaries that is broken
    (7, 29, "ARC validation failure"),
    //= RFC 8689 section 7: TLS all the way
    (7, 30, "REQUIRETLS support required"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Class;

    #[test]
    fn in_order_so_that_each_is_found() {
        assert!(MEANINGS.is_sorted_by(|(a, b, _), (c, d, _)| (a, b) < (c, d)));
        for &(subject, detail, meaning) in MEANINGS {
            let status = Status::new(Class::Permanent, subject, detail);
            assert_eq!(status.meaning(), Some(meaning));
        }
    }

    #[test]
    fn unknown_ones_have_none() {
        for (subject, detail) in [(0, 1), (1, 11), (8, 0), (999, 999)] {
            assert_eq!(
                Status::new(Class::Transient, subject, detail).meaning(),
                None
            );
        }
    }
}
