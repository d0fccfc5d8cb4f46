//! How a plan is drawn from chance: hosts, domains, messages, clients, the disk, and what happens.
//!
//! The order of the draws is a part of it: another order makes another plan of the same seed. Which parts are
//! drawn at all is the parent's to say; the server's configuration is `configuration`'s. Pure.

use super::{
    Act, Class, Client, Domain, HOME, Host, Manner, Mood, NAMES, Quirk, SECOND, SIZE_MAX, Way, When,
};
use crate::sim::mail::{Mail, Shape};
use mailrail_runtime::sim::Chance;
use mailrail_runtime::sim::disk::{Call, Faults};
use std::net::Ipv4Addr;

fn some_of(chance: &mut Chance, limit: u64) -> u32 {
    if chance.below(2) == 0 {
        return 0;
    }
    chance.below(limit) as u32
}

pub(super) fn hosts(chance: &mut Chance, has_moods: bool) -> Vec<Host> {
    let count = 2 + chance.below(3);
    let host = |index: u64| {
        let all = [
            "PIPELINING",
            "8BITMIME",
            "SIZE",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
        ];
        let offers = (index == 0 || chance.below(8) > 0).then(|| {
            let offered =
                |offer: &&&str| (index == 0 && **offer == "8BITMIME") || chance.below(4) > 0;
            all.iter().filter(offered).copied().collect()
        });
        let mut mood = Mood::default();
        if has_moods {
            mood = Mood {
                turned_away: some_of(chance, 300_000),
                silent: some_of(chance, 100_000),
                cut: some_of(chance, 300_000),
                deferred: some_of(chance, 400_000),
                refused: some_of(chance, 200_000),
                deferred_at_end: some_of(chance, 400_000),
                refused_at_end: some_of(chance, 200_000),
                taken_in_silence: some_of(chance, 200_000),
            };
        }
        if index == 0 {
            // Reports must arrive: nobody is told of a report that does not.
            (mood.refused, mood.refused_at_end) = (0, 0);
        }
        Host {
            address: Ipv4Addr::new(10, 0, 2, index as u8 + 1).into(),
            offers,
            mood,
        }
    };
    (0..count).map(host).collect()
}

pub(super) fn domains(chance: &mut Chance, host_count: usize) -> Vec<Domain> {
    let mut domains = vec![Domain {
        name: HOME.into(),
        way: *chance.pick(&[Way::Route, Way::Mx, Way::Implicit]),
        hosts: vec![0],
    }];
    for index in 0..1 + chance.below(5) {
        let way = match chance.below(12) {
            0..4 => Way::Route,
            4..8 => Way::Mx,
            8 => Way::TwoMx,
            9 => Way::Implicit,
            10 => Way::NullMx,
            _ => Way::Missing,
        };
        let first = 1 + chance.below(host_count as u64 - 1) as usize;
        let second = 1 + first % (host_count - 1);
        let hosts = match way {
            Way::NullMx | Way::Missing => Vec::new(),
            Way::TwoMx if first != second => vec![first, second],
            _ => vec![first],
        };
        let name = format!("d{index}.example");
        domains.push(Domain { name, way, hosts });
    }
    domains
}

pub(super) fn classes(chance: &mut Chance) -> Vec<Class> {
    let mut classes = vec![Class::Fsync];
    match chance.below(8) {
        0 => classes.push(Class::Write),
        1 => classes.push(Class::Memory),
        _ => {}
    }
    classes
}

pub(super) fn mails(chance: &mut Chance, domains: &[Domain]) -> Vec<Mail> {
    let count = 1 + match chance.below(8) {
        0 => chance.below(60),
        _ => chance.below(20),
    };
    let mail = |number: u64| {
        let shape = match chance.below(40) {
            0 => Shape::BareLf,
            1 => Shape::Loop,
            2 => Shape::TooLong,
            3..8 => Shape::Dots,
            8..12 => Shape::EightBit,
            _ => Shape::Plain,
        };
        let len = match chance.below(10) {
            _ if shape == Shape::TooLong => SIZE_MAX + 1 + chance.below(8 << 10),
            0..6 => chance.below(2 << 10),
            6..9 => chance.below(12 << 10),
            _ => chance.below(20 << 10),
        };
        let recipient_count = match chance.below(60) {
            0 => 90 + chance.below(40),
            1..8 => 1 + chance.below(6),
            _ => 1,
        };
        let recipients = (0..recipient_count).map(|index| {
            let domain = &domains[chance.below(domains.len() as u64) as usize];
            format!("n{number}-{index}@{}", domain.name)
        });
        Mail {
            number: number as usize,
            recipients: recipients.collect(),
            sender: match chance.below(10) {
                0 => String::new(),
                _ => format!("n{number}@{HOME}"),
            },
            shape,
            len: len as usize,
            seed: chance.next(),
        }
    };
    (0..count).map(mail).collect()
}

