//! Envelopes encoded and read back, sorted, grouped, and damaged.

use super::*;
use proptest::prelude::*;

fn stored(recipients: &[&str]) -> Vec<u8> {
    let mut envelope = Envelope::new();
    envelope.set_hello(b"client.example");
    envelope.set_sender(b"sender@a.example");
    for recipient in recipients {
        assert!(envelope.add_recipient(recipient.as_bytes()));
    }
    let (mut out, len) = (Vec::new(), envelope.encoded_len());
    envelope.encode(&mut out);
    assert_eq!(out.len(), len);
    out
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn domains() {
    for (mailbox, domain) in [
        ("a@b.example", "b.example"),
        ("postmaster", ""),
        ("\"a@b\"@c.example", "c.example"),
        ("a@[192.0.2.1]", "[192.0.2.1]"),
        ("a@[tag:x@y]", "[tag:x@y]"),
        ("]", ""),
        ("x[y]", ""),
    ] {
        assert_eq!(text(domain_of(mailbox.as_bytes())), domain, "{mailbox}");
    }
}

#[test]
fn recipients_of_one_domain_stand_together_in_the_order_they_came() {
    let bytes = stored(&[
        "b@b.example",
        "z@A.example",
        "c@c.example",
        "a@B.Example",
        "y@a.EXAMPLE",
        "postmaster",
    ]);
    let view = EnvelopeView::decode(&bytes).expect("what was encoded");
    let order: Vec<&str> = view.recipients().map(text).collect();
    assert_eq!(
        order,
        [
            "postmaster",
            "z@A.example",
            "y@a.EXAMPLE",
            "b@b.example",
            "a@B.Example",
            "c@c.example"
        ]
    );
    let groups: Vec<(u16, u16)> = view
        .groups()
        .map(|group| (group.first, group.count))
        .collect();
    assert_eq!(groups, [(0, 1), (1, 2), (3, 2), (5, 1)]);
    assert_eq!(text(view.sender()), "sender@a.example");
    assert_eq!(text(view.hello()), "client.example");
}

#[test]
fn a_large_domain_is_cut_into_groups() {
    let recipients: Vec<String> = (0..250)
        .map(|number| format!("u{number}@a.example"))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let bytes = stored(&recipients);
    let view = EnvelopeView::decode(&bytes).expect("what was encoded");
    let groups: Vec<Group> = view.groups().collect();
    assert_eq!(
        groups.iter().map(|group| group.count).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert_eq!(groups[0].all().count_ones(), 100);
    assert_eq!(groups[2].all(), (1 << 50) - 1);
    assert!(view.recipients().map(text).eq(recipients), "stable");
}

#[test]
fn null_sender_has_no_return_path() {
    let mut envelope = Envelope::new();
    assert!(envelope.add_recipient(b"a@b.example"));
    let mut bytes = Vec::new();
    envelope.encode(&mut bytes);
    let view = EnvelopeView::decode(&bytes).expect("what was encoded");
    assert_eq!(view.return_path(), None);
    assert_eq!(view.peer(), None);
}

#[test]
fn a_full_envelope_takes_no_more() {
    let mut envelope = Envelope::new();
    let count = (0..)
        .take_while(|_| envelope.add_recipient(b"a@b.example"))
        .count();
    assert_eq!(count, RECIPIENT_COUNT_MAX);
    envelope.clear();
    let long = [b'a'; MAILBOX_LEN_MAX];
    let count = (0..).take_while(|_| envelope.add_recipient(&long)).count();
    assert_eq!(count, envelope.recipient_count());
    assert!(envelope.encoded_len() <= ENVELOPE_LEN_MAX);
    assert!(envelope.encoded_len() > ENVELOPE_LEN_MAX - 400);
}

#[test]
fn wrong_bytes_are_an_error() {
    let good = stored(&["a@b.example", "c@d.example"]);
    for (at, wrong, what) in [
        (0, 2, "envelope version"),
        (1, 0x80, "envelope flags"),
        (2, 6, "envelope protocol"),
        (3, 200, "envelope recipient order"),
        (7, 255, "envelope recipient table"),
        (FRONT_LEN, 255, "envelope recipient order"),
        (FRONT_LEN + END_LEN, 255, "envelope text length"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = wrong;
        assert_eq!(
            EnvelopeView::decode(&bytes).err(),
            Some(Malformed(what)),
            "byte {at}"
        );
    }
    for len in 0..good.len() {
        assert!(EnvelopeView::decode(&good[..len]).is_err(), "cut to {len}");
    }
}

fn address() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|octets| Some(IpAddr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| Some(IpAddr::from(octets).to_canonical())),
    ]
}

proptest! {
    #[test]
    fn comes_back(
        sender in "([!-~]{0,40}@[a-z.]{1,20})?",
        hello in prop::collection::vec(any::<u8>(), 0..300),
        recipients in prop::collection::vec("[!-~]{1,10}@[abAB]{1,2}", 0..220),
        peer in address(),
        smtputf8: bool,
        eight_bit: bool,
    ) {
        let body = if eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
        let mut envelope = Envelope { peer, smtputf8, body, protocol: Protocol::Smtp, ..Envelope::new() };
        envelope.set_sender(sender.as_bytes());
        envelope.set_hello(&hello);
        for recipient in &recipients {
            prop_assert!(envelope.add_recipient(recipient.as_bytes()));
        }
        let mut bytes = Vec::new();
        envelope.encode(&mut bytes);
        let view = EnvelopeView::decode(&bytes).expect("what was encoded");
        prop_assert_eq!(view.peer(), peer);
        prop_assert_eq!(view.smtputf8(), smtputf8);
        prop_assert_eq!(view.body(), body);
        prop_assert_eq!(view.protocol(), Protocol::Smtp);
        prop_assert_eq!(view.sender(), sender.as_bytes());
        prop_assert_eq!(view.hello(), envelope.hello());
        prop_assert!(hello.starts_with(view.hello()));

        // The slow twin: a stable sort by the domain in lower case.
        let mut expected: Vec<&[u8]> = recipients.iter().map(|text| text.as_bytes()).collect();
        expected.sort_by_key(|mailbox| domain_of(mailbox).to_ascii_lowercase());
        prop_assert!(view.recipients().eq(expected.iter().copied()));
        prop_assert!(envelope.recipients().eq(expected.iter().copied()));

        let mut next = 0;
        for group in view.groups() {
            let range = usize::from(group.first)..usize::from(group.first + group.count);
            prop_assert_eq!(range.start, next, "no gap");
            prop_assert!((1..=GROUP_MAX).contains(&range.len()));
            let domain = domain_of(expected[range.start]).to_ascii_lowercase();
            for mailbox in &expected[range.clone()] {
                prop_assert_eq!(&domain_of(mailbox).to_ascii_lowercase(), &domain);
            }
            if range.len() < GROUP_MAX && range.end < expected.len() {
                prop_assert_ne!(domain_of(expected[range.end]).to_ascii_lowercase(), domain, "as long as can be");
            }
            next = range.end;
        }
        prop_assert_eq!(next, expected.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, at: prop::sample::Index, wrong: u8, random: bool) {
        if !random {
            bytes = stored(&["a@b.example", "c@b.example", "d@e.example"]);
            let at = at.index(bytes.len());
            bytes[at] = wrong;
        }
        if let Ok(view) = EnvelopeView::decode(&bytes) {
            prop_assert_eq!(view.groups().map(|group| usize::from(group.count)).sum::<usize>(), view.recipient_count());
            let _ = (view.sender(), view.hello(), view.peer(), view.recipients().count());
        }
    }
}
