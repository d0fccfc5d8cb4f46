//! Other people's DNS programs: our resolver asks NSD and Knot, Knot's `kdig` asks our answerer.
//! A program that is not installed is named, and its test does nothing.

use mailrail_runtime::dns::server::{Record, Zone, serve};
use mailrail_runtime::dns::{DnsError, Exchanger, Mx, Name, Options, Resolver};
use mailrail_runtime::{clock, shard, timer};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    shard::run_one(test()).unwrap();
}

/// How long a program gets to start, or to end.
const PROGRAM_WAIT: u64 = 20_000_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A process that ends with the test, by its own id.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, or says that it is not there.
fn start(program: &str, arguments: &[&str], log: &Path) -> Option<Running> {
    let log = std::fs::File::create(log).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    match child {
        Ok(child) => Some(Running(child)),
        Err(error) => {
            eprintln!("SKIPPED: {program} cannot be started: {error}");
            None
        }
    }
}

/// A port that is free for UDP and TCP just now.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn zone_file(dir: &Path) {
    let mut zone = String::from(
        "$ORIGIN example.\n\
         $TTL 300\n\
         @ SOA ns hostmaster 1 3600 600 86400 60\n\
         @ NS ns\n\
         ns A 127.0.0.1\n\
         a MX 20 MX2.a\n\
         a MX 10 mx1.a\n\
         mx1.a A 192.0.2.1\n\
         mx1.a AAAA 2001:db8::1\n\
         mx2.a A 192.0.2.2\n\
         null MX 0 .\n\
         plain A 192.0.2.3\n\
         alias CNAME a\n\
         away CNAME a.other.test.\n\
         ring1 CNAME ring2\n\
         ring2 CNAME ring1\n\
         sub NS ns.sub\n\
         ns.sub A 127.0.0.1\n",
    );
    for n in 0..60 {
        writeln!(zone, "big TXT \"{n:0100}\"").unwrap();
    }
    std::fs::write(dir.join("example.zone"), zone).unwrap();
}

async fn wait_until_it_answers(address: SocketAddr, log: &Path) {
    let deadline = clock::after(PROGRAM_WAIT);
    loop {
        // A new resolver each time: the last failure is remembered.
        if resolver(address).mx("null.example").await == Ok(Mx::Null) {
            return;
        }
        let log = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(
            clock::micros() < deadline,
            "the server never answered:\n{}",
            log()
        );
        timer::sleep(20_000).await;
    }
}

fn resolver(address: SocketAddr) -> Resolver {
    Resolver::new(Options {
        timeout: Duration::from_secs(5),
        ..Options::with_servers(vec![address])
    })
}

