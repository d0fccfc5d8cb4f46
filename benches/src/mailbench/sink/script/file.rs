//! The script as it is typed, and the check that makes of it what is meant. Every error names the key and
//! what is allowed. What is done with the values is not known here.

use super::{Answer, Limits, Pattern, Rule, STEP_COUNT, Script, Step};
use mailrail_protocol::reply::{Code, OwnedReply, Status};
use serde::Deserialize;
use std::fmt::Display;

/// No answer waits longer than this.
const DELAY_MS_MAX: u64 = 3_600_000;
/// Bytes of an answer's text; what one reply can hold is limited by the protocol.
const TEXT_LEN_MAX: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "one")]
    seed: u64,
    #[serde(default)]
    rule: Vec<FileRule>,
}

const fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    #[serde(default)]
    recipients: Vec<String>,
    #[serde(default)]
    senders: Vec<String>,
    #[serde(default)]
    sites: Vec<String>,
    #[serde(default)]
    accept: bool,
    #[serde(default)]
    answers: Vec<FileAnswer>,
    #[serde(default)]
    delay_ms: FileDelays,
    connections_max: Option<u32>,
    messages_per_connection: Option<u32>,
    messages_per_second: Option<f64>,
    bdat: Option<bool>,
    starttls: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAnswer {
    at: At,
    share: Option<f64>,
    attempts: Option<u32>,
    code: u16,
    status: Option<String>,
    #[serde(default = "by_script")]
    text: String,
}

