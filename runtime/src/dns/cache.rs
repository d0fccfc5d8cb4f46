//! Answers remembered on one shard. Pure: `now` (micros) is an argument.
//!
//! Bounded in entries and in bytes; the least lately used goes first, by a second chance. It knows
//! what is fresh, what is stale and still of use, and which question has just failed. It asks nobody.

use super::DnsError;
use super::query::{Answer, Data, Question};
use std::collections::{BTreeMap, VecDeque};

const SECOND: u64 = 1_000_000;

/// What one entry costs beside its name and its records: map nodes, the place in the queue, the two
/// `Rc` heads. An estimate, on the high side.
const ENTRY_LEN: usize = 256;

/// The cache's limits. All times in micros, all lengths in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of all entries together.
    pub bytes_max: usize,
    /// The shortest life of an answer that may be remembered at all. A mail queue asks in bursts; a
    /// TTL of 0 would mean one query for each message.
    pub life_min: u64,
    /// The longest life of an answer with records.
    pub life_max: u64,
    /// The longest life of an answer without.
    pub negative_life_max: u64,
    /// For how long after its life an answer helps out when no server answers.
    pub stale_max: u64,
    /// How long a stale answer is given without asking again, after a failure.
    pub recheck: u64,
    /// How long a failure is remembered when there is no answer at all.
    pub failure_life: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: 10_000,
            bytes_max: 4 << 20,
            life_min: 5 * SECOND,
            life_max: 86_400 * SECOND,
            //= RFC 2308 section 5: one to three hours are sensible; one for mail, where a new domain
            // is often written to at once
            negative_life_max: 3_600 * SECOND,
            //= RFC 8767 section 5: one to three days
            stale_max: 86_400 * SECOND,
            //= RFC 8767 section 5: at least 30 seconds between tries to refresh stale data
            recheck: 30 * SECOND,
            //= RFC 9520 section 3.2: at least one second, at most five minutes
            failure_life: 3 * SECOND,
        }
    }
}

/// What the cache knows about a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing of use: ask.
    Missing,
    /// This holds.
    Fresh(Data),
    /// This held. `refresh`: ask again; otherwise that has just failed, and this is good enough.
    Stale {
        /// The old answer.
        data: Data,
        /// Whether to ask.
        refresh: bool,
    },
    /// It has just failed: do not ask again yet.
    Failed(DnsError),
}

struct Entry {
    held: Held,
    /// Until here it is given without a question.
    fresh_until: u64,
    /// From here on it is of no use.
    dead_at: u64,
    /// A stale entry is not refreshed before.
    recheck_at: u64,
    len: usize,
    was_used: bool,
}

enum Held {
    Data(Data),
    Failure(DnsError),
}

