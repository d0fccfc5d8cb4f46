//! The script: how the sink answers. Pure: the same arguments give the same answer; counts, clocks and
//! replies on the wire are other rooms'. What may be written into the file, and what is wrong with it, is
//! `file`'s.
//!
//! Rules stand in an order. For each step of a dialogue the first rule decides that matches what is known by
//! then (site, sender, recipient) and speaks about that step. Where none does, the step is granted at once.
//!
//! ```toml
//! seed = 7                                # of the shares; 1 by default
//!
//! [[rule]]
//! recipients = ["d1.rcpt.example"]        # domains; one * stands for any text
//! accept = true                           # no later rule speaks about these
//!
//! [[rule]]
//! recipients = ["*.rcpt.example"]
//! answers = [
//!     # At its first attempt each copy is put off; attempts are counted by RCPT.
//!     { at = "rcpt", attempts = 1, code = 450, status = "4.2.1", text = "Greylisted" },
//!     # Later, three in ten are put off at the end of the data, each time anew.
//!     { at = "end", share = 0.3, code = 451 },
//! ]
//! delay_ms = { rcpt = 20, end = 100 }
//!
//! [[rule]]
//! sites = ["127.1.0.*"]                   # addresses, or address:port
//! delay_ms = { connect = 3000 }           # a slow banner
//! connections_max = 2                     # at each address; 421 beyond
//! messages_per_connection = 10            # 421 to the next MAIL
//! messages_per_second = 5                 # at each address; 451 to MAIL beyond
//! bdat = true                             # offered here, whatever the command line says
//! starttls = false                        # not offered here, whatever the command line says
//! ```

mod file;
#[cfg(test)]
mod tests;

use crate::identity::Name;
use mailrail_protocol::reply::OwnedReply;

pub(super) use file::parse;

/// A step of the dialogue that has an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The greeting.
    Connect,
    /// EHLO or HELO; it is delayed and never refused.
    Hello,
    Mail,
    Recipient,
    /// DATA, or the first BDAT.
    Data,
    /// Behind the last byte of the content.
    End,
}

const STEP_COUNT: usize = 6;

/// All that a file says, for all sites.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    seed: u64,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Default)]
struct Rule {
    recipients: Vec<Pattern>,
    senders: Vec<Pattern>,
    sites: Vec<Pattern>,
    accept: bool,
    /// By step.
    answers: [Vec<Answer>; STEP_COUNT],
    delay_us: [Option<u64>; STEP_COUNT],
    site: Limits,
}

/// What concerns a site as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    /// Connections at the same time.
    pub(super) connections_max: Option<u32>,
    /// Messages on one connection.
    pub(super) messages_per_connection: Option<u32>,
    pub(super) messages_per_second: Option<f64>,
    /// Whether BDAT is offered.
    pub(super) bdat: Option<bool>,
    /// Whether STARTTLS is offered, where there is TLS.
    pub(super) starttls: Option<bool>,
}

/// An answer that is no success.
#[derive(Debug, Clone)]
struct Answer {
    /// Of those that come here, 0 to 1.
    share: f64,
    /// Only a copy's first attempts, up to this one.
    attempts: Option<u32>,
    reply: OwnedReply,
}

/// A text in which one `*` may stand for any other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    head: String,
    /// What follows the star, if there is one.
    tail: Option<String>,
}

impl Pattern {
    /// `None`: more than one star, or nothing at all.
    fn parse(text: &str) -> Option<Self> {
        let (head, tail) = match text.split_once('*') {
            Some((head, tail)) => (head, Some(tail)),
            None => (text, None),
        };
        let is_one = !text.is_empty() && tail.is_none_or(|tail| !tail.contains('*'));
        is_one.then(|| Self {
            head: head.to_ascii_lowercase(),
            tail: tail.map(str::to_ascii_lowercase),
        })
    }

    fn matches(&self, text: &str) -> bool {
        let (text, head) = (text.as_bytes(), self.head.as_bytes());
        let Some(tail) = &self.tail else {
            return text.eq_ignore_ascii_case(head);
        };
        let Some((front, rest)) = text.split_at_checked(head.len()) else {
            return false;
        };
        let Some(start) = rest.len().checked_sub(tail.len()) else {
            return false;
        };
        front.eq_ignore_ascii_case(head) && rest[start..].eq_ignore_ascii_case(tail.as_bytes())
    }
}

impl Script {
    /// What it says of one site, by its address and its address with port.
    pub(super) fn at(&self, address: &str, with_port: &str) -> SiteScript {
        let is_here = |rule: &&Rule| {
            let is_it = |site: &Pattern| site.matches(address) || site.matches(with_port);
            rule.sites.is_empty() || rule.sites.iter().any(is_it)
        };
        let rules: Vec<Rule> = self.rules.iter().filter(is_here).cloned().collect();
        // Rules for some mail say nothing of the site: `file` refuses it.
        let limits = rules.iter().fold(Limits::default(), |all, rule| {
            let next = rule.site;
            Limits {
                connections_max: all.connections_max.or(next.connections_max),
                messages_per_connection: all
                    .messages_per_connection
                    .or(next.messages_per_connection),
                messages_per_second: all.messages_per_second.or(next.messages_per_second),
                bdat: all.bdat.or(next.bdat),
                starttls: all.starttls.or(next.starttls),
            }
        });
        SiteScript {
            seed: self.seed,
            is_silent: rules.iter().all(Rule::is_silent),
            heeds_senders: rules.iter().any(|rule| !rule.senders.is_empty()),
            counts_attempts: rules.iter().any(|rule| {
                let of_copies = [Step::Recipient, Step::Data, Step::End];
                of_copies
                    .iter()
                    .any(|step| !rule.answers[*step as usize].is_empty())
            }),
            rules,
            limits,
        }
    }

