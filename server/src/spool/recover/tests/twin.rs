//! The slow twin of the fold: sets of single recipients, nothing packed, nothing removed; and both over the
//! same histories. Those that are written by hand are the parent's.

use super::*;
use proptest::prelude::*;

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];

#[derive(Clone, Debug)]
enum Step {
    Message {
        number: u64,
        domains: [u8; 3],
    },
    Settled {
        number: u64,
        group: usize,
        bits: u128,
    },
    Deferred {
        number: u64,
        group: usize,
        open: u128,
        attempt: u16,
        silent: bool,
    },
    InDoubt {
        number: u64,
        group: usize,
        bits: u128,
    },
    Moved {
        number: u64,
        domains: [u8; 3],
        states: Vec<(usize, u128, u16, bool)>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // A message has the same recipients each time it is written: they follow from its number.
    let number = || 0u64..6;
    let domains = |number: u64| [1, (number % 3) as u8, (number * 50 % 230) as u8];
    let bits = || {
        prop_oneof![
            any::<u128>(),
            Just(u128::MAX),
            (0u32..128).prop_map(|bit| 1 << bit)
        ]
    };
    let open = bits;
    let state = (0usize..5, open(), any::<u16>(), any::<bool>());
    prop::collection::vec(
        prop_oneof![
            number().prop_map(move |number| Step::Message {
                number,
                domains: domains(number)
            }),
            (number(), 0usize..5, bits()).prop_map(|(number, group, bits)| Step::Settled {
                number,
                group,
                bits
            }),
            (number(), 0usize..5, bits()).prop_map(|(number, group, bits)| Step::InDoubt {
                number,
                group,
                bits
            }),
            (number(), 0usize..5, open(), any::<u16>(), any::<bool>()).prop_map(
                |(number, group, open, attempt, silent)| {
                    Step::Deferred {
                        number,
                        group,
                        open,
                        attempt,
                        silent,
                    }
                }
            ),
            (number(), prop::collection::vec(state, 0..4)).prop_map(move |(number, states)| {
                Step::Moved {
                    number,
                    domains: domains(number),
                    states,
                }
            }),
        ],
        0..40,
    )
}

fn recipients(domains: [u8; 3]) -> Vec<String> {
    let of = |at: usize| (0..domains[at]).map(move |number| format!("u{number}@{}", DOMAINS[at]));
    (0..3).flat_map(of).collect()
}

/// First recipient and count of each group, written out by hand: a domain in pieces of a hundred.
fn pieces(domains: [u8; 3]) -> Vec<(u16, u16)> {
    let (mut pieces, mut first) = (Vec::new(), 0);
    for count in domains {
        let mut left = u16::from(count);
        while left > 0 {
            pieces.push((first, left.min(100)));
            first += left.min(100);
            left -= left.min(100);
        }
    }
    pieces
}

/// What a state says of doubt follows from the rest of it.
fn doubt_of(open: u128, attempt: u16) -> u128 {
    if attempt.is_multiple_of(2) {
        0
    } else {
        open >> 1
    }
}

#[derive(Default)]
struct Twin {
    pieces: Vec<(u16, u16)>,
    open: BTreeSet<u16>,
    doubt: BTreeSet<u16>,
    done: bool,
    is_moved: bool,
    place: usize,
    tried: BTreeMap<u16, (u16, Option<usize>)>,
}

fn first_of(number: u64, group: usize) -> u16 {
    let pieces = pieces([1, (number % 3) as u8, (number * 50 % 230) as u8]);
    pieces.get(group).map_or(999, |piece| piece.0)
}

impl Twin {
    fn close(&mut self, first: u16, bits: u128) {
        let Some((_, count)) = self.pieces.iter().find(|piece| piece.0 == first) else {
            return;
        };
        for bit in (0..*count).filter(|bit| bits & 1 << bit != 0) {
            self.open.remove(&(first + bit));
            self.doubt.remove(&(first + bit));
        }
    }

    /// Those of the group's open recipients whose bit is set are in doubt; with `only`, no others of it.
    fn doubt(&mut self, first: u16, bits: u128, only: bool) {
        let Some((_, count)) = self.pieces.iter().find(|piece| piece.0 == first) else {
            return;
        };
        for bit in 0..*count {
            let recipient = first + bit;
            if bits & 1 << bit != 0 && self.open.contains(&recipient) {
                self.doubt.insert(recipient);
            } else if only {
                self.doubt.remove(&recipient);
            }
        }
    }

