//! SASL, all mechanisms, both sides: whatever a peer says, nobody who does not know the password
//! gets in, nobody who does not know it is believed, and an exchange that has ended stays ended.

use mailrail_protocol::sasl::client::{Exchange as Client, Fault};
use mailrail_protocol::sasl::server::{Exchange as Server, Step};
use mailrail_protocol::sasl::{Decoy, Mechanism, RESPONSE_LEN_MAX, ScramSecret, base64};

/// Lines, each a message of the peer: in base64 already if it starts with `!`. The first line is
/// the first message without AUTH's initial response if it is `-`.
pub(crate) fn run(bytes: &[u8]) {
    encoding(bytes);
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(message).collect();
    let secret = ScramSecret::derive("no peer knows this", b"sixteen octets !", 3);
    let prompted = bytes.starts_with(b"-\n");
    for mechanism in Mechanism::ALL {
        ask(mechanism, &lines);
        serve(mechanism, &lines, None, None, prompted);
        if mechanism.is_scram() {
            serve(mechanism, &lines, secret.as_ref(), None, prompted);
            serve(mechanism, &lines, None, Some("tls-exporter"), prompted);
        }
    }
    if let Some(line) = lines.last() {
        in_between(line, bytes.len() % 5);
    }
}

fn message(line: &[u8]) -> Vec<u8> {
    match line {
        [b'!', text @ ..] => text.to_vec(),
        octets => encode(octets),
    }
}

fn encode(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    base64::encode(octets, &mut text);
    text
}

/// There and back, and what is taken as base64 is what would have been written.
fn encoding(bytes: &[u8]) {
    let mut octets = b"before".to_vec();
    assert!(base64::decode(&encode(bytes), &mut octets));
    assert_eq!(octets.strip_prefix(b"before"), Some(bytes));
    octets.clear();
    if base64::decode(bytes, &mut octets) {
        assert_eq!(encode(&octets), bytes);
    }
}

fn server(mechanism: Mechanism, binding: Option<&str>) -> Server {
    let decoy = Decoy {
        iterations: 3,
        ..Decoy::new([7; 32])
    };
    let server = Server::new(mechanism).with_scram("server", &decoy);
    match binding {
        Some(kind) => server.with_channel_binding(kind, b"channel"),
        None => server,
    }
}

fn serve(
    mechanism: Mechanism,
    lines: &[Vec<u8>],
    secret: Option<&ScramSecret>,
    binding: Option<&str>,
    prompted: bool,
) {
    let mut server = server(mechanism, binding);
    let mut over = false;
    for (number, line) in lines.iter().enumerate() {
        let response = (number > 0 || !prompted).then_some(&**line);
        let mut octets = Vec::new();
        let sound = base64::decode(line, &mut octets);
        let next = match server.receive(response) {
            Step::Secret { user } => {
                assert!(!user.is_empty() && !user.contains('\0') && mechanism.is_scram());
                server.secret(secret)
            }
            Step::Token { token, .. } => {
                assert!(token.bytes().all(|octet| octet.is_ascii_graphic()));
                server.refuse_token("{}")
            }
            next => next,
        };
        assert!(!over || matches!(next, Step::Failed(_)), "{mechanism:?}");
        assert!(sound || response.is_none() || matches!(next, Step::Failed(_)));
        over = !matches!(next, Step::Challenge(_));
        match next {
            Step::Challenge(octets) => {
                assert!(number < 4 && base64::encoded_len(octets.len()) <= RESPONSE_LEN_MAX);
            }
            // What was understood is written as it came.
            Step::Password {
                authorization,
                user,
                password,
            } if mechanism == Mechanism::Plain => {
                let client = Client::plain(authorization, user, password).expect("sound");
                assert_eq!(client.initial(), Some(&*octets));
            }
            Step::Password { user, password, .. } => {
                assert!(Client::login(user, password).is_ok());
            }
            Step::External { authorization } => assert_eq!(authorization.as_bytes(), octets),
            Step::Failed(reply) => assert!(reply.code.is_permanent()),
            step => panic!("{step:?} without a password"),
        }
    }
}

fn client(mechanism: Mechanism) -> Client {
    let client = match mechanism {
        Mechanism::Plain => Client::plain("a", "u", "p"),
        Mechanism::Login => Client::login("u", "p"),
        Mechanism::XOAuth2 => Client::x_oauth2("u", "t"),
        Mechanism::OAuthBearer => Client::oauth_bearer("a", "h", Some(25), "t"),
        Mechanism::External => Client::external("a"),
        Mechanism::ScramSha256 => Client::scram_sha_256("u", "p", "client"),
        Mechanism::ScramSha256Plus => {
            Client::scram_sha_256_plus("u", "p", "client", "tls-exporter", b"channel")
        }
        other => panic!("{other:?} is not tried"),
    };
    // What the peer chooses to have computed shall not be what takes the time.
    client.expect("sound").with_iterations(1..=9)
}

fn ask(mechanism: Mechanism, lines: &[Vec<u8>]) {
    let mut client = client(mechanism);
    let mut fault = None;
    for line in lines {
        match client.respond(line) {
            Ok(_) => assert_eq!(fault, None, "an exchange that has failed goes on"),
            Err(Fault::Credentials) => panic!("the credentials were good"),
            Err(new) => fault = Some(new),
        }
        assert!(!mechanism.is_scram() || client.finish().is_err());
        assert!(fault.is_none() || client.finish().is_err());
    }
}

/// The honest exchange of a client that knows the password; but somebody puts this line in the place
/// of one of its messages, and both sides are not content.
fn in_between(line: &Vec<u8>, which: usize) {
    let secret = ScramSecret::derive("p", b"sixteen octets !", 3);
    let mut client = client(Mechanism::ScramSha256);
    let mut server = server(Mechanism::ScramSha256, None);
    let (mut number, mut changed) = (0, false);
    let mut pass = |octets: &[u8]| {
        let honest = encode(octets);
        let sent = if number == which { line } else { &honest };
        changed |= *sent != honest;
        number += 1;
        sent.clone()
    };
    let mut response = pass(client.initial().expect("client first"));
    let content = loop {
        let next = match server.receive(Some(&response)) {
            Step::Secret { user } => {
                let known = user == "u";
                server.secret(secret.as_ref().filter(|_| known))
            }
            next => next,
        };
        match next {
            Step::Challenge(octets) => match client.respond(&pass(octets)) {
                Ok(octets) => response = pass(octets),
                Err(_) => break false,
            },
            Step::Authenticated { .. } => break client.finish().is_ok(),
            _ => break false,
        }
    };
    assert_eq!(content, !changed);
}