/// Everything that our resolver should learn from the zone of `zone_file`.
fn ask_it(program: &str, arguments: &[&str], dir: &Path, port: u16) {
    let log = dir.join("log");
    let Some(running) = start(program, arguments, &log) else {
        return;
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    run(move || learn_it_all(address, log.clone()));
    drop(running);
}

async fn learn_it_all(address: SocketAddr, log: PathBuf) {
    wait_until_it_answers(address, &log).await;
    let dns = resolver(address);
    let exchanger = |preference, host| Exchanger {
        preference,
        host: name(host),
    };
    let hosts = Ok(Mx::Hosts(
        [
            exchanger(10, "mx1.a.example"),
            exchanger(20, "mx2.a.example"),
        ]
        .into(),
    ));
    assert_eq!(dns.mx("a.example").await, hosts);
    assert_eq!(dns.mx("alias.example").await, hosts);
    assert_eq!(dns.mx("plain.example").await, Ok(Mx::Implicit));
    assert_eq!(dns.mx("gone.example").await, Ok(Mx::NoSuchDomain));
    assert_eq!(dns.mx("ring1.example").await, Err(DnsError::AliasLoop));
    assert_eq!(dns.mx("x.sub.example").await, Err(DnsError::Referral));
    assert_eq!(
        dns.mx("a.other.test").await,
        Err(DnsError::ServerFailure(5))
    );
    assert_eq!(
        dns.mx("away.example").await,
        Err(DnsError::ServerFailure(5))
    );
    let both: [IpAddr; 2] = [[192, 0, 2, 1].into(), "2001:db8::1".parse().unwrap()];
    let only: [IpAddr; 1] = [[192, 0, 2, 2].into()];
    assert_eq!(*dns.addresses("mx1.a.example").await.unwrap(), both);
    assert_eq!(*dns.addresses("mx2.a.example").await.unwrap(), only);
    assert!(dns.addresses("a.example").await.unwrap().is_empty());
    assert_eq!(dns.counts().streams, 0);
    assert_eq!(dns.texts("big.example").await.unwrap().len(), 60);
    assert_eq!(dns.counts().streams, 1, "6 kB come by TCP");
}

#[test]
fn nsd_answers_our_resolver() {
    let dir = TempDir::new().unwrap();
    zone_file(dir.path());
    let (port, path) = (free_port(), dir.path().display());
    let conf = format!(
        "server:\n\
         \x20 ip-address: 127.0.0.1@{port}\n\
         \x20 username: \"\"\n\
         \x20 chroot: \"\"\n\
         \x20 zonesdir: \"{path}\"\n\
         \x20 database: \"\"\n\
         \x20 pidfile: \"{path}/pid\"\n\
         \x20 xfrdfile: \"{path}/xfrd\"\n\
         \x20 xfrdir: \"{path}\"\n\
         \x20 zonelistfile: \"{path}/zones\"\n\
         remote-control:\n\
         \x20 control-enable: no\n\
         zone:\n\
         \x20 name: example\n\
         \x20 zonefile: example.zone\n"
    );
    let file = dir.path().join("nsd.conf");
    std::fs::write(&file, conf).unwrap();
    ask_it(
        "nsd",
        &["-d", "-c", file.to_str().unwrap()],
        dir.path(),
        port,
    );
}

#[test]
fn knot_answers_our_resolver() {
    let dir = TempDir::new().unwrap();
    zone_file(dir.path());
    let (port, path) = (free_port(), dir.path().display());
    let conf = format!(
        "server:\n\
         \x20 rundir: \"{path}\"\n\
         \x20 listen: 127.0.0.1@{port}\n\
         \x20 udp-workers: 1\n\
         \x20 tcp-workers: 1\n\
         \x20 background-workers: 1\n\
         log:\n\
         \x20 - target: stderr\n\
         \x20   any: info\n\
         database:\n\
         \x20 storage: \"{path}\"\n\
         zone:\n\
         \x20 - domain: example\n\
         \x20   storage: \"{path}\"\n\
         \x20   file: example.zone\n"
    );
    let file = dir.path().join("knot.conf");
    std::fs::write(&file, conf).unwrap();
    ask_it("knotd", &["-c", file.to_str().unwrap()], dir.path(), port);
}

#[test]
fn kdig_asks_our_answerer() {
    run(ask_our_answerer);
}

async fn ask_our_answerer() {
    let mut zone = Zone::new();
    zone.add("a.example", 300, Record::Mx(10, name("mx1.a.example")))
        .add("mx1.a.example", 300, Record::A([192, 0, 2, 1].into()))
        .add(
            "mx1.a.example",
            300,
            Record::Aaaa("2001:db8::1".parse().unwrap()),
        )
        .add("null.example", 300, Record::Mx(0, Name::root()))
        .add("www.example", 300, Record::Cname(name("mx1.a.example")))
        .add("t.example", 300, Record::Txt(b"v=spf1 -all".to_vec()));
    for n in 0..60 {
        zone.add(
            "big.example",
            300,
            Record::Txt(format!("{n:0100}").into_bytes()),
        );
    }
    let cases: &[(&[&str], &str)] = &[
        (&["a.example", "MX"], "10 mx1.a.example.\n"),
        (&["a.example", "MX", "+tcp"], "10 mx1.a.example.\n"),
        (&["a.example", "MX", "+edns"], "10 mx1.a.example.\n"),
        (&["null.example", "MX"], "0 .\n"),
        (&["www.example", "A"], "mx1.a.example.\n192.0.2.1\n"),
        (&["mx1.a.example", "AAAA"], "2001:db8::1\n"),
        (&["t.example", "TXT"], "\"v=spf1 -all\"\n"),
        (&["gone.example", "A"], ""),
        (&["a.example", "A"], ""),
    ];
    let server = serve(zone, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    for (arguments, want) in cases {
        let Some(said) = kdig(server.address(), arguments, "+short").await else {
            return;
        };
        assert_eq!(said, *want, "{arguments:?}");
    }
    let details: &[(&[&str], &[&str])] = &[
        (
            &["gone.example", "A"],
            &["NXDOMAIN", "Flags: qr aa rd;", "IN\tSOA"],
        ),
        (
            &["a.example", "A"],
            &["NOERROR", "ANSWER: 0; AUTHORITY: 1;"],
        ),
        (
            &["big.example", "TXT", "+ignore"],
            &["Flags: qr aa tc rd;", "ANSWER: 0;"],
        ),
        (&["big.example", "TXT"], &["ANSWER: 60;", "(TCP)"]),
        (&["a.example", "MX", "+edns"], &["EDNS PSEUDO", "NOERROR"]),
        (&["a.example", "MX", "CH"], &["REFUSED"]),
        (&["a.example", "MX", "+edns=1"], &["BADVERS"]),
    ];
    for (arguments, wants) in details {
        let Some(said) = kdig(server.address(), arguments, "+stats").await else {
            return;
        };
        for want in *wants {
            assert!(said.contains(want), "{arguments:?}: no {want:?} in\n{said}");
        }
    }
}

/// What `kdig` prints; the shard goes on while it runs.
async fn kdig(server: SocketAddr, arguments: &[&str], display: &str) -> Option<String> {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("out");
    let port = server.port().to_string();
    let all = [
        &["@127.0.0.1", "-p", &port, "+timeout=5", display],
        arguments,
    ]
    .concat();
    let mut running = start("kdig", &all, &log)?;
    let deadline = clock::after(PROGRAM_WAIT);
    while running.0.try_wait().unwrap().is_none() {
        assert!(
            clock::micros() < deadline,
            "kdig does not end: {arguments:?}"
        );
        timer::sleep(1_000).await;
    }
    Some(std::fs::read_to_string(log).unwrap())
}