/// The cache of one shard.
pub struct Cache {
    limits: Limits,
    entries: BTreeMap<Question, Entry>,
    /// Each key of `entries` once, the next candidate for eviction in front.
    queue: VecDeque<Question>,
    bytes: usize,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            queue: VecDeque::new(),
            bytes: 0,
        }
    }

    /// How many questions are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes in use, as estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is known about `question` at `now`.
    pub fn get(&mut self, question: &Question, now: u64) -> Found {
        let Some(entry) = self.entries.get_mut(question) else {
            return Found::Missing;
        };
        if now >= entry.dead_at {
            return Found::Missing;
        }
        entry.was_used = true;
        match &entry.held {
            Held::Failure(error) => Found::Failed(*error),
            Held::Data(data) if now < entry.fresh_until => Found::Fresh(data.clone()),
            Held::Data(data) => Found::Stale {
                data: data.clone(),
                refresh: now >= entry.recheck_at,
            },
        }
    }

    /// Remembers a definite answer, which takes the place of whatever was known.
    pub fn insert(&mut self, question: &Question, answer: &Answer, now: u64) {
        let Some(ttl) = answer.ttl else {
            return self.forget(question);
        };
        let life_max = match answer.data {
            Data::Empty | Data::NoSuchDomain => self.limits.negative_life_max,
            _ => self.limits.life_max,
        };
        let life = (u64::from(ttl) * SECOND).clamp(self.limits.life_min.min(life_max), life_max);
        let fresh_until = now + life;
        self.put(
            question,
            Entry {
                len: ENTRY_LEN + question.name.as_str().len() + len(&answer.data),
                held: Held::Data(answer.data.clone()),
                fresh_until,
                dead_at: fresh_until + self.limits.stale_max,
                recheck_at: fresh_until,
                was_used: false,
            },
        );
    }

    /// Notes that nobody could answer. An old answer that still helps out is kept, and returned.
    pub fn fail(&mut self, question: &Question, error: DnsError, now: u64) -> Option<Data> {
        //= RFC 8767 section 4: when no authority can be reached, expired data may be used as if fresh
        if let Some(entry) = self.entries.get_mut(question)
            && let Held::Data(data) = &entry.held
            && now < entry.dead_at
        {
            entry.recheck_at = now + self.limits.recheck;
            return Some(data.clone());
        }
        //= RFC 2308 section 7: a failure is no negative answer; it is remembered as a failure, briefly
        let dead_at = now + self.limits.failure_life;
        self.put(
            question,
            Entry {
                len: ENTRY_LEN + question.name.as_str().len(),
                held: Held::Failure(error),
                fresh_until: dead_at,
                dead_at,
                recheck_at: dead_at,
                was_used: false,
            },
        );
        None
    }

    fn put(&mut self, question: &Question, entry: Entry) {
        self.bytes += entry.len;
        match self.entries.insert(question.clone(), entry) {
            Some(old) => self.bytes -= old.len,
            None => self.queue.push_back(question.clone()),
        }
        while self.entries.len() > self.limits.entries_max || self.bytes > self.limits.bytes_max {
            self.evict();
        }
    }

    fn forget(&mut self, question: &Question) {
        // A walk over the queue, but rare: an answer without SOA after one that was remembered.
        if let Some(old) = self.entries.remove(question) {
            self.bytes -= old.len;
            self.queue.retain(|queued| queued != question);
        }
    }

    fn evict(&mut self) {
        // Ends: each round takes one mark away or one entry.
        while let Some(question) = self.queue.pop_front() {
            match self.entries.get_mut(&question) {
                Some(entry) if entry.was_used => {
                    entry.was_used = false;
                    self.queue.push_back(question);
                }
                _ => {
                    self.bytes -= self.entries.remove(&question).map_or(0, |entry| entry.len);
                    return;
                }
            }
        }
    }
}

