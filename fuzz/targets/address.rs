//! Mailboxes, domains and paths: what is taken keeps its form and cannot break out of its line; owned
//! forms say the same; and what is the same mailbox is so in both directions and has one form.

use mailrail_protocol::address::{
    Charset, Domain, ForwardPath, Mailbox, OwnedDomain, OwnedForwardPath, OwnedMailbox,
    OwnedReversePath, ReversePath,
};

/// The text of one address, or of two with a line end between them.
pub(crate) fn run(text: &[u8]) {
    one(text);
    let mut parts = text.splitn(2, |&byte| byte == b'\n');
    let (Some(left), Some(right)) = (parts.next(), parts.next()) else {
        return;
    };
    one(left);
    one(right);
    let read = |text| Mailbox::parse(text, Charset::Utf8);
    if let (Some(left), Some(right)) = (read(left), read(right)) {
        two(&left, &right);
    }
}

fn one(text: &[u8]) {
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
        mailbox_is_whole(&mailbox);
    }
    let ascii = Domain::parse(text, Charset::Ascii);
    if ascii.is_some() {
        assert_eq!(Domain::parse(text, Charset::Utf8), ascii);
    }
    if let Some(domain) = Domain::parse(text, Charset::Utf8) {
        domain_is_whole(&domain);
    }
    paths(text);
}

fn mailbox_is_whole(mailbox: &Mailbox<'_>) {
    let whole = format!("{}@{}", mailbox.local_part(), mailbox.domain_str());
    assert_eq!(whole, mailbox.as_str());
    let domain = Domain::parse(mailbox.domain_str().as_bytes(), Charset::Utf8);
    assert_eq!(domain, Some(mailbox.domain()));
    domain_is_whole(&mailbox.domain());
    let owned = mailbox.to_owned();
    assert_eq!(owned, *mailbox);
    assert_eq!(owned.to_string().parse::<OwnedMailbox>(), Ok(owned));
    assert!(mailbox.same_mailbox(mailbox));
    let meant = mailbox.local_part_unquoted();
    let again = OwnedMailbox::from_parts(&meant, mailbox.domain_str()).expect("it has a form");
    assert_eq!(again.as_mailbox().local_part_unquoted(), meant);
    assert!(again.as_mailbox().same_mailbox(mailbox));
    assert!(again.as_str().len() <= mailbox.as_str().len());
    if let Ok(canonical) = mailbox.canonical() {
        assert_eq!(canonical.as_mailbox().canonical().as_ref(), Ok(&canonical));
        assert!(canonical.as_mailbox().same_mailbox(mailbox));
    }
}

fn domain_is_whole(domain: &Domain<'_>) {
    let owned = domain.to_owned();
    assert_eq!(owned.as_domain(), *domain);
    assert_eq!(owned.to_string().parse::<OwnedDomain>(), Ok(owned));
    assert!(domain.same_domain(domain));
    if let Ok(ascii) = domain.to_ascii() {
        let again =
            Domain::parse(ascii.as_bytes(), Charset::Ascii).expect("it is a domain in ASCII");
        assert_eq!(again.to_ascii().as_deref(), Ok(&*ascii));
        assert!(again.same_domain(domain));
    }
    let _ = domain.to_unicode();
}

fn paths(text: &[u8]) {
    if let Some(path) = ReversePath::parse(text, Charset::Utf8) {
        let owned = path.to_owned();
        assert_eq!(owned.as_reverse_path(), path);
        let bracketed = format!("<{path}>");
        assert_eq!(bracketed.parse::<OwnedReversePath>(), Ok(owned));
    }
    if let Some(path) = ForwardPath::parse(text, Charset::Utf8) {
        let owned = path.to_owned();
        assert_eq!(owned.as_forward_path(), path);
        let bracketed = format!("<{path}>");
        assert_eq!(bracketed.parse::<OwnedForwardPath>(), Ok(owned));
    }
}

fn two(left: &Mailbox<'_>, right: &Mailbox<'_>) {
    let same = left.same_mailbox(right);
    assert_eq!(same, right.same_mailbox(left));
    assert!(same || left != right, "what is written alike is the same");
    if let (Ok(left), Ok(right)) = (left.canonical(), right.canonical()) {
        assert_eq!(same, left == right);
    }
}
