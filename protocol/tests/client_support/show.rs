//! Events as the words of transcripts, and the escapes of their lines.

use mailrail_protocol::client::{Answer, Event};
use mailrail_protocol::extension::{Extension, Extensions};

pub(crate) fn show(event: &Event<'_>) -> String {
    match event {
        Event::Ready(extensions) => format!("Ready{}", show_extensions(*extensions)),
        Event::TlsRefused(answer) => format!("TlsRefused {}", show_answer(answer)),
        Event::Mail(answer) => format!("Mail {}", show_answer(answer)),
        Event::Recipient(n, answer) => format!("Recipient {n} {}", show_answer(answer)),
        Event::Challenge(text) => format!("Challenge {}", text.escape_ascii())
            .trim_end()
            .into(),
        Event::Authenticated(answer) => format!("Authenticated {}", show_answer(answer)),
        Event::AuthRefused(answer) => format!("AuthRefused {}", show_answer(answer)),
        Event::Other(answer) => format!("Other {}", show_answer(answer)),
        Event::LeftOver(n) => format!("LeftOver {n}"),
        Event::Delivered(n, answer) => format!("Delivered {n} {}", show_answer(answer)),
        Event::Sent(answer) => format!("Sent {}", show_answer(answer)),
        Event::Refused(answer) => format!("Refused {}", show_answer(answer)),
        Event::Close(answer) => format!("Close {}", show_answer(answer)),
        Event::Unsendable(reason) => format!("Unsendable {reason:?} {}", reason.status()),
        Event::Broken(violation, bytes) => format!("Broken {violation:?} {}", bytes.escape_ascii())
            .trim_end()
            .into(),
        other => format!("{other:?}"),
    }
}

fn show_answer(answer: &Answer<'_>) -> String {
    let mut text = Vec::new();
    answer.append_text(&mut text);
    let status = answer
        .status
        .map(|status| format!("{status} "))
        .unwrap_or_default();
    format!("{} {status}{}", answer.code, text.escape_ascii())
        .trim_end()
        .into()
}

fn show_extensions(extensions: Extensions) -> String {
    let mut names = String::new();
    for extension in Extension::ALL {
        if extensions.has(extension) {
            names += " ";
            names += extension.keyword();
        }
    }
    if let Some(size_max) = extensions.size_max() {
        names += &format!(" size_max={size_max}");
    }
    names
}

/// `\r`, `\n`, `\t`, `\\` and `\xNN`; and `\*N*text*` for N times a text.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        let mut used = place + 2;
        match &rest[place + 1..place + 2] {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "\\" => out.push(b'\\'),
            "x" => {
                out.push(u8::from_str_radix(&rest[place + 2..place + 4], 16).unwrap());
                used += 2;
            }
            "*" => {
                let mut parts = rest[place + 2..].splitn(3, '*');
                let (count, what) = (parts.next().unwrap(), parts.next().unwrap());
                out.extend(unescape(what).repeat(count.parse().unwrap()));
                used += count.len() + what.len() + 2;
            }
            other => panic!("no such escape: {other}"),
        }
        rest = &rest[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}
