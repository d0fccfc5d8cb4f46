//! The engine's client against the engine's server, in memory, both directions cut as the dice
//! fall: what the server's caller is handed must be what the client's caller sent, octet by octet.

mod pair;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        // A tape is changed by hand sooner than it is shrunk to the last octet.
        max_shrink_iters: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn what_is_sent_arrives(octets in proptest::collection::vec(any::<u8>(), 0..1500)) {
        pair::run(&octets);
    }
}

#[test]
fn the_usual_dialogue() {
    pair::run(&[]);
}