fn by_script() -> String {
    "Says the script".to_owned()
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum At {
    Connect,
    Mail,
    Rcpt,
    Data,
    End,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDelays {
    connect: Option<u64>,
    hello: Option<u64>,
    mail: Option<u64>,
    rcpt: Option<u64>,
    data: Option<u64>,
    end: Option<u64>,
}

impl FileDelays {
    const NAMES: [&str; STEP_COUNT] = ["connect", "hello", "mail", "rcpt", "data", "end"];

    /// By step.
    const fn all(&self) -> [Option<u64>; STEP_COUNT] {
        [
            self.connect,
            self.hello,
            self.mail,
            self.rcpt,
            self.data,
            self.end,
        ]
    }
}

/// Reads a script.
///
/// # Errors
/// What is wrong, and what is allowed there.
pub(in crate::sink) fn parse(text: &str) -> Result<Script, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut rules = Vec::with_capacity(file.rule.len());
    for (index, rule) in file.rule.into_iter().enumerate() {
        rules.push(check_rule(rule).map_err(|why| format!("rule {}: {why}", index + 1))?);
    }
    let seed = file.seed;
    Ok(Script { seed, rules })
}

fn wrong(key: impl Display, value: impl Display, allowed: &str) -> String {
    format!("{key} = {value}: allowed is {allowed}")
}

fn check_rule(rule: FileRule) -> Result<Rule, String> {
    let mut meant = Rule {
        recipients: patterns("recipients", &rule.recipients)?,
        senders: patterns("senders", &rule.senders)?,
        sites: patterns("sites", &rule.sites)?,
        accept: rule.accept,
        ..Rule::default()
    };
    if rule.accept && !rule.answers.is_empty() {
        return Err("accept = true: answers are not allowed beside it".into());
    }
    for (index, answer) in rule.answers.into_iter().enumerate() {
        let step = Step::from(answer.at);
        let in_answer = |why: String| format!("answer {}: {why}", index + 1);
        may_speak_at(step, &meant).map_err(in_answer)?;
        let answer = check_answer(answer).map_err(in_answer)?;
        meant.answers[step as usize].push(answer);
    }
    for (step, delay_ms) in rule.delay_ms.all().into_iter().enumerate() {
        let Some(delay_ms) = delay_ms else { continue };
        let name = FileDelays::NAMES[step];
        let key = format!("delay_ms.{name}");
        if delay_ms > DELAY_MS_MAX {
            return Err(wrong(key, delay_ms, "0 to 3600000"));
        }
        if step < Step::Recipient as usize {
            let step = if step < Step::Mail as usize {
                Step::Connect
            } else {
                Step::Mail
            };
            may_speak_at(step, &meant).map_err(|why| format!("{key}: {why}"))?;
        }
        meant.delay_us[step] = Some(delay_ms * 1000);
    }
    meant.site = Limits {
        connections_max: rule.connections_max,
        messages_per_connection: rule.messages_per_connection,
        messages_per_second: rule.messages_per_second,
        bdat: rule.bdat,
        starttls: rule.starttls,
    };
    check_limits(&meant)?;
    Ok(meant)
}

fn check_limits(rule: &Rule) -> Result<(), String> {
    let limits = &rule.site;
    for (key, value) in [
        ("connections_max", limits.connections_max),
        ("messages_per_connection", limits.messages_per_connection),
    ] {
        if value == Some(0) {
            return Err(wrong(key, 0, "1 and more"));
        }
    }
    if let Some(rate) = limits.messages_per_second
        && !(0.001..=1e9).contains(&rate)
    {
        return Err(wrong("messages_per_second", rate, "0.001 to 1000000000"));
    }
    if *limits != Limits::default() && !(rule.recipients.is_empty() && rule.senders.is_empty()) {
        return Err(
            "connections_max, messages_per_connection, messages_per_second, bdat and starttls are a site's: \
             allowed beside `sites` alone, not beside `recipients` or `senders`"
                .into(),
        );
    }
    Ok(())
}

/// What a rule looks at has to be known by then.
fn may_speak_at(step: Step, rule: &Rule) -> Result<(), String> {
    let knows_sender = !matches!(step, Step::Connect | Step::Hello);
    let knows_recipient = knows_sender && step != Step::Mail;
    if !knows_recipient && !rule.recipients.is_empty() {
        return Err(
            "no recipient is known there: with `recipients`, allowed are \"rcpt\", \"data\" and \"end\"".into(),
        );
    }
    if !knows_sender && !rule.senders.is_empty() {
        return Err(
            "no sender is known there: with `senders`, allowed are \"mail\", \"rcpt\", \"data\" and \"end\"".into(),
        );
    }
    Ok(())
}

fn check_answer(answer: FileAnswer) -> Result<Answer, String> {
    let share = answer.share.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&share) {
        return Err(wrong("share", share, "0 to 1"));
    }
    let code = Code::new(answer.code)
        .filter(|code| code.get() >= 400)
        .ok_or_else(|| wrong("code", answer.code, "400 to 599"))?;
    if answer.attempts == Some(0) {
        return Err(wrong("attempts", 0, "1 and more"));
    }
    if answer.attempts.is_some() && matches!(answer.at, At::Connect | At::Mail) {
        return Err(
            "attempts: they are a copy's: allowed at \"rcpt\", \"data\" and \"end\"".into(),
        );
    }
    let status = match answer.status {
        None => Status::for_code(code, 0, 0),
        Some(text) => text
            .parse()
            .ok()
            .filter(|status: &Status| {
                *status == Status::for_code(code, status.subject, status.detail)
            })
            .ok_or_else(|| {
                let allowed = format!("{}.x.y (RFC 3463 section 2)", code.get() / 100);
                wrong("status", format!("{text:?}"), &allowed)
            })?,
    };
    if answer.text.len() > TEXT_LEN_MAX {
        return Err(wrong("text", "...", "up to 1000 bytes"));
    }
    Ok(Answer {
        share,
        attempts: answer.attempts,
        reply: OwnedReply::new(code, Some(status)).with_line(&answer.text),
    })
}

fn patterns(key: &str, texts: &[String]) -> Result<Vec<Pattern>, String> {
    let one = |text: &String| {
        Pattern::parse(text)
            .ok_or_else(|| wrong(key, format!("{text:?}"), "a text with at most one *"))
    };
    texts.iter().map(one).collect()
}

impl From<At> for Step {
    fn from(at: At) -> Self {
        match at {
            At::Connect => Self::Connect,
            At::Mail => Self::Mail,
            At::Rcpt => Self::Recipient,
            At::Data => Self::Data,
            At::End => Self::End,
        }
    }
}
