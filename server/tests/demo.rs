//! `mailrail demo` as a visitor meets it: one command, a table, and nothing lost.

use std::process::Command;

#[test]
fn the_demonstration_loses_nothing_and_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_mailrail"))
        .args(["demo", "--messages", "300"])
        .output()
        .expect("the binary is built");
    let (shown, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{shown}{complaints}");
    assert_eq!(complaints, "");
    let last = shown.lines().last().expect("a last line");
    let mut numbers = last
        .strip_prefix("demo: ")
        .expect(last)
        .split(' ')
        .map(|pair| pair.split_once('=').expect(last))
        .map(|(name, number)| (name, number.parse::<u64>().expect(last)));
    let mut next = |name| {
        let (found, number) = numbers.next().expect(last);
        assert_eq!(found, name, "{last}");
        number
    };
    assert_eq!(next("accepted"), 300);
    let (delivered, bounced) = (next("delivered"), next("bounced"));
    assert_eq!(delivered + bounced, 300);
    assert!(bounced > 0, "some domains refuse: {last}");
    assert_eq!((next("waiting"), next("lost")), (0, 0));
    assert!(numbers.next().is_none());
    let row = |name: &str| {
        let row = shown.lines().find(|line| line.starts_with(name));
        let number = row.and_then(|row| row.split_whitespace().last());
        number.and_then(|number| number.parse::<u64>().ok())
    };
    for name in [
        "duplicates",
        "altered on the way",
        "bounced without a refusal",
    ] {
        assert_eq!(row(name), Some(0), "{name}: {shown}");
    }
    assert!(row("deferred by a sink at first") > Some(0), "{shown}");
}
