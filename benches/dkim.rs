//! What a DKIM signature costs a message: canonical form (relaxed/relaxed), SHA-256 of the body, the signature, and
//! the field that is written. By mail-auth on AWS-LC, as a server that signs would do it; ours does not yet.
//!
//! `cargo bench -p mailrail-benches --bench dkim`; what each line means is in `README.md`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_lite::future::block_on;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};
use mailrail_benches::{content, tell_conditions};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::borrow::Borrow;
use std::hash::Hash;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const LENGTHS: [(&str, usize); 2] = [("4 KiB", 4 << 10), ("100 KiB", 100 << 10)];

/// What most senders sign.
//= RFC 6376 section 5.4.1: the core of what belongs to the message, and what tells how to read it
const SIGNED: [&str; 7] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
];

/// A message of so many octets in whole, plain text in lines of 76.
fn message(len: usize) -> Vec<u8> {
    let mut message = b"Received: from client.example.com (client.example.com [192.0.2.1])\r\n\
        \tby mx.example.com with ESMTP id 018f2a3b4c5d; Tue, 24 Nov 2026 10:00:41 +0000\r\n\
        From: First Sender <first.sender@example.com>\r\n\
        To: Some User <user@example.net>\r\n\
        Subject: The fox, the dog, and what became of them\r\n\
        Date: Tue, 24 Nov 2026 10:00:41 +0000\r\n\
        Message-ID: <018f2a3b4c5d@client.example.com>\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n"
        .to_vec();
    let [text, ..] = content::KINDS;
    message.extend(text.lines(len - message.len()));
    message
}

/// A key made for this run, and what the domain's owner would publish of it.
struct Key {
    name: &'static str,
    signer: DkimSigner<DkimKey, Done>,
    record: String,
}

fn key(name: &'static str, algorithm: &'static SignatureAlgorithm) -> Key {
    let pair = KeyPair::generate_for(algorithm).expect("a key");
    let private = pair.serialize_der();
    let (kind, private) = if algorithm == &PKCS_ED25519 {
        let key = Ed25519Key::from_pkcs8_der(&private).expect("our key");
        ("ed25519", DkimKey::from(key))
    } else {
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private));
        let key = RsaKey::from_key_der(private).expect("our key");
        ("rsa", DkimKey::from(key))
    };
    let pem = pair.public_key_pem();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    //= RFC 8463 section 4.2: the 32 octets of an Ed25519 key alone, without the 12 that say what they are
    let public = match kind {
        "ed25519" => &base64[16..],
        _ => &base64,
    };
    let signer = DkimSigner::from_key(private)
        .domain("example.com")
        .selector("bench")
        .headers(SIGNED)
        .header_canonicalization(Canonicalization::Relaxed)
        .body_canonicalization(Canonicalization::Relaxed);
    Key {
        name,
        signer,
        record: format!("v=DKIM1; k={kind}; p={public}"),
    }
}

/// The one record that a check of the signature asks for.
struct Published(Arc<DomainKey>);

impl ResolverCache<Box<str>, Txt> for Published {
    fn get<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        Some(Txt::DomainKey(self.0.clone()))
    }

    fn remove<Q: Hash + Eq + ?Sized>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// The signature is there, and whoever gets the message finds it good: no DNS is asked.
fn check(key: &Key, message: &[u8]) {
    let signature = key.signer.sign(message).expect("a signature");
    let mut signed = Vec::new();
    signature.write_header(&mut signed);
    assert!(
        signed.starts_with(b"DKIM-Signature: v=1; a="),
        "{}",
        key.name
    );
    signed.extend(message);
    let record = DomainKey::parse(key.record.as_bytes()).expect("our record");
    let published = Published(Arc::new(record));
    let nobody = ResolverConfig::default();
    let verifier = MessageAuthenticator::new(nobody, ResolverOpts::default()).expect("a verifier");
    for (is_changed, expected) in [(false, true), (true, false)] {
        if is_changed {
            *signed.last_mut().expect("content") = b'x';
        }
        let parsed = AuthenticatedMessage::parse(&signed).expect("a message");
        let parameters = Parameters::new(&parsed).with_txt_cache(&published);
        let found = block_on(verifier.verify_dkim(parameters));
        let results: Vec<_> = found.iter().map(|output| output.result()).collect();
        let is_good = matches!(results[..], [DkimResult::Pass]);
        assert_eq!(is_good, expected, "{}: {results:?}", key.name);
    }
}

fn bench(criterion: &mut Criterion) {
    tell_conditions();
    let keys = [
        key("rsa-sha256, 2048 bits", &PKCS_RSA_SHA256),
        key("ed25519-sha256", &PKCS_ED25519),
    ];
    let mut group = criterion.benchmark_group("dkim");
    let mut field = Vec::with_capacity(2048);
    for (size, len) in LENGTHS {
        let message = message(len);
        group.throughput(Throughput::ElementsAndBytes {
            elements: 1,
            bytes: message.len() as u64,
        });
        for key in &keys {
            check(key, &message);
            group.bench_function(BenchmarkId::new(key.name, size), |bencher| {
                bencher.iter(|| {
                    field.clear();
                    let signature = key.signer.sign(black_box(&message)).expect("a signature");
                    signature.write_header(&mut field);
                    black_box(field.len())
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = bench
}
criterion_main!(benches);
