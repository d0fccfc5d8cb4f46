//! The plan: what the command line means, checked once. Pure: which message has which size, sender and
//! recipients follows from its number and the seed. Nothing is sent here, and no time passes.

mod chance;
mod schedule;
mod size;
mod zipf;

pub(super) use chance::{Purpose, draw};
pub(super) use schedule::{Share, part};
pub(super) use size::SIZE_MIN;

use crate::cli::{SourceOptions, Tls};
use crate::identity::COPY_MAX;
use size::Sizes;
use std::net::SocketAddr;
use zipf::{DOMAIN_COUNT_MAX, Zipf};

/// Recipients of one transaction.
const RECIPIENT_COUNT_MAX: u32 = 10_000;
/// Sessions: each is a descriptor, and a port of ours.
const SESSION_COUNT_MAX: u32 = 60_000;

/// What is to be done. Lives as long as the run, shared by the shards, and never changes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) server: SocketAddr,
    pub(super) run: u32,
    pub(super) seed: u64,
    pub(super) session_count: u32,
    pub(super) message_count: u64,
    pub(super) rate: Option<f64>,
    pub(super) recipient_count: u32,
    /// Messages on one connection.
    pub(super) message_count_max: u32,
    pub(super) pipelining: bool,
    pub(super) bdat: bool,
    pub(super) tls: Tls,
    /// What AUTH PLAIN says first.
    pub(super) login: Option<Vec<u8>>,
    pub(super) keeps_copies: bool,
    sizes: Sizes,
    senders: Zipf,
    recipients: Zipf,
}

impl Plan {
    /// Checks the command line. `chosen` is the run's number if none is given.
    ///
    /// # Errors
    /// In the user's words.
    pub(super) fn check(options: &SourceOptions, chosen: u32) -> Result<Self, String> {
        within(
            "--sessions",
            options.sessions.into(),
            SESSION_COUNT_MAX.into(),
        )?;
        within("--messages", options.messages, COPY_MAX)?;
        within(
            "--recipients",
            options.recipients.into(),
            RECIPIENT_COUNT_MAX.into(),
        )?;
        let domain_count_max = DOMAIN_COUNT_MAX.into();
        let sender_domains = options.sender_domains.into();
        within("--sender-domains", sender_domains, domain_count_max)?;
        let recipient_domains = options.recipient_domains.into();
        within("--recipient-domains", recipient_domains, domain_count_max)?;
        let copy_count = options.messages * u64::from(options.recipients);
        if copy_count > COPY_MAX {
            return Err(format!(
                "{} messages for {} recipients are more than {COPY_MAX} copies",
                options.messages, options.recipients
            ));
        }
        if let Some(rate) = options.rate
            && !(rate > 0.0 && rate.is_finite())
        {
            return Err(format!("--rate {rate}: it is a number above 0"));
        }
        if !(0.0..=10.0).contains(&options.zipf) {
            return Err(format!("--zipf {}: it is from 0 to 10", options.zipf));
        }
        Ok(Self {
            server: options.server,
            run: options.run.unwrap_or(chosen),
            seed: options.seed,
            session_count: options.sessions,
            message_count: options.messages,
            rate: options.rate,
            recipient_count: options.recipients,
            message_count_max: match options.per_connection {
                0 => u32::MAX,
                count => count,
            },
            pipelining: options.pipelining,
            bdat: options.bdat,
            tls: options.tls,
            login: options.auth.as_deref().map(login).transpose()?,
            keeps_copies: options.acknowledged.is_some(),
            sizes: Sizes::parse(&options.size)?,
            senders: Zipf::new(options.sender_domains, options.zipf),
            recipients: Zipf::new(options.recipient_domains, options.zipf),
        })
    }

    /// Bytes of content of a message.
    pub(super) fn size(&self, message: u64) -> usize {
        self.sizes.pick(draw(self.seed, Purpose::Size, message))
    }

    /// Bytes of content of the largest message that may come.
    pub(super) fn size_max(&self) -> usize {
        self.sizes.largest()
    }

    /// The number of the sender's domain of a message.
    pub(super) fn sender_domain(&self, message: u64) -> u32 {
        self.senders.pick(draw(self.seed, Purpose::Sender, message))
    }

    /// The number of the domain of a copy's recipient.
    pub(super) fn recipient_domain(&self, copy: u64) -> u32 {
        self.recipients
            .pick(draw(self.seed, Purpose::Recipient, copy))
    }

    /// The part of one shard.
    pub(super) fn share(&self, index: usize, count: usize) -> Share {
        Share {
            index: index as u64,
            count: count as u64,
            message_count: self.message_count,
            rate: self.rate,
        }
    }
}

fn within(flag: &str, value: u64, max: u64) -> Result<(), String> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(format!("{flag} {value}: it is from 1 to {max}")),
    }
}

/// The one message of PLAIN.
//= RFC 4616 section 2: [authzid] NUL authcid NUL passwd; the latter two are not empty
fn login(text: &str) -> Result<Vec<u8>, String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(format!("\0{user}\0{password}").into_bytes())
        }
        _ => Err("--auth: it is user:password".into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    pub(in crate::source) fn planned(flags: &str) -> Result<Plan, String> {
        let words = ["mailbench", "source", "127.0.0.1:25"].into_iter();
        let cli = Cli::try_parse_from(words.chain(flags.split_whitespace()));
        match cli.expect("flags").command {
            Command::Source(options) => Plan::check(&options, 7),
            _ => unreachable!("`source` was said"),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (flags, word) in [
            ("--sessions 0", "--sessions 0"),
            ("--messages 0", "--messages 0"),
            ("--recipients 0", "--recipients 0"),
            ("--recipients 10001", "to 10000"),
            ("--sender-domains 0", "--sender-domains 0"),
            ("--recipient-domains 2000000", "--recipient-domains"),
            ("--rate 0", "above 0"),
            ("--rate NaN", "above 0"),
            ("--rate inf", "above 0"),
            ("--zipf -1", "from 0 to 10"),
            ("--size 4x", "--size 4x"),
            ("--auth tim", "user:password"),
            ("--auth :x", "user:password"),
            ("--messages 1000000000 --recipients 2", "copies"),
        ] {
            // A value that begins with a hyphen has to be joined to its flag.
            let error = planned(&flags.replace("f -", "f=-")).expect_err(flags);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_meant() {
        let plan = planned("--auth tim:a:b --per-connection 3 -m 10 --run 9").expect("a plan");
        assert_eq!(plan.login.as_deref(), Some(&b"\0tim\0a:b"[..]));
        assert_eq!((plan.run, plan.message_count_max), (9, 3));
        let plan = planned("").expect("a plan");
        assert_eq!((plan.run, plan.message_count_max), (7, u32::MAX));
        assert_eq!((plan.size(0), plan.size_max()), (4096, 4096));
        assert_eq!((plan.sender_domain(3), plan.recipient_domain(4)), (0, 0));
    }
}
