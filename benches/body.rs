//! What a body costs an octet: taking its dots away with all the findings, a chunk of BDAT, putting
//! dots in; and beside them, over the same octets, what searches alone cost.
//!
//! `cargo bench -p mailrail-benches --bench body`; what each line means is in `README.md`.
//!
//! The slow twins that the fast routines are tested against: `naive_dotted` and `naive_findings` in
//! `protocol/tests/body.rs`, `naive` in `protocol/src/body/stuff.rs`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailrail_benches::{content, naive, tell_conditions};
use mailrail_protocol::body::stuff::{Edge, Segments};
use mailrail_protocol::body::{Dotted, Findings, Scan};
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};
use std::hint::black_box;

const LENGTHS: [(&str, usize); 3] = [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];

/// A body behind DATA in whole: its findings, and the octets of content.
fn decode(mut input: &[u8]) -> (Findings, usize) {
    let mut scan = Scan::new();
    let mut octets = 0;
    loop {
        match scan.dotted(&mut input) {
            Dotted::Slice(slice) => octets += black_box(slice).len(),
            Dotted::End => return (scan.findings(), octets),
            Dotted::NeedInput => unreachable!("the body is whole"),
        }
    }
}

/// The same octets as one chunk of BDAT.
fn chunk(mut input: &[u8]) -> Findings {
    let mut scan = Scan::new();
    let mut left = input.len() as u64;
    black_box(scan.chunk(&mut left, &mut input));
    scan.findings()
}

/// The pieces that go out: their number, and their octets.
fn stuff(content: &[u8]) -> (usize, usize) {
    Segments::stuffed(Edge::LineStart, content).fold((0, 0), |(pieces, octets), piece| {
        (pieces + 1, octets + black_box(piece).len())
    })
}

/// All line ends, one after the other, as a reader of lines takes them.
fn line_ends(input: &[u8]) -> usize {
    memchr_iter(b'\n', input).fold(0, |_, end| black_box(end))
}

/// All lines that start with a dot.
fn dots(finder: &Finder<'_>, input: &[u8]) -> usize {
    finder.find_iter(input).fold(0, |_, dot| black_box(dot))
}

/// The decoder of a parser without a session; it copies, and finds nothing but the end.
fn smtp_proto(input: &[u8], content: &mut Vec<u8>) {
    content.clear();
    let ended =
        smtp_proto::request::receiver::DataReceiver::new().ingest(&mut input.iter(), content);
    assert!(ended, "the body is whole");
}

fn bench(criterion: &mut Criterion) {
    tell_conditions();
    for kind in content::KINDS {
        for (size, len) in LENGTHS {
            let content = kind.lines(len);
            let wire = [&content[..], b".\r\n"].concat();
            let mut copy = Vec::with_capacity(wire.len());
            let findings = naive::decode(&wire, &mut copy);
            assert_eq!(decode(&wire), (findings, copy.len()), "{}", kind.name);

            let mut group = criterion.benchmark_group(format!("body/{}", kind.name));
            group.throughput(Throughput::Bytes(wire.len() as u64));
            let mut line = |what: &str, routine: &mut dyn FnMut(&[u8])| {
                group.bench_function(BenchmarkId::new(what, size), |bencher| {
                    bencher.iter(|| routine(black_box(&wire)));
                });
            };
            line("decode", &mut |wire| {
                black_box(decode(wire));
            });
            line("chunk", &mut |wire| {
                black_box(chunk(wire));
            });
            line("stuff", &mut |wire| {
                black_box(stuff(wire));
            });
            let finder = Finder::new(b"\r\n.");
            line("reference: memchr, each LF", &mut |wire| {
                black_box(line_ends(wire));
            });
            line("reference: memmem, each CRLF and dot", &mut |wire| {
                black_box(dots(&finder, wire));
            });
            line("reference: memchr, nothing to be found", &mut |wire| {
                black_box(memchr(0, wire));
            });
            if len == 64 << 10 {
                line("reference: naive, with a copy", &mut |wire| {
                    copy.clear();
                    black_box(naive::decode(wire, &mut copy));
                });
                line("reference: smtp-proto, with a copy", &mut |wire| {
                    smtp_proto(wire, &mut copy);
                });
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = mailrail_benches::criterion();
    targets = bench
}
criterion_main!(benches);
