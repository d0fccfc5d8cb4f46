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
    for row in [
        "duplicates",
        "altered on the way",
        "deferred by a sink at first",
    ] {
        let row = shown.lines().find(|line| line.starts_with(row));
        let number = row.and_then(|row| row.split_whitespace().last());
        assert_eq!(
            number == Some("0"),
            !row.unwrap().starts_with("deferred"),
            "{shown}"
        );
    }
}
