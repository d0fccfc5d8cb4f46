//! The lines by which a server announces its extensions. What is announced when is the sessions'
//! business.

use super::{Extension, Extensions};
use crate::command::{AttributeSet, date};
use crate::reply::{Lines, Reply};
use crate::sasl::Mechanism;
use alloc::vec::Vec;

impl Extensions {
    /// Appends a whole answer to EHLO: 250, the server's name, and a line for each extension.
    pub fn write(&self, hostname: &str, out: &mut Vec<u8>) {
        let mut lines = Lines::new(&Reply::HELLO, false, out);
        lines.text(hostname.as_bytes());
        self.advertise(&mut lines);
        lines.end();
    }

    /// Appends one line for each extension to a reply whose first line is open.
    //= RFC 5321 section 4.1.1.1: each extension has a line of its own behind the greeting's
    pub(crate) fn advertise(&self, lines: &mut Lines<'_>) {
        for extension in Extension::ALL {
            if self.can_announce(extension) {
                lines.next();
                lines.word(extension.keyword());
                self.parameters(extension, lines);
            }
        }
    }

    fn parameters(&self, extension: Extension, lines: &mut Lines<'_>) {
        match extension {
            //= RFC 1870 section 4: SIZE is followed by the limit in octets; zero says there is none
            Extension::Size => {
                lines.word(" ");
                lines.number(self.size_max().unwrap_or(0));
            }
            //= RFC 4954 section 3: AUTH is followed by the mechanisms, with spaces between
            Extension::Auth => {
                let offered = self.mechanisms();
                let mechanisms = Mechanism::ALL.into_iter();
                for mechanism in mechanisms.filter(|each| offered.has(*each)) {
                    lines.word(" ");
                    lines.word(mechanism.keyword());
                }
            }
            //= RFC 9422 section 3: each limit is a name, an equals sign and a number
            Extension::Limits => {
                for (name, limit) in self.limits().named() {
                    lines.word(" ");
                    lines.word(name);
                    lines.word("=");
                    lines.number(u64::from(limit));
                }
            }
            //= RFC 2852 section 2: DELIVERBY may be followed by the shortest time that is taken
            Extension::DeliverBy if self.deliver_by_min() > 0 => {
                lines.word(" ");
                lines.number(u64::from(self.deliver_by_min()));
            }
            //= RFC 4865 section 3: FUTURERELEASE is followed by the longest interval and the last moment
            Extension::FutureRelease => {
                let limit = self.future_release();
                lines.word(" ");
                lines.number(u64::from(limit.interval_max_s));
                lines.word(" ");
                lines.text(&date::write(limit.until_max));
            }
            //= RFC 6710 section 3: MT-PRIORITY may be followed by the name of a policy
            Extension::MtPriority => {
                let name = self.priority_profile().keyword();
                if !name.is_empty() {
                    lines.word(" ");
                    lines.word(name);
                }
            }
            Extension::XClient => attributes(self.x_client(), lines),
            Extension::XForward => attributes(self.x_forward(), lines),
            _ => {}
        }
    }
}

