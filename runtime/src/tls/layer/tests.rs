//! Two layers that hand each other their records, whole and byte by byte.

use super::super::provider;
use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

/// A client and a server with a certificate it trusts.
fn ends(version: &'static SupportedProtocolVersion) -> (Layer, Layer) {
    let made = rcgen::generate_simple_self_signed(vec!["mx.example".into()]).unwrap();
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
    let key = made.signing_key.serialize_pem();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example").unwrap();
    let client = UnbufferedClientConnection::new(Arc::new(client), name).unwrap();
    let server = UnbufferedServerConnection::new(Arc::new(server)).unwrap();
    (Layer::client(client), Layer::server(server))
}

/// At most `len_max` bytes go from one end to the other. How many did.
fn carry(from: &mut Layer, to: &mut Layer, len_max: usize) -> usize {
    let count = from.outgoing.filled().len().min(len_max);
    to.incoming.room()[..count].copy_from_slice(&from.outgoing.filled()[..count]);
    to.incoming.add(count);
    to.incoming.settle();
    from.outgoing.consume(count);
    count
}

fn shake_hands(client: &mut Layer, server: &mut Layer, len_max: usize) {
    loop {
        let is_over = client.shake_hands().unwrap() & server.shake_hands().unwrap();
        let carried = carry(client, server, len_max) + carry(server, client, len_max);
        if is_over && carried == 0 {
            return;
        }
        assert!(is_over || carried > 0, "both wait");
    }
}

fn read(layer: &mut Layer, len_max: usize) -> Option<Vec<u8>> {
    let mut into = vec![0; len_max];
    let count = layer.read(&mut into).unwrap()?;
    into.truncate(count);
    Some(into)
}

#[test]
fn hands_are_shaken_whole_and_byte_by_byte() {
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        for len_max in [usize::MAX, 1] {
            let (mut client, mut server) = ends(version);
            shake_hands(&mut client, &mut server, len_max);
            let info = client.info();
            assert_eq!(info, server.info());
            assert_eq!(info.version, name);
            assert!(info.cipher.starts_with("TLS_"), "{}", info.cipher);
            client
                .write(&[IoSlice::new(b"EHLO a.example\r\n")])
                .unwrap();
            carry(&mut client, &mut server, usize::MAX);
            assert_eq!(read(&mut server, 99).unwrap(), b"EHLO a.example\r\n");
            assert_eq!(read(&mut server, 99), None);
            assert!(!client.outgoing.is_held(), "all has left");
            let is_held = server.incoming.is_held() || server.outgoing.is_held();
            assert!(!is_held, "who waits holds nothing");
        }
    }
}

#[test]
fn a_record_cut_anywhere_is_nothing_until_it_is_whole() {
    let (mut client, mut server) = ends(&TLS13);
    shake_hands(&mut client, &mut server, usize::MAX);
    let mut ends_at = Vec::new();
    let mut records = Vec::new();
    for text in [&b"MAIL FROM:<a@a.example>\r\n"[..], b"R", &[b'x'; 300]] {
        client.write(&[IoSlice::new(text)]).unwrap();
        records.extend_from_slice(client.outgoing.filled());
        let len = client.outgoing.filled().len();
        client.outgoing.consume(len);
        ends_at.push((records.len(), text));
    }
    let mut ends_at = ends_at.into_iter().peekable();
    for (index, byte) in records.iter().enumerate() {
        server.incoming.room()[0] = *byte;
        server.incoming.add(1);
        server.incoming.settle();
        let whole = ends_at.next_if(|(end, _)| *end == index + 1);
        let expected = whole.map(|(_, text)| text.to_vec());
        assert_eq!(read(&mut server, 999), expected, "behind byte {index}");
    }
    assert!(ends_at.next().is_none());
}

#[test]
fn pieces_come_together_to_full_records() {
    let (mut client, mut server) = ends(&TLS13);
    shake_hands(&mut client, &mut server, usize::MAX);
    let pieces = [3, 40_000, 0, 16_384, 5_000, 70_000];
    let pieces: Vec<Vec<u8>> = (b'a'..)
        .zip(pieces)
        .map(|(byte, len)| vec![byte; len])
        .collect();
    let all = pieces.concat();
    let (mut written, mut heard) = (0, Vec::new());
    while written < all.len() {
        let mut before = written;
        let mut parts = Vec::new();
        for piece in &pieces {
            let skipped = before.min(piece.len());
            before -= skipped;
            parts.push(IoSlice::new(&piece[skipped..]));
        }
        let count = client.write(&parts).unwrap();
        assert_eq!(count, BATCH_LEN.min(all.len() - written));
        assert!(client.outgoing.filled().len() <= count + 5 * OVERHEAD_LEN);
        written += count;
        carry(&mut client, &mut server, usize::MAX);
        // A reader with little room gets the same.
        while let Some(bytes) = read(&mut server, 9_999) {
            heard.extend_from_slice(&bytes);
        }
    }
    assert!(heard == all);
    assert!(server.rest.is_empty() && server.incoming.is_empty());
}

#[test]
fn an_end_in_order_is_told_behind_what_came_before() {
    for version in [&TLS12, &TLS13] {
        let (mut client, mut server) = ends(version);
        shake_hands(&mut client, &mut server, usize::MAX);
        client.write(&[IoSlice::new(b"QUIT\r\n")]).unwrap();
        client.close().unwrap();
        carry(&mut client, &mut server, usize::MAX);
        assert_eq!(read(&mut server, 4).unwrap(), b"QUIT");
        assert_eq!(read(&mut server, 4).unwrap(), b"\r\n");
        for _ in 0..2 {
            assert_eq!(read(&mut server, 4).unwrap(), b"");
        }
        // The other direction goes on.
        server.write(&[IoSlice::new(b"221 bye\r\n")]).unwrap();
        carry(&mut server, &mut client, usize::MAX);
        assert_eq!(read(&mut client, 99).unwrap(), b"221 bye\r\n");
    }
}

#[test]
fn what_was_changed_on_the_way_is_an_error_and_stays_one() {
    let (mut client, mut server) = ends(&TLS13);
    shake_hands(&mut client, &mut server, usize::MAX);
    for text in [b"one", b"two", b"thr"] {
        client.write(&[IoSlice::new(text)]).unwrap();
        carry(&mut client, &mut server, usize::MAX);
    }
    let len = server.incoming.filled().len();
    server.incoming.filled()[len / 3 + 9] ^= 1;
    assert_eq!(read(&mut server, 99).unwrap(), b"one");
    for _ in 0..2 {
        let error = server.read(&mut [0; 99]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    // The peer is told.
    assert!(carry(&mut server, &mut client, usize::MAX) > 0);
    assert!(server.write(&[IoSlice::new(b"no")]).is_err());
    let error = client.read(&mut [0; 99]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[test]
fn garbage_ends_a_handshake_with_an_alert() {
    for garbage in [
        &b"EHLO a.example\r\n"[..],
        &[0; 64],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let (mut client, mut server) = ends(&TLS13);
        server.incoming.room()[..garbage.len()].copy_from_slice(garbage);
        server.incoming.add(garbage.len());
        let error = server.shake_hands().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        client.shake_hands().unwrap();
        if carry(&mut server, &mut client, usize::MAX) > 0 {
            let error = client.shake_hands().unwrap_err();
            assert!(error.to_string().contains("alert"), "{error}");
        }
    }
}
