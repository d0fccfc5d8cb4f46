//! SCRAM with somebody in between: whichever message is changed, however it is changed, both sides
//! are never content.

use crate::both_sides::{End, User, server, talk};
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::sasl::client::Exchange as Client;
use proptest::prelude::*;

/// What is done to a message.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Replace(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let octet = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"=,nypramcsivC0 ".to_vec())
    ];
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (any::<usize>(), octet.clone()).prop_map(|(at, octet)| Change::Insert(at, octet)),
        any::<usize>().prop_map(Change::Remove),
        any::<usize>().prop_map(Change::Cut),
        prop::collection::vec(octet, 0..60).prop_map(Change::Replace),
    ]
}

fn apply(change: &Change, message: &mut Vec<u8>) {
    match *change {
        Change::Flip(at, bits) if !message.is_empty() => {
            let at = at % message.len();
            message[at] ^= bits;
        }
        Change::Insert(at, octet) => message.insert(at % (message.len() + 1), octet),
        Change::Remove(at) if !message.is_empty() => drop(message.remove(at % message.len())),
        Change::Cut(at) => message.truncate(at % (message.len() + 1)),
        Change::Replace(ref other) => message.clone_from(other),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_in(which in 0usize..5, change in change(), bound: bool, authorization in "[a,=]{0,3}") {
        let user = User { name: "u,=".to_owned(), password: "pencil".to_owned() };
        let mut client = if bound {
            Client::scram_sha_256_plus("u,=", "pencil", "Y2xpZW50", "tls-exporter", b"channel")
        } else {
            Client::scram_sha_256("u,=", "pencil", "Y2xpZW50")
        };
        if !authorization.is_empty() {
            client = client.and_then(|client| client.with_authorization(&authorization));
        }
        let mut client = client.unwrap().with_iterations(1..=10);
        let mechanism = client.mechanism();
        let mut server = server(mechanism);
        if mechanism == Mechanism::ScramSha256Plus {
            server = server.with_channel_binding("tls-exporter", b"channel");
        }
        let (mut number, mut changed) = (0, false);
        let end = talk(&mut client, &mut server, &user, true, |message| {
            if number == which {
                let before = message.clone();
                apply(&change, message);
                changed = *message != before;
            }
            number += 1;
        });
        let is_in = matches!(end, End::In(..));
        prop_assert_eq!(is_in, !changed, "{:?}", end);
    }
}
