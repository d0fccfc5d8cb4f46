//! TLS over loopback, on real executors. A deadline of 0 has always passed: whatever has to wait then
//! ends at once, so no test waits for a clock.

mod dialogue;

use dialogue::{answer_hello, wait_to_read};
use mailrail_runtime::clock::NEVER;
use mailrail_runtime::net::inbox::{Fill, Inbox};
use mailrail_runtime::net::listener::Listener;
use mailrail_runtime::net::listening::Stretch;
use mailrail_runtime::net::stream::Stream;
use mailrail_runtime::shard::{self, Lane, run_one};
use mailrail_runtime::timer;
use mailrail_runtime::tls::{Acceptor, Connector, Identity, Roots, TlsInfo};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PAST: u64 = 0;

/// A certificate for a name, in files.
struct Paper {
    _dir: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

fn paper(name: &str) -> Paper {
    let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("mx.crt"), dir.path().join("mx.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Paper {
        _dir: dir,
        certificate,
        key,
    }
}

fn acceptor(paper: &Paper) -> Acceptor {
    let identity = Identity::load(&paper.certificate, &paper.key).unwrap();
    Acceptor::new(&identity).unwrap()
}

async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local();
    let source = shard::spawn(Lane::Accept, Stream::connect(address, None, NEVER));
    let accepted = listener.accept().await.unwrap();
    (source.await.unwrap(), accepted)
}

/// Both ends shake hands: what came of it at the left, the client's, and at the right.
async fn shake_hands(
    (mut left, mut right): (Stream, Stream),
    connector: &Connector,
    acceptor: &Acceptor,
    name: &'static str,
) -> [(Stream, io::Result<TlsInfo>); 2] {
    let connector = connector.clone();
    let client = shard::spawn(Lane::Deliver, async move {
        let info = left.connect_tls(&connector, name, NEVER).await;
        (left, info)
    });
    let info = right.accept_tls(acceptor, NEVER).await;
    [client.await, (right, info)]
}

/// Two ends of one TLS connection.
async fn secure_pair() -> (Stream, Stream) {
    let acceptor = acceptor(&paper("mx.example"));
    let connector = Connector::opportunistic().unwrap();
    let [(left, info), (right, other)] =
        shake_hands(pair().await, &connector, &acceptor, "mx.example").await;
    assert_eq!(info.unwrap(), other.unwrap());
    (left, right)
}

