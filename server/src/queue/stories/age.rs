//! Age ends an entry, whatever it waits for: a short story for each state. Tests only.

use super::*;

#[test]
fn age_ends_what_was_never_resolved() {
    let mut story = Story::new();
    story.insert(&[(0, 0b11, "a.x")]);
    assert!(matches!(story.effects()[..], [Effect::Resolve(_)]));
    story.pass(7 * 24 * 60 * MINUTE);
    let mut verdicts = story.verdicts();
    let verdict = verdicts.pop().expect("too old");
    assert_eq!(
        (verdict.expired, verdict.open, &verdict.cause),
        (0b11, 0, &Cause::Age)
    );
    assert!(story.queue.settle(story.now, verdict).is_some());
}

#[test]
fn age_ends_what_is_due_while_its_lane_is_never_connected() {
    let mut story = Story::new();
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    story
        .queue
        .suspend(story.now, lane, START.plus_millis(u64::MAX / 2));
    story.pass(7 * 24 * 60 * MINUTE);
    assert_eq!(story.verdicts().len(), 1);
    assert_eq!(story.queue.lane(lane).map(|lane| lane.due), Some(0));
}

#[test]
fn age_ends_what_waits_for_its_next_attempt() {
    let mut story = Story::new();
    let arrival = Arrival {
        id: Id::from_bits(1),
        place: Place::default(),
        accepted: START,
        expires: Some(START.plus_millis(MINUTE)),
    };
    let group = Group {
        first: 0,
        open: 1,
        destination: "a.x",
        attempt: 1,
        next: Some(START.plus_millis(2 * MINUTE)),
        note: None,
    };
    assert!(story.queue.insert(START, &arrival, [group]));
    assert_eq!(story.queue.counts().scheduled, 1);
    story.pass(MINUTE - 1);
    assert_eq!(story.verdicts(), []);
    story.pass(1);
    let verdict = story.verdicts().pop().expect("too old");
    assert_eq!((verdict.expired, verdict.open), (1, 0));
}

#[test]
fn age_ends_what_its_lane_has_postponed() {
    let mut story = Story::new();
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    story.queue.opening(lane);
    story
        .queue
        .open_failed(story.now, lane, b"421 4.4.1 refused");
    assert_eq!(story.queue.counts().ending, 1, "and nobody asks for it");
    story.pass(7 * 24 * 60 * MINUTE);
    let verdict = story.verdicts().pop().expect("too old");
    assert_eq!((verdict.expired, verdict.deferred, verdict.open), (1, 0, 0));
}

#[test]
fn age_ends_what_was_held_when_it_came() {
    let mut story = Story::new();
    story.insert(&[(0, 0b11, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    story.pass(7 * 24 * 60 * MINUTE);
    assert_eq!(story.verdicts(), [], "its holder has the word");
    let outcome = Outcome {
        delivered: 0b01,
        deferred: 0b10,
        ..Outcome::default()
    };
    let verdict = story.queue.judge(story.now, parcel.entry, &outcome);
    assert_eq!((verdict.delivered, verdict.expired), (0b01, 0b10));
    assert!(story.queue.settle(story.now, verdict).is_some());
}

#[test]
fn age_ends_what_comes_back_untried() {
    let mut story = Story::new();
    story.insert(&[(0, 1, "a.x")]);
    let lane = story.resolve();
    let parcel = story.take(lane).expect("due");
    story.pass(7 * 24 * 60 * MINUTE);
    story.queue.give_back(story.now, parcel.entry);
    assert_eq!(story.take(lane), None);
    assert_eq!(story.verdicts().len(), 1);
}