    fn note(&mut self, first: u16, attempt: u16, answer: Option<usize>) {
        if self.pieces.iter().any(|piece| piece.0 == first) {
            self.tried.insert(first, (attempt, answer));
        }
    }
}

fn twin(steps: &[Step]) -> BTreeMap<u64, Twin> {
    let mut twins: BTreeMap<u64, Twin> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let (Step::Message { number, .. }
        | Step::Settled { number, .. }
        | Step::Deferred { number, .. }
        | Step::InDoubt { number, .. }
        | Step::Moved { number, .. }) = step;
        if let Step::Message { domains, .. } | Step::Moved { domains, .. } = step {
            twins.entry(*number).or_insert_with(|| Twin {
                pieces: pieces(*domains),
                open: (0..domains.iter().map(|count| u16::from(*count)).sum()).collect(),
                place: at,
                ..Twin::default()
            });
        }
        let Some(twin) = twins.get_mut(number).filter(|twin| !twin.done) else {
            continue;
        };
        let place = |silent: bool| (!silent).then_some(at);
        match step {
            Step::Message { .. } if twin.is_moved => {}
            Step::Message { .. } => twin.place = at,
            Step::Settled {
                number,
                group,
                bits,
            } => twin.close(first_of(*number, *group), *bits),
            Step::Deferred {
                number,
                group,
                open,
                attempt,
                silent,
            } => {
                let first = first_of(*number, *group);
                twin.note(first, *attempt, place(*silent));
                twin.doubt(first, doubt_of(*open, *attempt), true);
            }
            Step::InDoubt {
                number,
                group,
                bits,
            } => twin.doubt(first_of(*number, *group), *bits, false),
            Step::Moved { number, states, .. } => {
                twin.is_moved = true;
                twin.place = at;
                for (group, open, attempt, silent) in states {
                    twin.close(first_of(*number, *group), !*open);
                    twin.note(first_of(*number, *group), *attempt, place(*silent));
                    let doubt = doubt_of(*open, *attempt);
                    twin.doubt(first_of(*number, *group), doubt, true);
                }
            }
        }
        twin.done = twin.open.is_empty();
    }
    twins.retain(|_, twin| !twin.done);
    twins
}

fn written(steps: &[Step]) -> Records {
    let state = |number: u64, (group, open, attempt, silent): (usize, u128, u16, bool)| {
        let answer = if silent { &[] } else { BUSY };
        Deferred {
            answer,
            doubt: doubt_of(open, attempt),
            ..state(first_of(number, group), open, attempt)
        }
    };
    let text = |names: &[String]| names.to_vec();
    steps
        .iter()
        .fold(Records::default(), |records, step| match step {
            Step::Message { number, domains } => {
                let names = text(&recipients(*domains));
                records.message(
                    *number,
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            }
            Step::Settled {
                number,
                group,
                bits,
            } => records.settled(*number, first_of(*number, *group), *bits),
            Step::Deferred {
                number,
                group,
                open,
                attempt,
                silent,
            } => records.deferred(*number, state(*number, (*group, *open, *attempt, *silent))),
            Step::InDoubt {
                number,
                group,
                bits,
            } => records.in_doubt(*number, first_of(*number, *group), *bits),
            Step::Moved {
                number,
                domains,
                states,
            } => {
                let states: Vec<_> = states.iter().map(|given| state(*number, *given)).collect();
                let names = text(&recipients(*domains));
                records.moved(
                    *number,
                    &states,
                    &names.iter().map(String::as_str).collect::<Vec<_>>(),
                )
            }
        })
}

proptest! {
    #[test]
    fn same_as_naive(steps in steps()) {
        let recovered = written(&steps).recover();
        let twins = twin(&steps);
        let ids: Vec<u64> = recovered.messages.iter().map(|live| live.id.to_bits()).collect();
        prop_assert_eq!(ids, twins.keys().copied().collect::<Vec<_>>());
        for (live, twin) in recovered.messages.iter().zip(twins.values()) {
            prop_assert_eq!(live.place().1, place(twin.place));
            let mut open = BTreeSet::new();
            for group in live.groups() {
                open.extend((0..128).filter(|bit| group.open() & 1 << bit != 0).map(|bit| group.first + bit));
                let (attempt, answer) = twin.tried.get(&group.first).copied().unwrap_or_default();
                prop_assert_eq!(group.attempt, attempt);
                prop_assert_eq!(live.answer_place(group), answer.map(place));
            }
            prop_assert_eq!(&open, &twin.open);
            let doubt: BTreeSet<u16> = in_doubt(&recovered, live.id.to_bits())
                .into_iter()
                .flat_map(|(first, bits)| {
                    (0..128u16).filter(move |bit| bits & 1 << bit != 0).map(move |bit| first + bit)
                })
                .collect();
            prop_assert_eq!(&doubt, &twin.doubt);
        }
    }

    #[test]
    fn a_record_that_comes_twice_in_a_row_changes_nothing(steps in steps(), at: prop::sample::Index) {
        let once = written(&steps);
        let mut twice = written(&steps);
        if !twice.0.is_empty() {
            let at = at.index(twice.0.len());
            let copy = twice.0[at].clone();
            twice.0.insert(at, copy);
        }
        prop_assert_eq!(open(&once.recover()), open(&twice.recover()));
    }
}