#[test]
fn bytes_go_both_ways_and_the_ends_know_each_other() {
    run_one(async {
        let (mut left, mut right) = secure_pair().await;
        assert_eq!(left.peer(), right.local().unwrap());
        assert_eq!(left.local().unwrap(), right.peer());
        assert_eq!(left.try_read(&mut [0; 9]).unwrap(), None);
        left.write_all(b"hello", PAST).await.unwrap();
        answer_hello(&mut left, &mut right).await;
        // A short buffer got it from one record.
        assert_eq!(left.read(&mut [0; 16], NEVER).await.unwrap(), 0);
        left.write_all(b"still", PAST).await.unwrap();
        assert_eq!(right.read(&mut [0; 3], NEVER).await.unwrap(), 3);
        assert_eq!(right.try_read(&mut [0; 3]).unwrap(), Some(2));
        let read = right.read(&mut [0; 3], PAST).await;
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(left);
        assert_eq!(right.read(&mut [0; 3], NEVER).await.unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn who_waits_to_read_is_told_when_it_is_worth_a_try() {
    run_one(async {
        let (mut left, mut right) = secure_pair().await;
        wait_to_read(&mut left, &mut right).await;
    })
    .unwrap();
}

#[test]
fn much_arrives_in_order_while_the_other_end_is_slow() {
    run_one(async {
        let (mut left, mut right) = secure_pair().await;
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        let sent = content.clone();
        let writer = shard::spawn(Lane::Deliver, async move {
            let slices: Vec<&[u8]> = sent.chunks(50_001).collect();
            let (mut written, mut inbox) = (0, Inbox::new());
            loop {
                let writing = left.write_listening(&slices, &mut written, &mut inbox, NEVER);
                match writing.await.unwrap() {
                    Stretch::Heard => inbox.consume(inbox.unread().len()),
                    stretch => break assert_eq!(stretch, Stretch::Written),
                }
            }
            left.write_slices(&slices[..2], NEVER).await.unwrap();
            left
        });
        // It says something while it is being written to, and the writer hears it.
        right.write_all(b"early", NEVER).await.unwrap();
        let mut heard = Vec::new();
        let mut into = vec![0; 40_000];
        while heard.len() < content.len() + 100_002 {
            let count = right.read(&mut into, NEVER).await.unwrap();
            assert_ne!(count, 0);
            heard.extend_from_slice(&into[..count]);
        }
        assert!(heard[..content.len()] == content);
        assert!(heard[content.len()..] == content[..100_002]);
        drop(writer.await);
        assert_eq!(right.read(&mut into, NEVER).await.unwrap(), 0);
    })
    .unwrap();
}

/// Nothing that has not left is told as written: a peer that reads nothing is waited for.
#[test]
fn what_is_written_has_left() {
    run_one(async {
        let (mut left, right) = secure_pair().await;
        let bytes = vec![7; 64 * 1024];
        while left.write_all(&bytes, PAST).await.is_ok() {}
        let error = left.write_all(b"more", PAST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(right);
    })
    .unwrap();
}

#[test]
fn a_certificate_is_asked_for_its_name_and_its_root() {
    run_one(async {
        let (own, other) = (paper("mx.example"), paper("mx.example"));
        let acceptor = acceptor(&own);
        let trusting = Connector::verified(&Roots::load(&own.certificate).unwrap()).unwrap();
        let strange = Connector::verified(&Roots::load(&other.certificate).unwrap()).unwrap();
        let careless = Connector::opportunistic().unwrap();
        for (connector, name, is_good) in [
            (&trusting, "mx.example", true),
            (&trusting, "mx.example.", true),
            (&trusting, "mx.b.example", false),
            (&trusting, "no name at all", false),
            (&strange, "mx.example", false),
            (&careless, "mx.b.example", true),
            (&careless, "no name at all", true),
            (&careless, "192.0.2.1", true),
        ] {
            let [(_, client), (mut right, server)] =
                shake_hands(pair().await, connector, &acceptor, name).await;
            assert_eq!(client.is_ok(), is_good, "{name}: {client:?}");
            if let Err(error) = client {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                assert!(error.to_string().contains("certificate"), "{error}");
                // The server hears of it in the handshake or, where that was over for it, behind it.
                let told = match server {
                    Err(error) => error,
                    Ok(_) => right.read(&mut [0; 9], NEVER).await.unwrap_err(),
                };
                assert!(told.to_string().contains("alert"), "{told}");
            }
        }
    })
    .unwrap();
}

#[test]
fn who_comes_back_resumes() {
    run_one(async {
        let acceptor = acceptor(&paper("mx.example"));
        let connector = Connector::opportunistic().unwrap();
        for is_resumed in [false, true, true] {
            let [(mut left, client), (mut right, server)] =
                shake_hands(pair().await, &connector, &acceptor, "mx.example").await;
            assert_eq!(client.unwrap().is_resumed, is_resumed);
            assert_eq!(server.unwrap().is_resumed, is_resumed);
            // The ticket comes behind the handshake, with what is read next.
            right.write_all(b"250", NEVER).await.unwrap();
            assert_eq!(left.read(&mut [0; 9], NEVER).await.unwrap(), 3);
        }
    })
    .unwrap();
}

#[test]
fn a_handshake_that_is_none_fails() {
    run_one(async {
        let acceptor = acceptor(&paper("mx.example"));
        let connector = Connector::opportunistic().unwrap();
        // Clear text, at the server and at the client.
        let (mut left, mut right) = pair().await;
        left.write_all(b"EHLO a.example\r\n", NEVER).await.unwrap();
        let error = right.accept_tls(&acceptor, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        // The alert, in clear text: nothing is agreed on.
        assert_ne!(left.read(&mut [0; 99], NEVER).await.unwrap(), 0);
        let (mut left, mut right) = pair().await;
        right.write_all(b"554 no\r\n", NEVER).await.unwrap();
        let error = left.connect_tls(&connector, "mx.example", NEVER).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
        // Nobody answers, and then nobody is there.
        let (mut left, mut right) = pair().await;
        let error = left.connect_tls(&connector, "mx.example", PAST).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
        let mut hello = [0; 9];
        assert_eq!(right.read(&mut hello, NEVER).await.unwrap(), 9);
        let (mut left, mut right) = pair().await;
        left.write_all(&hello, NEVER).await.unwrap();
        let error = right.accept_tls(&acceptor, PAST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (mut left, mut right) = pair().await;
        left.write_all(&hello, NEVER).await.unwrap();
        drop(left);
        let error = right.accept_tls(&acceptor, NEVER).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("handshake"), "{error}");
    })
    .unwrap();
}

#[test]
fn tls_is_started_once() {
    run_one(async {
        let (mut left, _right) = secure_pair().await;
        let connector = Connector::opportunistic().unwrap();
        let error = left.connect_tls(&connector, "mx.example", NEVER).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    })
    .unwrap();
}

const SAID: &[u8] = b"MAIL FROM:<a@a.example>\r\n";

/// What a server hears whose client shakes hands, says something and ends, through a relay that carries one byte at
/// a time, and after `cut_at` bytes of the client's nothing more. How many those were, and how it ended.
async fn relayed(acceptor: &Acceptor, cut_at: usize) -> (usize, Vec<u8>, Result<(), ErrorKind>) {
    let (mut left, mut near) = pair().await;
    let (mut far, mut right) = pair().await;
    let connector = Connector::opportunistic().unwrap();
    let client = shard::spawn(Lane::Deliver, async move {
        if left
            .connect_tls(&connector, "mx.example", NEVER)
            .await
            .is_ok()
        {
            // It may be cut off by now.
            let _ = left.write_all(SAID, NEVER).await;
        }
    });
    let relay = shard::spawn(Lane::Deliver, async move {
        let mut byte = [0; 1];
        let mut carried = 0;
        while carried < cut_at {
            while let Ok(Some(1)) = far.try_read(&mut byte) {
                let _ = near.write_all(&byte, NEVER).await;
            }
            match near.try_read(&mut byte) {
                Ok(Some(1)) => far.write_all(&byte, NEVER).await.unwrap(),
                Ok(None) => {
                    timer::sleep(100).await;
                    continue;
                }
                _ => break,
            }
            carried += 1;
        }
        carried
    });
    let mut inbox = Inbox::new();
    let ended = match right.accept_tls(acceptor, NEVER).await {
        Err(error) => Err(error.kind()),
        Ok(_) => loop {
            match inbox.fill(&mut right, NEVER).await {
                Ok(Fill::Some) => {}
                Ok(Fill::Eof) => break Ok(()),
                Ok(fill) => unreachable!("without a deadline: {fill:?}"),
                Err(error) => break Err(error.kind()),
            }
        },
    };
    let carried = relay.await;
    client.await;
    (carried, inbox.unread().to_vec(), ended)
}

#[test]
fn a_stream_that_is_cut_is_an_error_wherever_it_is_cut() {
    run_one(async {
        let acceptor = acceptor(&paper("mx.example"));
        let (whole, heard, ended) = relayed(&acceptor, usize::MAX).await;
        assert_eq!((&*heard, ended), (SAID, Ok(())));
        // The last byte of all is the last of the client's word that it ends.
        let places = (0..8)
            .chain((8..whole).step_by(whole / 24))
            .chain(whole - 30..whole);
        for cut_at in places {
            let (carried, heard, ended) = relayed(&acceptor, cut_at).await;
            assert_eq!(carried, cut_at);
            assert!(
                matches!(
                    ended,
                    Err(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
                ),
                "cut at {cut_at} of {whole}: {ended:?}"
            );
            assert!(heard.is_empty() || heard == SAID);
        }
    })
    .unwrap();
}

/// What `Identity::load` says of two files, without the folder.
fn refusal(dir: &Path, certificate: &str, key: &str) -> String {
    let error = Identity::load(&dir.join(certificate), &dir.join(key)).unwrap_err();
    error
        .to_string()
        .replace(&format!("{}/", dir.display()), "")
}

#[test]
fn what_is_wrong_with_certificates_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (paper("mx.example"), paper("mx.example"));
    let certificate = fs::read_to_string(&own.certificate).unwrap();
    let key = fs::read_to_string(&own.key).unwrap();
    let other_key = fs::read_to_string(&other.key).unwrap();
    let cut = &certificate[..certificate.len() / 2];
    let bad_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (name, text) in [
        ("crt", certificate.as_str()),
        ("key", &key),
        ("other", &other_key),
        ("cut", cut),
        ("nothing", "\n"),
        ("badcrt", bad_der),
        ("badkey", bad_key),
        ("both", &format!("{key}{certificate}")),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    for (certificate, key, expected) in [
        ("none", "key", "none: cannot be read: No such file"),
        ("crt", "none", "none: cannot be read: No such file"),
        ("cut", "key", "cut: is no PEM file: missing section end"),
        ("nothing", "key", "nothing: has no certificate"),
        ("key", "key", "key: has no certificate"),
        (
            "badcrt",
            "key",
            "badcrt: the first certificate cannot be used",
        ),
        ("crt", "crt", "crt: has no private key"),
        ("crt", "badkey", "badkey: the private key cannot be used"),
        (
            "crt",
            "other",
            "other: the key is not that of the first certificate in crt",
        ),
    ] {
        let told = refusal(dir.path(), certificate, key);
        assert!(
            told.starts_with(expected),
            "{certificate} and {key}: {told}"
        );
    }
    let both = dir.path().join("both");
    assert!(Identity::load(&both, &both).is_ok());
    let error = Roots::load(&dir.path().join("badcrt")).unwrap_err();
    assert!(error.to_string().contains("has no certificate"), "{error}");
}
