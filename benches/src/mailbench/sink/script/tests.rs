//! What scripts mean and what is wrong with them, as tables.

use super::*;

fn script(text: &str) -> SiteScript {
    let script = parse(text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    script.at("127.0.0.1", "127.0.0.1:2525")
}

fn copy(copy: u64, attempt: u32) -> Lot {
    Lot::Copy(Name { run: 7, copy }, attempt)
}

fn code(script: &SiteScript, step: Step, subject: (&str, &str), lot: Lot) -> u16 {
    let subject = Subject {
        sender: Some(subject.0),
        recipient: (step as usize >= Step::Recipient as usize).then_some(subject.1),
    };
    let reply = script.decide(step, &subject, lot).reply;
    reply.map_or(250, |reply| reply.code.get())
}

#[test]
fn patterns_match_whole_texts() {
    for (pattern, text, expected) in [
        ("d1.rcpt.example", "D1.Rcpt.Example", true),
        ("d1.rcpt.example", "d11.rcpt.example", false),
        ("*.rcpt.example", "d1.rcpt.example", true),
        ("*.rcpt.example", ".rcpt.example", true),
        ("*.rcpt.example", "rcpt.example", false),
        ("d1*.example", "d1.example", true),
        ("d1*.example", "d17.RCPT.example", true),
        ("aa*aa", "aaa", false),
        ("aa*aa", "aaaa", true),
        ("é*", "e", false),
        ("*", "", true),
        ("127.0.0.*", "127.0.0.77", true),
    ] {
        let parsed = Pattern::parse(pattern).expect("a pattern");
        assert_eq!(parsed.matches(text), expected, "{pattern} {text}");
    }
    assert_eq!(Pattern::parse("a*b*"), None);
    assert_eq!(Pattern::parse(""), None);
}

#[test]
fn the_first_rule_that_speaks_of_a_step_decides() {
    let script = script(
        r#"
        [[rule]]
        recipients = ["good.example"]
        accept = true
        [[rule]]
        senders = ["bad.example"]
        answers = [{ at = "mail", code = 550, status = "5.7.1", text = "No" }]
        [[rule]]
        recipients = ["*.example"]
        answers = [{ at = "rcpt", code = 450 }]
        [[rule]]
        answers = [{ at = "rcpt", code = 554 }, { at = "data", code = 451 }, { at = "end", code = 452 }]
        "#,
    );
    for (step, sender, recipient, expected) in [
        (Step::Connect, "", "", 250),
        (Step::Mail, "bad.example", "", 550),
        (Step::Mail, "fine.example", "", 250),
        (Step::Recipient, "fine.example", "good.example", 250),
        (Step::Recipient, "bad.example", "a.example", 450),
        (Step::Recipient, "fine.example", "a.test", 554),
        (Step::Data, "fine.example", "good.example", 250),
        (Step::Data, "fine.example", "a.example", 451),
        (Step::End, "fine.example", "a.test", 452),
    ] {
        let given = code(&script, step, (sender, recipient), copy(1, 1));
        assert_eq!(given, expected, "{step:?} {sender} {recipient}");
    }
}

#[test]
fn a_first_attempt_is_put_off_and_a_second_taken() {
    let script = script(r#"rule = [{ answers = [{ at = "rcpt", attempts = 1, code = 450 }] }]"#);
    let given = |lot| code(&script, Step::Recipient, ("", "a.example"), lot);
    for number in 0..100 {
        assert_eq!(given(copy(number, 1)), 450);
        assert_eq!(given(copy(number, 2)), 250);
        assert_eq!(given(Lot::Number(number)), 250, "it has no attempts");
    }
}

#[test]
fn shares_are_kept_and_drawn_anew_at_each_attempt() {
    let script = script(
        r#"
        [[rule]]
        answers = [
            { at = "end", share = 0.3, code = 450 },
            { at = "end", share = 0.1, code = 550 },
        ]
        "#,
    );
    let given =
        |number, attempt| code(&script, Step::End, ("", "a.example"), copy(number, attempt));
    let share = |wanted, attempt| {
        let hits = (0..100_000).filter(|number| given(*number, attempt) == wanted);
        hits.count() as f64 / 100_000.0
    };
    for attempt in 1..4 {
        // Of 100,000 draws the share's deviation is 0.0015 at most: five of them.
        assert!((share(450, attempt) - 0.3).abs() < 0.0075);
        assert!((share(550, attempt) - 0.1).abs() < 0.0075);
    }
    let both = (0..100_000).filter(|number| given(*number, 1) == 450 && given(*number, 2) == 450);
    assert!((both.count() as f64 / 100_000.0 - 0.09).abs() < 0.0075);
    assert_eq!(given(5, 1), given(5, 1));
}

#[test]
fn another_seed_draws_others() {
    let with = |seed| {
        let text = format!(
            "seed = {seed}\n[[rule]]\nanswers = [{{ at = \"rcpt\", share = 0.5, code = 450 }}]"
        );
        let script = script(&text);
        let given = move |number| code(&script, Step::Recipient, ("", "a"), copy(number, 1));
        (0..64).map(given).collect::<Vec<_>>()
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn sites_have_what_is_theirs() {
    let text = r#"
        [[rule]]
        sites = ["127.0.0.1:2525"]
        delay_ms = { connect = 3000 }
        connections_max = 2
        [[rule]]
        sites = ["127.0.0.2"]
        bdat = false
        [[rule]]
        sites = ["127.0.0.*"]
        connections_max = 5
        messages_per_connection = 10
        messages_per_second = 0.5
        bdat = true
        starttls = true
    "#;
    let script = parse(text).expect("a script");
    assert!(script.remembers());
    let delay = |script: &SiteScript| {
        let verdict = script.decide(Step::Connect, &Subject::default(), Lot::Number(0));
        verdict.delay_us
    };
    let first = script.at("127.0.0.1", "127.0.0.1:2525");
    assert_eq!(first.limits.connections_max, Some(2));
    assert_eq!(first.limits.messages_per_connection, Some(10));
    assert_eq!(delay(&first), 3_000_000);
    assert_eq!(
        script
            .at("127.0.0.1", "127.0.0.1:25")
            .limits
            .connections_max,
        Some(5)
    );
    let second = script.at("127.0.0.2", "127.0.0.2:2525");
    assert_eq!(
        (second.limits.connections_max, second.limits.bdat),
        (Some(5), Some(false))
    );
    assert_eq!(delay(&second), 0);
    assert_eq!(script.at("::1", "[::1]:2525").limits, Limits::default());
}

#[test]
fn nothing_written_remembers_nothing() {
    for text in [
        "",
        "seed = 3",
        "rule = [{ delay_ms = { end = 5 }, bdat = true }]",
    ] {
        assert!(!parse(text).expect("a script").remembers(), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (text, words) in [
        ("sed = 3", &["sed", "seed", "rule"][..]),
        ("[[rule]]\nrecipient = []", &["recipient", "recipients"]),
        (
            "[[rule]]\nrecipients = [\"a*b*\"]",
            &["rule 1", "recipients", "at most one *"],
        ),
        (
            "rule = [{}, { answers = [{ at = \"helo\", code = 450 }] }]",
            &["helo", "connect", "rcpt"],
        ),
        ("rule = [{ answers = [{ at = \"rcpt\" }] }]", &["code"]),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 250 }] }]",
            &["answer 1", "code = 250", "400 to 599"],
        ),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 600 }] }]",
            &["code = 600", "400 to 599"],
        ),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 450, share = 1.5 }] }]",
            &["share = 1.5", "0 to 1"],
        ),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 450, share = nan }] }]",
            &["share", "0 to 1"],
        ),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 450, status = \"5.1.1\" }] }]",
            &["status", "4.x.y"],
        ),
        (
            "rule = [{ answers = [{ at = \"rcpt\", code = 450, attempts = 0 }] }]",
            &["attempts", "1 and more"],
        ),
        (
            "rule = [{ answers = [{ at = \"mail\", code = 450, attempts = 1 }] }]",
            &["attempts", "\"rcpt\""],
        ),
        (
            "rule = [{ recipients = [\"a\"], answers = [{ at = \"mail\", code = 450 }] }]",
            &["no recipient", "\"rcpt\""],
        ),
        (
            "rule = [{ senders = [\"a\"], answers = [{ at = \"connect\", code = 450 }] }]",
            &["no sender", "\"mail\""],
        ),
        (
            "rule = [{ accept = true, answers = [{ at = \"mail\", code = 450 }] }]",
            &["accept"],
        ),
        (
            "rule = [{ recipients = [\"a\"], delay_ms = { mail = 3 } }]",
            &["delay_ms.mail", "no recipient"],
        ),
        (
            "rule = [{ senders = [\"a\"], delay_ms = { hello = 3 } }]",
            &["delay_ms.hello", "no sender"],
        ),
        (
            "rule = [{ delay_ms = { mail = 3600001 } }]",
            &["delay_ms.mail", "0 to 3600000"],
        ),
        (
            "rule = [{ delay_ms = { quit = 1 } }]",
            &["quit", "connect", "end"],
        ),
        (
            "rule = [{ connections_max = 0 }]",
            &["connections_max", "1 and more"],
        ),
        (
            "rule = [{ messages_per_second = -1.0 }]",
            &["messages_per_second", "0.001"],
        ),
        (
            "rule = [{ recipients = [\"a\"], bdat = true }]",
            &["bdat", "sites"],
        ),
    ] {
        let why = parse(text).expect_err(text);
        for word in words {
            assert!(why.contains(word), "{word:?} is not in: {why}");
        }
    }
}

#[test]
fn the_example_of_this_room_is_a_script() {
    let text = include_str!("mod.rs");
    let lines = text
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1);
    let example: Vec<&str> = lines
        .take_while(|line| *line != "//! ```")
        .map(|line| line.strip_prefix("//!").expect("a comment"))
        .collect();
    assert!(example.len() > 20);
    parse(&example.join("\n")).expect("a script");
}

#[test]
fn a_bucket_fills_with_time() {
    let mut bucket = Bucket::new(2.0);
    for (now_us, expected) in [
        (0, true),
        (0, true),
        (0, false),
        (499_000, false),
        (500_000, true),
        (500_001, false),
        (900_000_000, true),
        (900_000_000, true),
        (900_000_000, false),
    ] {
        assert_eq!(bucket.take(now_us), expected, "at {now_us}");
    }
    let mut slow = Bucket::new(0.5);
    let given = [0, 1_000_000, 2_000_000].map(|now_us| slow.take(now_us));
    assert_eq!(given, [true, false, true]);
}