    /// Whether anything is remembered of an address from one connection to the next: then one shard alone
    /// has that address.
    pub(super) fn remembers(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.site.connections_max.is_some()
                || rule.site.messages_per_second.is_some()
                || rule.answers.iter().any(|answers| !answers.is_empty())
        })
    }
}

impl Rule {
    fn is_silent(&self) -> bool {
        self.answers.iter().all(Vec::is_empty) && self.delay_us.iter().all(Option::is_none)
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        let is_in = |patterns: &[Pattern], domain: Option<&str>| {
            patterns.is_empty()
                || domain.is_some_and(|domain| patterns.iter().any(|each| each.matches(domain)))
        };
        is_in(&self.recipients, subject.recipient) && is_in(&self.senders, subject.sender)
    }
}

/// What is known of a step when it is answered: domains.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subject<'s> {
    pub(super) sender: Option<&'s str>,
    pub(super) recipient: Option<&'s str>,
}

/// What the shares are drawn by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lot {
    /// A copy, and how often its RCPT has come, this time included.
    Copy(Name, u32),
    /// Something of no name, by its number. It has no attempts.
    Number(u64),
}

/// What is said, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Verdict<'s> {
    pub(super) reply: Option<&'s OwnedReply>,
    pub(super) delay_us: u64,
}

/// What a script says of one site.
#[derive(Debug, Clone, Default)]
pub(super) struct SiteScript {
    seed: u64,
    rules: Vec<Rule>,
    is_silent: bool,
    pub(super) heeds_senders: bool,
    /// Whether answers depend on how often a copy came.
    pub(super) counts_attempts: bool,
    pub(super) limits: Limits,
}

impl SiteScript {
    /// Decides one step.
    pub(super) fn decide(&self, step: Step, subject: &Subject<'_>, lot: Lot) -> Verdict<'_> {
        if self.is_silent {
            return Verdict::default();
        }
        Verdict {
            reply: self.reply(step, subject, lot),
            delay_us: self.delay_us(step, subject),
        }
    }

    fn reply(&self, step: Step, subject: &Subject<'_>, lot: Lot) -> Option<&OwnedReply> {
        for rule in self.rules.iter().filter(|rule| rule.matches(subject)) {
            if rule.accept {
                return None;
            }
            let answers = &rule.answers[step as usize];
            if !answers.is_empty() {
                return choose(answers, lot, self.draw(step, lot));
            }
        }
        None
    }

    fn delay_us(&self, step: Step, subject: &Subject<'_>) -> u64 {
        let mut matching = self.rules.iter().filter(|rule| rule.matches(subject));
        let delay = matching.find_map(|rule| rule.delay_us[step as usize]);
        delay.unwrap_or(0)
    }

    /// A number from 0 to 1 that is this lot's for good.
    fn draw(&self, step: Step, lot: Lot) -> f64 {
        let (kind, number) = match lot {
            Lot::Copy(name, attempt) => {
                let name = mix(u64::from(name.run) ^ mix(name.copy));
                (0, name ^ u64::from(attempt))
            }
            Lot::Number(number) => (1, number),
        };
        let mixed = mix(self.seed ^ mix(number ^ mix(step as u64 * 2 + kind)));
        // As many bits as a double holds.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Shares lie side by side from 0 on; what is not for this attempt takes no room.
fn choose(answers: &[Answer], lot: Lot, drawn: f64) -> Option<&OwnedReply> {
    let mut from = 0.0;
    for answer in answers {
        let is_meant = match (answer.attempts, lot) {
            (None, _) => true,
            (Some(attempts), Lot::Copy(_, attempt)) => attempt <= attempts,
            (Some(_), Lot::Number(_)) => false,
        };
        if is_meant {
            from += answer.share;
            if drawn < from {
                return Some(&answer.reply);
            }
        }
    }
    None
}

/// Spreads a number over 64 bits, each of which depends on each of its: the finalizer of MurmurHash3 with
/// the constants of Stafford's variant 13, behind a step of the golden ratio so that 0 is spread, too.
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Messages of one address by rate: as many as a second brings may come at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    per_second: f64,
    left: f64,
    at_us: u64,
}

impl Bucket {
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            per_second,
            left: per_second.max(1.0),
            at_us: 0,
        }
    }

    /// Takes one message, if it may come now.
    pub(super) fn take(&mut self, now_us: u64) -> bool {
        let passed_s = now_us.saturating_sub(self.at_us) as f64 / 1e6;
        self.left = (self.left + passed_s * self.per_second).min(self.per_second.max(1.0));
        self.at_us = now_us;
        let may_come = self.left >= 1.0;
        if may_come {
            self.left -= 1.0;
        }
        may_come
    }
}
