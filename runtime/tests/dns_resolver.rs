//! The resolver against the answerer, and against worse: real sockets on loopback, one shard a test.
//! No test waits for a clock: what is to be late is made late by settings, and nothing is timed.

use futures_lite::future::{or, poll_once, yield_now};
use mailrail_runtime::dns::query::Transport;
use mailrail_runtime::dns::server::{self, Fault, Record, Server, Zone, serve};
use mailrail_runtime::dns::{DnsError, Mx, Name, Options, Resolver};
use mailrail_runtime::net::datagram::Bound;
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::{clock, shard};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::time::Duration;

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn mx(preference: u16, host: &str) -> Record {
    Record::Mx(preference, name(host))
}

fn a(last: u8) -> Record {
    Record::A([192, 0, 2, last].into())
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// A long timeout, so that a test which needs it hangs rather than passes by luck.
fn options(servers: &[SocketAddr]) -> Options {
    Options {
        timeout: Duration::from_secs(60),
        timeout_total: Duration::from_secs(120),
        ..Options::with_servers(servers.to_vec())
    }
}

/// As `options`, for tests in which a server stays silent; long enough for one that answers, on a busy
/// machine too. What is stale is no answer before that.
fn hasty(servers: &[SocketAddr]) -> Options {
    Options {
        timeout: Duration::from_secs(3),
        stale_wait: Duration::from_secs(60),
        attempts: 1,
        ..options(servers)
    }
}

/// Answers are stale at once.
fn forgetful(options: Options) -> Options {
    let mut options = options;
    options.cache.life_min = 0;
    options.cache.life_max = 0;
    options.cache.recheck = 0;
    options.cache.failure_life = 0;
    options
}

fn zone() -> Zone {
    let mut zone = Zone::new();
    zone.add("a.example", 300, mx(20, "MX2.a.example"))
        .add("a.example", 300, mx(10, "mx1.a.example"))
        .add("mx1.a.example", 300, a(1))
        .add(
            "mx1.a.example",
            300,
            Record::Aaaa("2001:db8::1".parse().unwrap()),
        )
        .add("mx2.a.example", 300, a(2))
        .add("null.example", 300, Record::Mx(0, Name::root()))
        .add("plain.example", 300, a(3))
        .add("www.a.example", 300, Record::Cname(name("mx1.a.example")))
        .add("alias.example", 300, Record::Cname(name("a.example")))
        .add("ring1.example", 300, Record::Cname(name("ring2.example")))
        .add("ring2.example", 300, Record::Cname(name("ring1.example")))
        .add("text.example", 300, Record::Txt(vec![b'x'; 600]))
        .add(
            "1.2.0.192.in-addr.arpa",
            300,
            Record::Ptr(name("mx1.a.example")),
        );
    zone
}

fn hosts(list: &[(u16, &str)]) -> Result<Mx, DnsError> {
    let exchanger = |&(preference, host): &(u16, &str)| mailrail_runtime::dns::Exchanger {
        preference,
        host: name(host),
    };
    Ok(Mx::Hosts(list.iter().map(exchanger).collect()))
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    shard::run_one(test()).unwrap();
}

fn one(zone: Zone, options: impl FnOnce(&[SocketAddr]) -> Options) -> (Server, Resolver) {
    let server = serve(zone, loopback()).unwrap();
    let resolver = Resolver::new(options(&[server.address()]));
    (server, resolver)
}

#[test]
fn who_takes_mail() {
    run(|| async {
        let (_server, dns) = one(zone(), options);
        let both = || hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(dns.mx("a.example").await, both());
        assert_eq!(dns.mx("A.Example.").await, both());
        assert_eq!(dns.mx("alias.example").await, both());
        assert_eq!(dns.mx("null.example").await, Ok(Mx::Null));
        assert_eq!(dns.mx("plain.example").await, Ok(Mx::Implicit));
        assert_eq!(
            dns.mx("example").await,
            Ok(Mx::Implicit),
            "exists since names below it do"
        );
        assert_eq!(dns.mx("gone.example").await, Ok(Mx::NoSuchDomain));
        assert_eq!(dns.mx("a..example").await, Err(DnsError::BadName));
        assert_eq!(dns.mx("ring1.example").await, Err(DnsError::AliasLoop));
    });
}

#[test]
fn addresses_texts_and_names() {
    run(|| async {
        let (_server, dns) = one(zone(), options);
        let mx1 = [address(1), "2001:db8::1".parse().unwrap()];
        assert_eq!(*dns.addresses("mx1.a.example").await.unwrap(), mx1);
        assert_eq!(*dns.addresses("www.a.example").await.unwrap(), mx1);
        assert_eq!(*dns.addresses("mx2.a.example").await.unwrap(), [address(2)]);
        assert!(dns.addresses("a.example").await.unwrap().is_empty());
        assert!(dns.addresses("gone.example").await.unwrap().is_empty());
        assert_eq!(
            *dns.texts("text.example").await.unwrap(),
            [vec![b'x'; 600].into()]
        );
        assert!(dns.texts("a.example").await.unwrap().is_empty());
        assert_eq!(
            *dns.names(address(1)).await.unwrap(),
            [name("mx1.a.example")]
        );
        assert!(dns.names(address(9)).await.unwrap().is_empty());
    });
}

#[test]
fn aliases_followed_by_new_queries() {
    run(|| async {
        let mut zone = zone();
        zone.follow_aliases(false);
        let (server, dns) = one(zone, options);
        let both = hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(dns.mx("alias.example").await, both);
        assert_eq!(server.query_count(), 2);
        assert_eq!(dns.mx("ring1.example").await, Err(DnsError::AliasLoop));
        assert_eq!(
            server.query_count(),
            4,
            "the second time round comes from the cache"
        );
    });
}

#[test]
fn answers_are_remembered_the_negative_ones_too() {
    run(|| async {
        let (server, dns) = one(zone(), options);
        for domain in ["a.example", "plain.example", "gone.example"] {
            let first = dns.mx(domain).await;
            let count = server.query_count();
            assert_eq!(dns.mx(domain).await, first);
            assert_eq!(server.query_count(), count, "{domain}");
        }
        let mut without_soa = zone();
        without_soa.negative_ttl(0);
        server.replace(without_soa);
        let count = server.query_count();
        for n in 1..=2 {
            assert_eq!(dns.mx("gone2.example").await, Ok(Mx::NoSuchDomain));
            assert_eq!(server.query_count(), count + n, "no SOA, so not remembered");
        }
    });
}

#[test]
fn a_failure_is_no_absence_and_is_not_asked_for_again_at_once() {
    run(|| async {
        let mut bad = zone();
        bad.fault("a.example", Fault::Code(2))
            .fault("refused.example", Fault::Code(5));
        let (server, dns) = one(bad, options);
        assert_eq!(dns.mx("a.example").await, Err(DnsError::ServerFailure(2)));
        let count = server.query_count();
        assert_eq!(count, 2, "two rounds over one server");
        assert_eq!(dns.mx("a.example").await, Err(DnsError::ServerFailure(2)));
        assert_eq!(server.query_count(), count);
        assert_eq!(
            dns.mx("refused.example").await,
            Err(DnsError::ServerFailure(5))
        );
    });
}

#[test]
fn truncated_answers_come_by_tcp() {
    run(|| async {
        let mut zone = zone();
        zone.fault("a.example", Fault::Truncate);
        for n in 0..100 {
            zone.add(
                "big.example",
                300,
                Record::Txt(format!("{n:0100}").into_bytes()),
            );
        }
        let (_server, dns) = one(zone, options);
        let both = hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(dns.mx("a.example").await, both);
        assert_eq!((dns.counts().datagrams, dns.counts().streams), (1, 1));
        assert!(dns.texts("big.example").await.unwrap().len() > 60);
        assert_eq!((dns.counts().datagrams, dns.counts().streams), (2, 2));
    });
}

#[test]
fn the_next_server_when_one_is_silent_and_the_good_one_first_then() {
    run(|| async {
        let mut mute = zone();
        mute.fault("a.example", Fault::Silent);
        let mute = serve(mute, loopback()).unwrap();
        let good = serve(zone(), loopback()).unwrap();
        let dns = Resolver::new(hasty(&[mute.address(), good.address()]));
        assert!(matches!(dns.mx("a.example").await, Ok(Mx::Hosts(_))));
        assert_eq!((mute.query_count(), good.query_count()), (1, 1));
        assert_eq!(dns.mx("plain.example").await, Ok(Mx::Implicit));
        assert_eq!((mute.query_count(), good.query_count()), (1, 2));
    });
}

#[test]
fn the_next_server_when_one_cannot() {
    run(|| async {
        let mut bad = zone();
        bad.fault("a.example", Fault::Code(2));
        let bad = serve(bad, loopback()).unwrap();
        let good = serve(zone(), loopback()).unwrap();
        let dns = Resolver::new(options(&[bad.address(), good.address()]));
        assert!(matches!(dns.mx("a.example").await, Ok(Mx::Hosts(_))));
        assert_eq!((bad.query_count(), good.query_count()), (1, 1));
    });
}

#[test]
fn nobody_there() {
    run(|| async {
        // It has a port of its own, and listens to somebody else only: everybody else is told that nobody is there.
        let taken = UdpSocket::bind(loopback()).unwrap();
        taken.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
        let gone = taken.local_addr().unwrap();
        let dns = Resolver::new(options(&[gone, gone]));
        assert_eq!(dns.mx("a.example").await, Err(DnsError::Timeout));
        assert_eq!(dns.addresses("a.example").await, Err(DnsError::Timeout));
        assert_eq!(
            dns.counts().datagrams,
            12,
            "three questions, two servers, two rounds"
        );
        assert_eq!(
            Resolver::new(options(&[])).mx("a.example").await,
            Err(DnsError::Timeout)
        );
    });
}

#[test]
fn the_whole_lookup_has_an_end() {
    run(|| async {
        let mut mute = zone();
        mute.fault("a.example", Fault::Silent);
        let (_server, dns) = one(mute, |servers| Options {
            timeout_total: Duration::from_millis(20),
            ..options(servers)
        });
        assert_eq!(dns.mx("a.example").await, Err(DnsError::Timeout));
    });
}

#[test]
fn one_query_for_many_who_wait_even_if_the_first_leaves() {
    run(|| async {
        let mut slow = zone();
        slow.fault("a.example", Fault::Delay(Duration::from_millis(5)));
        let (server, dns) = one(slow, options);
        let mut first = Box::pin(dns.mx("a.example"));
        assert!(poll_once(&mut first).await.is_none());
        let others: Vec<_> = (0..200)
            .map(|_| {
                let dns = dns.clone();
                shard::spawn(
                    shard::Lane::Deliver,
                    async move { dns.mx("a.example").await },
                )
            })
            .collect();
        while server.query_count() == 0 {
            yield_now().await;
        }
        drop(first);
        for other in others {
            assert!(matches!(other.await, Ok(Mx::Hosts(_))));
        }
        assert_eq!(server.query_count(), 1);
    });
}

#[test]
fn questions_in_flight_are_bounded() {
    run(|| async {
        let mut mute = zone();
        mute.fault("a.example", Fault::Silent)
            .fault("b.example", Fault::Silent);
        let (_server, dns) = one(mute, |servers| Options {
            in_flight_max: 1,
            ..hasty(servers)
        });
        let mut first = pin!(dns.mx("a.example"));
        assert!(poll_once(&mut first).await.is_none());
        assert_eq!(dns.mx("b.example").await, Err(DnsError::Busy));
        assert_eq!(first.await, Err(DnsError::Timeout));
        assert_eq!(
            dns.mx("b.example").await,
            Err(DnsError::Timeout),
            "there is room again"
        );
    });
}

#[test]
fn stale_answers_when_no_server_can() {
    run(|| async {
        let (server, dns) = one(zone(), |servers| forgetful(hasty(servers)));
        let both = || hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(dns.mx("a.example").await, both());
        for fault in [
            Fault::Code(2),
            Fault::Silent,
            Fault::Garbage(vec![0x80; 30]),
        ] {
            let mut bad = zone();
            bad.fault("a.example", fault.clone());
            server.replace(bad);
            let count = server.query_count();
            assert_eq!(dns.mx("a.example").await, both(), "{fault:?}");
            assert_eq!(server.query_count(), count + 1, "it was asked");
        }
        //= RFC 8767 section 4: NXDOMAIN is an answer: it takes the place of old data
        server.replace(Zone::new());
        assert_eq!(dns.mx("a.example").await, Ok(Mx::NoSuchDomain));
    });
}

#[test]
fn stale_answers_when_servers_are_slow_while_one_refresh_runs() {
    run(|| async {
        let (server, dns) = one(zone(), |servers| Options {
            stale_wait: Duration::from_millis(5),
            ..forgetful(options(servers))
        });
        let both = || hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(dns.mx("a.example").await, both());
        let mut mute = zone();
        mute.fault("a.example", Fault::Silent);
        server.replace(mute);
        for _ in 0..3 {
            assert_eq!(dns.mx("a.example").await, both());
        }
        while server.query_count() < 2 {
            yield_now().await;
        }
        assert_eq!(server.query_count(), 2, "one refresh for all three");
        assert_eq!(dns.counts().stale, 3);
    });
}

#[test]
fn after_a_failure_stale_answers_come_without_asking() {
    run(|| async {
        let (server, dns) = one(zone(), |servers| {
            let mut options = forgetful(hasty(servers));
            options.cache.recheck = u64::MAX / 2;
            options
        });
        let first = dns.mx("a.example").await;
        let mut bad = zone();
        bad.fault("a.example", Fault::Code(2));
        server.replace(bad);
        for _ in 0..5 {
            assert_eq!(dns.mx("a.example").await, first);
        }
        assert_eq!(server.query_count(), 2);
    });
}

#[test]
fn garbage_is_an_error() {
    run(|| async {
        let mut bad = zone();
        let head = b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00";
        let question = b"\x01a\x07example\x00\x00\x0f\x00\x01";
        bad.fault(
            "a.example",
            Fault::Garbage([&head[..], question, &[0xff; 40]].concat()),
        );
        let (_server, dns) = one(bad, options);
        assert_eq!(dns.mx("a.example").await, Err(DnsError::Malformed));
    });
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    run(|| async {
        let mut old = zone();
        old.fault("a.example", Fault::NoEdns)
            .fault("plain.example", Fault::NoEdns);
        let (server, dns) = one(old, options);
        assert!(matches!(dns.mx("a.example").await, Ok(Mx::Hosts(_))));
        assert_eq!(server.query_count(), 2);
        assert_eq!(dns.mx("plain.example").await, Ok(Mx::Implicit));
        assert_eq!(server.query_count(), 3, "and it is remembered");
    });
}

/// A server of our own making: UDP and TCP on one port, what it says is up to the test.
fn fake() -> (Bound, Listener, SocketAddr) {
    loop {
        let bound = Bound::bind(loopback()).unwrap();
        let address = bound.local().unwrap();
        if let Ok(listener) = Listener::bind(address) {
            return (bound, listener, address);
        }
    }
}

#[test]
fn forged_answers_do_not_count() {
    run(|| async {
        let (bound, _listener, address) = fake();
        let dns = Resolver::new(options(&[address]));
        let serving = async {
            let mut buffer = [0; 1500];
            let (len, from) = bound.receive(&mut buffer).await.unwrap();
            let query = &buffer[..len];
            let mut poisoned = Zone::new();
            poisoned.add("a.example", 300, mx(10, "evil.example"));
            let forged = server::answer(&poisoned, query, Transport::Udp)
                .unwrap()
                .bytes;
            for n in 1..=10 {
                let mut forged = forged.clone();
                forged[0] ^= n;
                bound.try_send(&forged, from).unwrap();
            }
            bound.try_send(b"", from).unwrap();
            let right = server::answer(&zone(), query, Transport::Udp)
                .unwrap()
                .bytes;
            bound.try_send(&right, from).unwrap();
            std::future::pending().await
        };
        let both = hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(or(serving, dns.mx("a.example")).await, both);
    });
}

#[test]
fn a_flood_of_forged_answers_moves_the_question_to_tcp() {
    run(|| async {
        let (bound, listener, address) = fake();
        let dns = Resolver::new(options(&[address]));
        let serving = async {
            let mut buffer = [0; 1500];
            let (_, from) = bound.receive(&mut buffer).await.unwrap();
            for _ in 0..40 {
                bound.try_send(&[0; 30], from).unwrap();
            }
            let mut stream = listener.accept().await.unwrap();
            let len = stream.read(&mut buffer, clock::NEVER).await.unwrap();
            let right = server::answer(&zone(), &buffer[2..len], Transport::Tcp)
                .unwrap()
                .bytes;
            let head = (right.len() as u16).to_be_bytes();
            // Octet by octet, as a stream may come.
            for byte in head.iter().chain(&right) {
                stream.write_all(&[*byte], clock::NEVER).await.unwrap();
                yield_now().await;
            }
            std::future::pending().await
        };
        let both = hosts(&[(10, "mx1.a.example"), (20, "mx2.a.example")]);
        assert_eq!(or(serving, dns.mx("a.example")).await, both);
    });
}

/// What a resolver makes of a server that truncates and then says `bytes` over TCP.
fn over_tcp(bytes: &'static [u8], want: DnsError) {
    run(move || async move {
        let (bound, listener, address) = fake();
        let dns = Resolver::new(Options {
            attempts: 1,
            ..options(&[address])
        });
        let serving = async {
            let mut cut = zone();
            cut.fault("a.example", Fault::Truncate);
            let mut buffer = [0; 1500];
            let (len, from) = bound.receive(&mut buffer).await.unwrap();
            let answer = server::answer(&cut, &buffer[..len], Transport::Udp).unwrap();
            bound.try_send(&answer.bytes, from).unwrap();
            let mut stream = listener.accept().await.unwrap();
            let _ = stream.read(&mut buffer, clock::NEVER).await.unwrap();
            stream.write_all(bytes, clock::NEVER).await.unwrap();
            stream.shut_down().unwrap();
            std::future::pending().await
        };
        assert_eq!(
            or(serving, dns.mx("a.example")).await,
            Err(want),
            "{bytes:?}"
        );
    });
}

#[test]
fn streams_that_say_nothing_of_use() {
    over_tcp(b"", DnsError::Timeout);
    over_tcp(b"\x00", DnsError::Timeout);
    over_tcp(b"\x00\x20short", DnsError::Timeout);
    over_tcp(b"\x00\x00", DnsError::Malformed);
    over_tcp(b"\xff\xff", DnsError::Malformed);
    over_tcp(b"\x00\x0chello world!", DnsError::Malformed);
}