fn attributes(set: AttributeSet, lines: &mut Lines<'_>) {
    for attribute in set.iter() {
        lines.word(" ");
        lines.word(attribute.keyword());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Attribute, PriorityProfile};
    use crate::extension::{FutureRelease, Limits, parse};
    use crate::limits::{REPLY_LEN_MAX, REPLY_LINE_LEN_MAX};
    use crate::reply::parse::Reader;
    use crate::sasl::Mechanisms;
    use alloc::string::String;
    use proptest::prelude::*;

    fn written(extensions: &Extensions) -> String {
        let mut out = Vec::new();
        extensions.write("mx.example", &mut out);
        String::from_utf8(out).unwrap()
    }

    fn everything() -> Extensions {
        let all = Extension::ALL.into_iter();
        let mechanisms = Mechanism::ALL.into_iter();
        all.fold(Extensions::NONE, Extensions::with)
            .with_size_max(1000)
            .with_mechanisms(mechanisms.fold(Mechanisms::NONE, Mechanisms::with))
            .with_limits(Limits {
                recipient_count_max: 100,
                mail_count_max: 0,
                recipient_domain_count_max: 7,
            })
            .with_deliver_by_min(60)
            .with_future_release(FutureRelease {
                interval_max_s: 86_400,
                until_max: 2_000_000_000,
            })
            .with_priority_profile(PriorityProfile::Stanag4406)
            .with_x_client(AttributeSet::X_CLIENT)
            .with_x_forward(AttributeSet::X_FORWARD)
    }

    #[test]
    fn every_line() {
        assert_eq!(
            written(&everything()),
            "250-mx.example\r\n\
             250-PIPELINING\r\n\
             250-SIZE 1000\r\n\
             250-8BITMIME\r\n\
             250-ENHANCEDSTATUSCODES\r\n\
             250-CHUNKING\r\n\
             250-SMTPUTF8\r\n\
             250-STARTTLS\r\n\
             250-DSN\r\n\
             250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n\
             250-BINARYMIME\r\n\
             250-REQUIRETLS\r\n\
             250-LIMITS RCPTMAX=100 RCPTDOMAINMAX=7\r\n\
             250-DELIVERBY 60\r\n\
             250-FUTURERELEASE 86400 2033-05-18T03:33:20Z\r\n\
             250-MT-PRIORITY STANAG4406\r\n\
             250-ETRN\r\n\
             250-VRFY\r\n\
             250-EXPN\r\n\
             250-HELP\r\n\
             250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n\
             250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n"
        );
    }

    #[test]
    fn what_says_nothing_is_not_announced() {
        let empty = [
            Extension::Auth,
            Extension::Limits,
            Extension::FutureRelease,
            Extension::BinaryMime,
        ];
        let none = empty.into_iter().fold(Extensions::NONE, Extensions::with);
        assert_eq!(written(&none), "250 mx.example\r\n");
        let unlimited = Extensions::NONE.with_limits(Limits {
            recipient_count_max: 1_000_000,
            mail_count_max: u32::MAX,
            recipient_domain_count_max: 0,
        });
        assert_eq!(written(&unlimited), "250 mx.example\r\n");
    }

    /// What a server can announce: what a line must say is said.
    fn announceable() -> impl Strategy<Value = Extensions> {
        let words = (any::<u32>(), 0usize..1 << 7, 0u16..1 << 10, 0u16..1 << 10);
        let limits = (0u32..1_200_000, any::<u32>(), 0u32..3);
        let times = (any::<u32>(), any::<u32>(), any::<u64>());
        (words, any::<u64>(), limits, times, 0usize..4).prop_map(
            |((bits, mechanisms, x_client, x_forward), size_max, limits, times, profile)| {
                let mut set = Extensions::NONE;
                let attributes = |bits: u16, known: AttributeSet| {
                    let all = Attribute::ALL.into_iter();
                    all.filter(|each| known.has(*each) && bits & (1 << *each as u16) != 0)
                        .fold(AttributeSet::NONE, AttributeSet::with)
                };
                for extension in Extension::ALL {
                    if bits & (1 << extension as u8) == 0 {
                        continue;
                    }
                    set = match extension {
                        Extension::Size => set.with_size_max(size_max),
                        Extension::Auth => {
                            let all = Mechanism::ALL.into_iter().enumerate();
                            set.with_mechanisms(
                                all.filter(|(index, _)| mechanisms & (1 << index) != 0)
                                    .map(|(_, mechanism)| mechanism)
                                    .fold(Mechanisms::NONE, Mechanisms::with),
                            )
                        }
                        Extension::Limits => set.with_limits(Limits {
                            recipient_count_max: limits.0,
                            mail_count_max: limits.1 >> 12,
                            recipient_domain_count_max: limits.2,
                        }),
                        Extension::DeliverBy => set.with_deliver_by_min(times.0),
                        Extension::FutureRelease => set.with_future_release(FutureRelease {
                            interval_max_s: times.1,
                            until_max: times.2 >> 26,
                        }),
                        Extension::MtPriority => set.with_priority_profile(match profile {
                            0 => PriorityProfile::Unnamed,
                            1 => PriorityProfile::Mixer,
                            2 => PriorityProfile::Stanag4406,
                            _ => PriorityProfile::Nsep,
                        }),
                        Extension::XClient => {
                            set.with_x_client(attributes(x_client, AttributeSet::X_CLIENT))
                        }
                        Extension::XForward => {
                            set.with_x_forward(attributes(x_forward, AttributeSet::X_FORWARD))
                        }
                        plain => set.with(plain),
                    };
                }
                // What would not be announced cannot be read back.
                let silent = Extension::ALL.into_iter().filter(|each| set.has(*each));
                silent
                    .filter(|each| !set.can_announce(*each))
                    .fold(set, |set, each| set.without_all_of(each))
            },
        )
    }

    impl Extensions {
        /// The same set without `extension` and what belongs to it.
        fn without_all_of(mut self, extension: Extension) -> Self {
            match extension {
                Extension::Auth => self.mechanisms = Mechanisms::NONE,
                Extension::Limits => self.limits = Limits::default(),
                Extension::FutureRelease => self.future_release = FutureRelease::default(),
                _ => {}
            }
            self.without(extension)
        }
    }

    proptest! {
        #[test]
        fn what_is_announced_is_read_back(set in announceable(), junk in "[ -~]{0,40}") {
            let mut out = Vec::new();
            set.write("mx.example", &mut out);
            prop_assert!(out.len() <= REPLY_LEN_MAX);
            prop_assert!(out.split(|&octet| octet == b'\n').all(|line| line.len() < REPLY_LINE_LEN_MAX));
            let mut input = &out[..];
            let answer = Reader::default().take(&mut input).unwrap().unwrap();
            prop_assert!(input.is_empty());
            prop_assert_eq!(parse::parse(answer.lines()), set);
            // In small letters, with more spaces, and with a line that nobody knows.
            let text = String::from_utf8(out).unwrap();
            let mut lines: Vec<String> = text
                .lines()
                .map(|line| line[4..].to_lowercase().replace(' ', "  "))
                .collect();
            lines.push(alloc::format!("X-{junk}"));
            prop_assert_eq!(parse::parse(lines.iter().map(|line| line.as_bytes())), set);
        }

        #[test]
        fn no_lines_break_it(lines in proptest::collection::vec(
            "(AUTH|AUTH=|LIMITS|FUTURERELEASE|DELIVERBY|MT-PRIORITY|XCLIENT|XFORWARD|SIZE)( [!-~]{0,12}){0,4}", 0..6,
        )) {
            let read = parse::parse(core::iter::once(&b"mx"[..]).chain(lines.iter().map(|line| line.as_bytes())));
            // Whatever was read can be announced, and is then read the same again.
            let mut out = Vec::new();
            read.write("mx", &mut out);
            let mut input = &out[..];
            let answer = Reader::default().take(&mut input).unwrap().unwrap();
            let again = parse::parse(answer.lines());
            for extension in Extension::ALL {
                prop_assert_eq!(again.has(extension), read.can_announce(extension));
            }
        }
    }
}
