//! A mailbox or a domain: what is taken keeps its form, and none can break out of its line.

use mailrail_protocol::address::{Charset, Domain, Mailbox, OwnedMailbox};

/// The text of one address.
pub(crate) fn run(text: &[u8]) {
    let ascii = Mailbox::parse(text, Charset::Ascii);
    let utf8 = Mailbox::parse(text, Charset::Utf8);
    if let Some(mailbox) = ascii {
        assert!(mailbox.is_ascii());
        assert_eq!(utf8, Some(mailbox), "UTF-8 only adds addresses");
    }
    if let Some(mailbox) = utf8 {
        assert_eq!(ascii.is_some(), mailbox.is_ascii());
        assert_eq!(mailbox.as_str().as_bytes(), text);
        assert!(!text.iter().any(|byte| byte.is_ascii_control()));
        let whole = format!("{}@{}", mailbox.local_part(), mailbox.domain_str());
        assert_eq!(whole, mailbox.as_str());
        let domain = Domain::parse(mailbox.domain_str().as_bytes(), Charset::Utf8);
        assert_eq!(domain, Some(mailbox.domain()));
        let owned = mailbox.to_owned();
        assert_eq!(owned.as_mailbox(), mailbox);
        assert_eq!(OwnedMailbox::parse(mailbox.as_str()), Some(owned));
    }
    let ascii = Domain::parse(text, Charset::Ascii);
    if ascii.is_some() {
        assert_eq!(Domain::parse(text, Charset::Utf8), ascii);
    }
}
