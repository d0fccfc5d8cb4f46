//! What a sink has so far, read out of the end of the file that it writes to. Pure.

use crate::report::Told;

/// What a sink has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Copies it had not had before, as far as it can tell.
    pub(crate) copies: u64,
    /// Messages it had, again ones included.
    pub(crate) messages: u64,
    /// Its answers 4xx, where it tells.
    pub(crate) deferred: u64,
}

/// Of ours: the last whole line is a [`Told`].
pub(super) fn last_line(tail: &[u8]) -> Option<Count> {
    let end = memchr::memrchr(b'\n', tail)?;
    let begin = memchr::memrchr(b'\n', &tail[..end]).map_or(0, |at| at + 1);
    let told: Told = serde_json::from_slice(&tail[begin..end]).ok()?;
    Some(Count {
        copies: told.copies.saturating_sub(told.duplicates),
        messages: told.messages,
        deferred: told.deferred,
    })
}

/// Of smtp-sink -c: a line that is written over and over, each time ended by a carriage return.
pub(super) fn last_of_smtp_sink(tail: &[u8]) -> Option<Count> {
    let end = memchr::memrchr(b'\r', tail)?;
    let begin = memchr::memrchr(b'\r', &tail[..end]).map_or(0, |at| at + 1);
    let line = str::from_utf8(&tail[begin..end]).ok()?;
    let (_, number) = line.rsplit_once("mesg=")?;
    let messages = number.trim().parse().ok()?;
    Some(Count {
        copies: messages,
        messages,
        deferred: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_of_our_sink_counts() {
        let line = |messages, copies, duplicates| {
            let told = Told {
                messages,
                copies,
                duplicates,
                deferred: 3,
                ..Told::default()
            };
            serde_json::to_string(&told).expect("JSON")
        };
        let count = |copies, messages| Count {
            copies,
            messages,
            deferred: 3,
        };
        let (first, second) = (line(5, 5, 0), line(9, 9, 2));
        for (text, expected) in [
            (format!("{first}\n{second}\n"), Some(count(7, 9))),
            (
                format!("{first}\n{}", &second[..second.len() / 2]),
                Some(count(5, 5)),
            ),
            (format!("half of a line}}\n{first}\n"), Some(count(5, 5))),
            (format!("{first}\n"), Some(count(5, 5))),
            (first.clone(), None),
            ("what is this\n".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(last_line(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_last_whole_count_of_smtp_sink_counts() {
        for (text, messages) in [
            ("sess=1 quit=0 mesg=0\rsess=1 quit=0 mesg=12\r", Some(12)),
            ("sess=1 quit=0 mesg=12\rsess=1 quit=0 mesg=1", Some(12)),
            ("0 mesg=7\r", Some(7)),
            ("sess=50 quit=1 mesg=20000 \r", Some(20_000)),
            ("sess=1 quit=0 mesg=\r", None),
            ("sess=1", None),
            ("", None),
        ] {
            let count = last_of_smtp_sink(text.as_bytes());
            assert_eq!(count.map(|count| count.messages), messages, "{text:?}");
        }
    }
}