pub(super) fn clients(chance: &mut Chance, mails: &[Mail], listener_count: usize) -> Vec<Client> {
    let count = 1 + chance.below(4) as usize;
    let mut clients: Vec<Client> = (0..count)
        .map(|index| Client {
            address: Ipv4Addr::new(10, 0, 1, index as u8 + 1).into(),
            listener: chance.below(listener_count as u64) as usize,
            start: chance.below(2 * SECOND),
            manner: *chance.pick(&[Manner::Stepwise, Manner::Pipelined, Manner::Chunked]),
            mails: Vec::new(),
            pause: *chance.pick(&[1, 1_000, 100_000, 2 * SECOND]),
            piece: 1 + chance.below(5000) as usize,
        })
        .collect();
    for mail in mails {
        let quirk = match chance.below(30) {
            0 => Quirk::Reset,
            1 | 2 => Quirk::HangUp(chance.below(mail.len as u64 + 1) as usize),
            3 => Quirk::Slow,
            _ => Quirk::None,
        };
        let client = chance.below(count as u64) as usize;
        clients[client].mails.push((mail.number, quirk));
    }
    if chance.below(8) == 0 {
        clients.push(Client {
            address: Ipv4Addr::new(10, 0, 1, 200).into(),
            listener: 0,
            start: chance.below(4 * SECOND),
            manner: Manner::Hostile,
            mails: Vec::new(),
            pause: 100_000,
            piece: 1 + chance.below(300) as usize,
        });
    }
    clients
}

/// How fast the disk is.
pub(super) fn disk(chance: &mut Chance) -> Faults {
    let mut faults = Faults::default();
    let most = *chance.pick(&[100, 1_000, 10_000]);
    faults.write_micros = 1..1 + chance.below(most) + 1;
    faults.sync_micros = 1..1 + chance.below(most) + 1;
    faults
}

pub(super) fn acts(chance: &mut Chance, hosts: &[Host]) -> Vec<(When, Act)> {
    let count = match chance.below(8) {
        0 => 0,
        1..6 => 1 + chance.below(3),
        _ => 1 + chance.below(7),
    };
    let mut acts = Vec::new();
    let mut entries = 0;
    for _ in 0..count {
        entries += chance.below(16);
        let when = When {
            entries,
            latest: chance.below(30 * SECOND),
            later: *chance.pick(&[0, 10, 100, 1_000, 10_000, 100_000, SECOND]) + chance.below(1000),
        };
        let pause = *chance.pick(&[0, 100, 10_000, SECOND, 5 * SECOND]);
        let shards = 1 + chance.below(3) as usize;
        let while_micros = *chance.pick(&[10_000, SECOND, 10 * SECOND]);
        let calls = [
            Call::Open,
            Call::Create,
            Call::Reserve,
            Call::Write,
            Call::Read,
            Call::Sync,
            Call::Rename,
            Call::SyncDirectory,
        ];
        let act = match chance.below(24) {
            0..5 => Act::Kill(pause, shards),
            5..10 => Act::CutPower(pause, shards),
            10..12 => Act::Stop(pause, shards),
            12 => Act::Reload(1 + chance.below(6) as u32),
            13 => Act::Jump(chance.below(40_000) as i64 - 20_000),
            14 => Act::EventLogFull(chance.below(5 * SECOND)),
            15 | 16 => Act::DiskFailsOnce(*chance.pick(&calls)),
            17 => Act::DiskFails(
                *chance.pick(&calls),
                1_000_000 >> chance.below(4),
                while_micros,
            ),
            18 => Act::DiskStalls(chance.below(while_micros)),
            19 | 20 => Act::DiskFull(chance.below(300 << 10), while_micros),
            21 => {
                let client = Ipv4Addr::new(10, 0, 1, 1).into();
                let host = chance.pick(hosts).address;
                Act::Part(*chance.pick(&[client, host, NAMES]), while_micros)
            }
            _ => Act::Kill(chance.below(2_000), shards),
        };
        acts.push((when, act));
    }
    acts
}

/// More of what promises less.
pub(super) fn soften(chance: &mut Chance, classes: &mut Vec<Class>, clients: &mut [Client]) {
    let class = match chance.below(3) {
        0 => Class::Memory,
        1 => Class::Write,
        _ => return,
    };
    if classes.len() == 1 {
        classes.push(class);
        for client in clients {
            client.listener = chance.below(2) as usize;
        }
    }
}

pub(super) fn rot(chance: &mut Chance, acts: &mut Vec<(When, Act)>) {
    if chance.below(3) > 0 {
        return;
    }
    for _ in 0..1 + chance.below(3) {
        let at = chance.below(acts.len() as u64 + 1) as usize;
        let when = When {
            entries: chance.below(60),
            latest: chance.below(30 * SECOND),
            later: chance.below(1000),
        };
        acts.insert(at, (when, Act::Rot(chance.next(), chance.next() as u8)));
    }
}
