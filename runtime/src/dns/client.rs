//! The resolver's glue: sockets, tries in turn, one query for many who wait.
//!
//! It awaits and it carries; what a message means, what to remember and whom to ask is decided by
//! `query`, `cache` and `servers`.

use super::cache::{Cache, Found};
use super::query::{self, Answer, Data, Fault, Kind, Question, Reading, Transport};
use super::servers::Servers;
use super::{Counts, DnsError, Mx, Name, Options, frame, mx};
use crate::net::datagram::Datagram;
use crate::net::stream::Stream;
use crate::shard::{self, Lane};
use crate::signal::Notify;
use crate::{clock, timer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// Datagrams that are no answer to our question, in one try; after them somebody is guessing ids, and
/// the question goes over TCP, where guessing is of no use.
const FOREIGN_COUNT_MAX: usize = 16;

/// One shard's resolver: behind the `Rc` of each [`super::Resolver`], and of each query in flight.
pub(super) struct Client {
    options: Options,
    cache: RefCell<Cache>,
    servers: RefCell<Servers>,
    flights: RefCell<BTreeMap<Question, Rc<Flight>>>,
    counts: Cell<Counts>,
}

/// A query on its way, and those who wait for it. It ends by its own deadline, whoever has left.
struct Flight {
    outcome: RefCell<Option<Result<Data, DnsError>>>,
    landed: Notify,
}

impl Client {
    pub(super) fn new(options: Options) -> Self {
        Self {
            cache: RefCell::new(Cache::new(options.cache)),
            servers: RefCell::new(Servers::new(&options.servers)),
            flights: RefCell::default(),
            counts: Cell::default(),
            options,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    pub(super) async fn mx(self: &Rc<Self>, domain: &str) -> Result<Mx, DnsError> {
        let name = Name::parse(domain).ok_or(DnsError::BadName)?;
        mx::decide(&self.resolve(name, Kind::Mx, self.deadline()).await?)
    }

    pub(super) async fn addresses(self: &Rc<Self>, host: &str) -> Result<Rc<[IpAddr]>, DnsError> {
        let name = Name::parse(host).ok_or(DnsError::BadName)?;
        let deadline = self.deadline();
        let (v4, v6) = futures_lite::future::zip(
            self.resolve(name.clone(), Kind::A, deadline),
            self.resolve(name, Kind::Aaaa, deadline),
        )
        .await;
        query::unite(v4, v6)
    }

    pub(super) async fn texts(self: &Rc<Self>, name: &str) -> Result<Rc<[Box<[u8]>]>, DnsError> {
        let name = Name::parse(name).ok_or(DnsError::BadName)?;
        match self.resolve(name, Kind::Txt, self.deadline()).await? {
            Data::Texts(texts) => Ok(texts),
            _ => Ok(Rc::default()),
        }
    }

    pub(super) async fn names(self: &Rc<Self>, address: IpAddr) -> Result<Rc<[Name]>, DnsError> {
        let name = Name::reverse(address);
        match self.resolve(name, Kind::Ptr, self.deadline()).await? {
            Data::Names(names) => Ok(names),
            _ => Ok(Rc::default()),
        }
    }

    fn deadline(&self) -> u64 {
        clock::after(micros(self.options.timeout_total))
    }

    /// Asks, and follows aliases by asking again.
    async fn resolve(
        self: &Rc<Self>,
        name: Name,
        kind: Kind,
        deadline: u64,
    ) -> Result<Data, DnsError> {
        let mut question = Question { name, kind };
        let all = async {
            for _ in 0..=query::ALIAS_COUNT_MAX {
                match self.look_up(&question).await? {
                    //= RFC 5321 section 5.1: a name found by CNAME is processed as if it were the
                    // first one
                    Data::Alias(target) => question.name = target,
                    data => return Ok(data),
                }
            }
            Err(DnsError::AliasLoop)
        };
        timer::until(deadline, all)
            .await
            .unwrap_or(Err(DnsError::Timeout))
    }

    /// Asks the cache, then the servers.
    async fn look_up(self: &Rc<Self>, question: &Question) -> Result<Data, DnsError> {
        self.count(|counts| counts.questions += 1);
        let found = self.cache.borrow_mut().get(question, clock::micros());
        match found {
            Found::Fresh(data) => {
                self.count(|counts| counts.hits += 1);
                Ok(data)
            }
            Found::Failed(error) => Err(error),
            Found::Stale {
                data,
                refresh: false,
            } => {
                self.count(|counts| counts.stale += 1);
                Ok(data)
            }
            Found::Stale {
                data,
                refresh: true,
            } => {
                let refresh = async { self.join(question)?.outcome().await };
                match timer::until(clock::after(micros(self.options.stale_wait)), refresh).await {
                    Ok(Ok(data)) => Ok(data),
                    Ok(Err(_)) | Err(timer::Elapsed) => {
                        self.count(|counts| counts.stale += 1);
                        Ok(data)
                    }
                }
            }
            Found::Missing => self.join(question)?.outcome().await,
        }
    }

    /// The query in flight for `question`; it starts one when there is none.
    fn join(self: &Rc<Self>, question: &Question) -> Result<Rc<Flight>, DnsError> {
        if let Some(flight) = self.flights.borrow().get(question) {
            return Ok(flight.clone());
        }
        if self.flights.borrow().len() >= self.options.in_flight_max {
            return Err(DnsError::Busy);
        }
        let flight = Rc::new(Flight {
            outcome: RefCell::default(),
            landed: Notify::new(),
        });
        self.flights
            .borrow_mut()
            .insert(question.clone(), flight.clone());
        // A task of its own: who asked first may leave, and the others still wait.
        shard::spawn(
            Lane::Deliver,
            self.clone().fly(question.clone(), flight.clone()),
        )
        .detach();
        Ok(flight)
    }

    async fn fly(self: Rc<Self>, question: Question, flight: Rc<Flight>) {
        let answer = self.ask_servers(&question).await;
        let outcome = match answer {
            Ok(answer) => {
                self.cache
                    .borrow_mut()
                    .insert(&question, &answer, clock::micros());
                Ok(answer.data)
            }
            Err(error) => {
                self.count(|counts| counts.failures += 1);
                self.cache
                    .borrow_mut()
                    .fail(&question, error, clock::micros())
                    .ok_or(error)
            }
        };
        self.flights.borrow_mut().remove(&question);
        *flight.outcome.borrow_mut() = Some(outcome);
        flight.landed.notify_all();
    }

    /// Asks the servers in turn, so many times round, until one gives a definite answer.
    async fn ask_servers(&self, question: &Question) -> Result<Answer, DnsError> {
        let deadline = self.deadline();
        let order = self.servers.borrow().order(clock::micros());
        let mut failure = DnsError::Timeout;
        for _ in 0..self.options.attempts {
            for &index in &order {
                let now = clock::micros();
                if now >= deadline {
                    return Err(failure);
                }
                let try_deadline = deadline.min(now.saturating_add(micros(self.options.timeout)));
                let reading = self.ask(index, question, try_deadline).await;
                let mut servers = self.servers.borrow_mut();
                match reading {
                    Ok(Ok(answer)) => {
                        servers.helped(index);
                        return Ok(answer);
                    }
                    Ok(Err(fault)) => {
                        servers.answered(index);
                        failure = fault.into();
                    }
                    Err(_) => servers.was_silent(index, clock::micros()),
                }
            }
        }
        Err(failure)
    }

    /// One try at one server, once more without EDNS when it stumbles over that.
    async fn ask(
        &self,
        index: usize,
        question: &Question,
        deadline: u64,
    ) -> io::Result<Result<Answer, Fault>> {
        let (address, edns) = {
            let servers = self.servers.borrow();
            (servers.address(index), !servers.is_plain(index))
        };
        match self.exchange(address, question, edns, deadline).await? {
            Err(fault) if edns && fault.blames_edns() => {
                let plain = self.exchange(address, question, false, deadline).await?;
                if plain.is_ok() {
                    self.servers.borrow_mut().wants_plain(index);
                }
                Ok(plain)
            }
            result => Ok(result),
        }
    }

    async fn exchange(
        &self,
        address: SocketAddr,
        question: &Question,
        edns: bool,
        deadline: u64,
    ) -> io::Result<Result<Answer, Fault>> {
        self.count(|counts| counts.datagrams += 1);
        let id = random_id();
        let query = query::encode(question, id, edns);
        let reading = match over_udp(address, &query, id, question, deadline).await? {
            //= RFC 7766 section 5: a truncated answer is asked for again over TCP
            Reading::Truncated => {
                self.count(|counts| counts.streams += 1);
                over_tcp(address, &query, id, question, deadline).await?
            }
            reading => reading,
        };
        Ok(match reading {
            Reading::Answer(answer) => Ok(answer),
            Reading::Fault(fault) => Err(fault),
            Reading::Truncated | Reading::Foreign => Err(Fault::Malformed),
        })
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

impl Flight {
    async fn outcome(&self) -> Result<Data, DnsError> {
        loop {
            if let Some(outcome) = &*self.outcome.borrow() {
                return outcome.clone();
            }
            self.landed.notified().await;
        }
    }
}

async fn over_udp(
    address: SocketAddr,
    query: &[u8],
    id: u16,
    question: &Question,
    deadline: u64,
) -> io::Result<Reading> {
    //= RFC 5452 section 9.2: a fresh unpredictable port and id for each query
    let socket = Datagram::connect(address)?;
    socket.send(query).await?;
    // One octet more than was asked for, to see that it was exceeded.
    let mut buffer = [0; query::PAYLOAD_LEN_MAX + 1];
    for _ in 0..FOREIGN_COUNT_MAX {
        let len = socket.receive(&mut buffer, deadline).await?;
        match query::read(&buffer[..len], Transport::Udp, id, question) {
            Reading::Foreign => {}
            reading => return Ok(reading),
        }
    }
    Ok(Reading::Truncated)
}

async fn over_tcp(
    address: SocketAddr,
    query: &[u8],
    id: u16,
    question: &Question,
    deadline: u64,
) -> io::Result<Reading> {
    let mut stream = Stream::connect(address, None, deadline).await?;
    frame::send(&mut stream, query, deadline).await?;
    let message = frame::receive(&mut stream, query::MESSAGE_LEN_MAX, deadline).await;
    match message {
        Ok(Some(message)) => Ok(query::read(&message, Transport::Tcp, id, question)),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Reading::Fault(Fault::Malformed))
        }
        Err(error) => Err(error),
    }
}

fn random_id() -> u16 {
    let mut bytes = [0; 2];
    crate::random::fill(&mut bytes);
    u16::from_ne_bytes(bytes)
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
