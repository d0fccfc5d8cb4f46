//! What is kept for upkeep: whatever comes in whichever order, no content is taken that would leave less of it.
//! No disk: what would be written waits, and segments come when the moves say so.

use std::path::PathBuf;
use std::rc::Rc;

use proptest::prelude::*;

use super::batch::Batch;
use super::commit::Inner;
use super::index::Index;
use super::record::{BLOCK_LEN, Stamp};
use super::segment::Segment;
use super::state::State;
use super::{AppendError, Label, Options};

const SEGMENT_LEN: u32 = 64 << 10;
const RESERVE_LEN: u32 = 8 << 10;
/// What content can be at most.
const CONTENT_MAX: usize = (SEGMENT_LEN - 3 * BLOCK_LEN - RESERVE_LEN) as usize;

#[derive(Clone, Debug)]
enum Move {
    Content(usize),
    Upkeep(usize),
    /// The next segment is there.
    Prepared,
    /// It cannot be made, or it was only late.
    Full(bool),
    Failed,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let len = || prop_oneof![0..200_usize, 0..6_000_usize, 0..CONTENT_MAX];
    let one = prop_oneof![
        8 => len().prop_map(Move::Content),
        3 => len().prop_map(Move::Upkeep),
        2 => Just(Move::Prepared),
        1 => any::<bool>().prop_map(Move::Full),
        1 => Just(Move::Failed),
    ];
    prop::collection::vec(one, 1..200)
}

fn segment(number: u32, index_len_max: u32) -> Rc<Segment> {
    let stamp = Stamp {
        log: 1,
        segment: number,
        generation: 1,
    };
    let segment = Segment::new(stamp, SEGMENT_LEN, PathBuf::new(), None);
    let index = Index::of_segment(&stamp, SEGMENT_LEN, index_len_max);
    segment.index.replace(Some(index));
    Rc::new(segment)
}

fn check(index_len_max: u32, moves: &[Move]) {
    let options = Options {
        segment_len: SEGMENT_LEN,
        first_segment_len: SEGMENT_LEN,
        batch_len_max: 16 << 10,
        copy_max: 4 << 10,
        reserve_len: RESERVE_LEN,
        index_len_max,
        ..Options::new("", 1)
    };
    let segments = vec![segment(1, index_len_max)];
    let state = State::new(segments, 2, Vec::new(), 1);
    let inner = Rc::new(Inner::new(options, PathBuf::new(), state));
    let kept = RESERVE_LEN as usize;
    for (id, step) in moves.iter().enumerate() {
        match *step {
            Move::Content(len) | Move::Upkeep(len) => {
                let (id, is_content) = (id as u64, matches!(step, Move::Content(_)));
                let label = Label {
                    upkeep: !is_content,
                    ..Label::now(1, id)
                };
                let need = Batch::len_of_one(len);
                let behind = if is_content { kept } else { 0 };
                let room = inner.state.borrow().room(need, behind, SEGMENT_LEN);
                let bytes = vec![0; len];
                let taken = inner.append_copied(label, std::iter::once(&bytes[..]));
                let state = inner.state.borrow();
                let (left, is_next_ready) = (state.left_behind_filling(), state.prepared.is_some());
                match taken {
                    Ok(_) => assert!(
                        !is_content || is_next_ready || left >= kept,
                        "{step:?} left {left} bytes for upkeep"
                    ),
                    Err(error) => {
                        assert_eq!(room, Err(error), "room was promised to {step:?}");
                        let expected = match state.full {
                            true => AppendError::Full,
                            false => AppendError::Preparing,
                        };
                        assert_eq!(error, expected);
                        // It is refused only where it has to be.
                        assert!(!is_next_ready && left < need + behind, "{step:?}, {left}");
                    }
                }
            }
            Move::Prepared => {
                let mut state = inner.state.borrow_mut();
                if state.prepared.is_none() {
                    state.prepared = Some(segment(state.next_segment, index_len_max));
                    state.next_segment += 1;
                    state.full = false;
                }
            }
            Move::Full(is_full) => {
                let mut state = inner.state.borrow_mut();
                state.full = is_full && state.prepared.is_none();
            }
            Move::Failed => {
                let mut state = inner.state.borrow_mut();
                let current = state.current().cloned();
                if let Some(current) = current {
                    state.fail(&current, super::CommitError { errno: 5 });
                    state.publish();
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_order_lets_content_into_the_reserve(
        index_len_max in prop_oneof![Just(0), Just(300), Just(16 << 10)],
        moves in moves(),
    ) {
        check(index_len_max, &moves);
    }
}