fn len(data: &Data) -> usize {
    match data {
        Data::Addresses(list) => size_of_val(&**list),
        Data::Exchangers(list) => list
            .iter()
            .map(|each| size_of_val(each) + 16 + each.host.as_str().len())
            .sum(),
        Data::Texts(list) => list.iter().map(|text| size_of_val(text) + text.len()).sum(),
        Data::Names(list) => list
            .iter()
            .map(|name| size_of_val(name) + 16 + name.as_str().len())
            .sum(),
        Data::Alias(name) => 16 + name.as_str().len(),
        Data::Empty | Data::NoSuchDomain => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Name;
    use super::super::query::Kind;
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        entries_max: 4,
        bytes_max: 4096,
        life_min: 5 * SECOND,
        life_max: 1_000 * SECOND,
        negative_life_max: 100 * SECOND,
        stale_max: 10_000 * SECOND,
        recheck: 30 * SECOND,
        failure_life: 3 * SECOND,
    };

    fn ask(name: &str) -> Question {
        Question {
            name: Name::parse(name).unwrap(),
            kind: Kind::A,
        }
    }

    fn records() -> Data {
        Data::Addresses([[192, 0, 2, 1].into()].into())
    }

    fn fresh(data: Data) -> Found {
        Found::Fresh(data)
    }

    fn stale(refresh: bool) -> Found {
        Found::Stale {
            data: records(),
            refresh,
        }
    }

    #[test]
    fn lives_are_clamped() {
        //        data                ttl           fresh until, s
        let cases = [
            (records(), Some(60), 60),
            (records(), Some(0), 5),
            (records(), Some(i32::MAX as u32), 1_000),
            (Data::Empty, Some(60), 60),
            (Data::Empty, Some(500), 100),
            (Data::NoSuchDomain, Some(500), 100),
            (Data::NoSuchDomain, None, 0),
        ];
        for (data, ttl, until) in cases {
            let mut cache = Cache::new(LIMITS);
            let question = ask("a.example");
            cache.insert(
                &question,
                &Answer {
                    data: data.clone(),
                    ttl,
                },
                0,
            );
            if until > 0 {
                assert_eq!(
                    cache.get(&question, until * SECOND - 1),
                    fresh(data.clone())
                );
            }
            assert_ne!(cache.get(&question, until * SECOND), fresh(data), "{ttl:?}");
        }
    }

    #[test]
    fn stale_answers_help_out_until_they_are_too_old() {
        let mut cache = Cache::new(LIMITS);
        let question = ask("a.example");
        cache.insert(
            &question,
            &Answer {
                data: records(),
                ttl: Some(60),
            },
            0,
        );
        assert_eq!(cache.get(&question, 60 * SECOND), stale(true));
        let now = 100 * SECOND;
        assert_eq!(
            cache.fail(&question, DnsError::Timeout, now),
            Some(records())
        );
        assert_eq!(cache.get(&question, now + 30 * SECOND - 1), stale(false));
        assert_eq!(cache.get(&question, now + 30 * SECOND), stale(true));
        let dead_at = 10_060 * SECOND;
        assert_eq!(cache.get(&question, dead_at - 1), stale(true));
        assert_eq!(cache.get(&question, dead_at), Found::Missing);
        assert_eq!(cache.fail(&question, DnsError::Timeout, dead_at), None);
    }

    #[test]
    fn a_failure_is_remembered_briefly_and_never_as_an_answer() {
        let mut cache = Cache::new(LIMITS);
        let question = ask("a.example");
        assert_eq!(cache.fail(&question, DnsError::ServerFailure(2), 0), None);
        assert_eq!(
            cache.get(&question, 3 * SECOND - 1),
            Found::Failed(DnsError::ServerFailure(2))
        );
        assert_eq!(cache.get(&question, 3 * SECOND), Found::Missing);
        cache.insert(
            &question,
            &Answer {
                data: records(),
                ttl: Some(60),
            },
            SECOND,
        );
        assert_eq!(cache.get(&question, 2 * SECOND), fresh(records()));
    }

    #[test]
    fn a_new_truth_takes_the_place_of_the_old_one() {
        let mut cache = Cache::new(LIMITS);
        let question = ask("a.example");
        cache.insert(
            &question,
            &Answer {
                data: records(),
                ttl: Some(60),
            },
            0,
        );
        cache.insert(
            &question,
            &Answer {
                data: Data::NoSuchDomain,
                ttl: Some(60),
            },
            0,
        );
        assert_eq!(cache.get(&question, 0), fresh(Data::NoSuchDomain));
        cache.insert(
            &question,
            &Answer {
                data: Data::Empty,
                ttl: None,
            },
            0,
        );
        assert_eq!(cache.get(&question, 0), Found::Missing);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn the_used_stay_longer() {
        let mut cache = Cache::new(LIMITS);
        for name in ["a", "b", "c", "d"] {
            cache.insert(
                &ask(name),
                &Answer {
                    data: records(),
                    ttl: Some(60),
                },
                0,
            );
        }
        cache.get(&ask("a"), 0);
        cache.insert(
            &ask("e"),
            &Answer {
                data: records(),
                ttl: Some(60),
            },
            0,
        );
        assert_eq!(cache.get(&ask("a"), 0), fresh(records()));
        assert_eq!(cache.get(&ask("b"), 0), Found::Missing);
        assert_eq!(cache.len(), 4);
    }

    #[test]
    fn one_answer_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::new(LIMITS);
        let text = Data::Texts([vec![b'x'; LIMITS.bytes_max].into()].into());
        cache.insert(
            &ask("a"),
            &Answer {
                data: text,
                ttl: Some(60),
            },
            0,
        );
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn never_over_its_limits(steps in prop::collection::vec((0u8..12, 0u8..5, 0u32..200), 0..200)) {
            let mut cache = Cache::new(LIMITS);
            let mut now = 0;
            for (name, step, ttl) in steps {
                let question = ask(&format!("n{name}.example"));
                let text = Data::Texts([vec![b'x'; usize::from(name) * 100].into()].into());
                match step {
                    0 => { cache.get(&question, now); }
                    1 => { cache.fail(&question, DnsError::Timeout, now); }
                    2 => cache.insert(&question, &Answer { data: text, ttl: Some(ttl) }, now),
                    3 => cache.insert(&question, &Answer { data: Data::Empty, ttl: None }, now),
                    _ => now += u64::from(ttl) * SECOND,
                }
                prop_assert!(cache.len() <= LIMITS.entries_max);
                prop_assert!(cache.bytes() <= LIMITS.bytes_max);
                prop_assert_eq!(cache.len(), cache.queue.len());
                prop_assert_eq!(cache.bytes(), cache.entries.values().map(|each| each.len).sum::<usize>());
            }
        }
    }
}
