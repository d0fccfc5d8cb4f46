//! Client against server, with any credentials: the right ones get in, all others do not.

use crate::encode;
use mailrail_protocol::sasl::Mechanism;
use mailrail_protocol::sasl::client::{Exchange as Client, Fault};
use mailrail_protocol::sasl::server::{Exchange, Step};
use proptest::prelude::*;

#[cfg(feature = "scram")]
use mailrail_protocol::sasl::{Decoy, ScramSecret};

/// The one user there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Of all mechanisms but EXTERNAL.
    pub(crate) password: String,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In as this user, who acts as the other.
    In(String, String),
    /// Refused by the server with this code.
    Refused(u16),
    /// Cancelled by the client.
    Cancelled(Fault),
    /// The server has let the client in, and the client does not believe it.
    Disbelieved(Fault),
}

#[cfg(feature = "scram")]
pub(crate) fn secret(user: &User) -> Option<ScramSecret> {
    ScramSecret::derive(&user.password, b"sixteen octets !", 2)
}

/// Lets them talk. `change` sees each message, in both directions, before it is encoded.
pub(crate) fn talk(
    client: &mut Client,
    server: &mut Exchange,
    user: &User,
    begins: bool,
    mut change: impl FnMut(&mut Vec<u8>),
) -> End {
    let mut passed_on = |octets: &[u8]| {
        let mut octets = octets.to_vec();
        change(&mut octets);
        encode(octets)
    };
    let initial = client.initial().filter(|_| begins);
    let mut response = initial.map(&mut passed_on);
    // Whoever was in at the end of more messages than any mechanism has would have tricked us.
    for _ in 0..9 {
        let next = match server.receive(response.as_deref()) {
            #[cfg(feature = "scram")]
            Step::Secret { user: name } => {
                let known = name == user.name;
                server.secret(secret(user).filter(|_| known).as_ref())
            }
            Step::Token { token, .. } if token != user.password => {
                server.refuse_token("{\"status\":\"invalid_token\"}")
            }
            next => next,
        };
        let (name, authorization) = match next {
            Step::Challenge(octets) => {
                let challenge = passed_on(octets);
                match client.respond(&challenge) {
                    Ok(octets) => response = Some(passed_on(octets)),
                    Err(fault) => return End::Cancelled(fault),
                }
                continue;
            }
            Step::Password {
                authorization,
                user: name,
                password,
            } if name == user.name && password == user.password => (name, authorization),
            Step::Password { .. } => return End::Refused(535),
            Step::Token { authorization, .. } => ("", authorization),
            Step::External { authorization } => ("", authorization),
            Step::Authenticated {
                user,
                authorization,
            } => (user, authorization),
            Step::Failed(reply) => return End::Refused(reply.code.get()),
            Step::Secret { .. } => panic!("it was answered"),
        };
        return match client.finish() {
            Ok(()) => End::In(name.to_owned(), authorization.to_owned()),
            Err(fault) => End::Disbelieved(fault),
        };
    }
    panic!("no end");
}

pub(crate) fn server(mechanism: Mechanism) -> Exchange {
    let exchange = Exchange::new(mechanism);
    #[cfg(feature = "scram")]
    let exchange = exchange.with_scram(
        "c2VydmVy",
        &Decoy {
            iterations: 2,
            ..Decoy::new([1; 32])
        },
    );
    exchange
}

fn untouched(
    client: Result<Client, Fault>,
    server: &mut Exchange,
    user: &User,
    begins: bool,
) -> End {
    let client = client.expect("sendable");
    #[cfg(feature = "scram")]
    let client = client.with_iterations(1..=10_000);
    talk(&mut { client }, server, user, begins, |_| {})
}

fn user() -> impl Strategy<Value = User> {
    ("[ -~]{1,20}", "[ -~]{1,20}").prop_map(|(name, password)| User { name, password })
}

fn in_as(name: &str, authorization: &str) -> End {
    End::In(name.to_owned(), authorization.to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plain(user in user(), authorization in "\\PC{0,9}", other in "\\PC{1,9}", begins: bool) {
        let talk = |name: &str, password: &str| {
            let client = Client::plain(&authorization, name, password);
            untouched(client, &mut server(Mechanism::Plain), &user, begins)
        };
        let User { name, password } = &user;
        prop_assert_eq!(talk(name, password), in_as(name, &authorization));
        prop_assert_eq!(talk(name, &format!("{password}{other}")), End::Refused(535));
        prop_assert_eq!(talk(&format!("{name}{other}"), password), End::Refused(535));
    }

    #[test]
    fn login(user in user(), other in "\\PC{1,9}", begins: bool) {
        let talk = |name: &str, password: &str| {
            let client = Client::login(name, password);
            untouched(client, &mut server(Mechanism::Login), &user, begins)
        };
        let User { name, password } = &user;
        prop_assert_eq!(talk(name, password), in_as(name, ""));
        prop_assert_eq!(talk(name, &format!("{password}{other}")), End::Refused(535));
        prop_assert_eq!(talk(&format!("{name}{other}"), password), End::Refused(535));
    }

    #[test]
    fn external(authorization in "\\PC{0,20}", begins: bool) {
        let user = User { name: String::new(), password: String::new() };
        let client = Client::external(&authorization);
        let end = untouched(client, &mut server(Mechanism::External), &user, begins);
        prop_assert_eq!(end, in_as("", &authorization));
    }

    #[test]
    fn tokens(name in "\\PC{1,9}", token in "[!-~]{1,40}", other in "[!-~]{1,9}", begins: bool, port: Option<u16>) {
        let user = User { name: name.clone(), password: token.clone() };
        let x = |token: &str| {
            let client = Client::x_oauth2(&name, token);
            untouched(client, &mut server(Mechanism::XOAuth2), &user, begins)
        };
        let bearer = |authorization: &str, token: &str| {
            let client = Client::oauth_bearer(authorization, "mx.example", port.filter(|port| *port > 0), token);
            untouched(client, &mut server(Mechanism::OAuthBearer), &user, begins)
        };
        prop_assert_eq!(x(&token), in_as("", &name));
        prop_assert_eq!(bearer(&name, &token), in_as("", &name));
        prop_assert_eq!(bearer("", &token), in_as("", ""));
        let wrong = format!("{token}{other}");
        prop_assert_eq!(x(&wrong), End::Refused(535));
        prop_assert_eq!(bearer(&name, &wrong), End::Refused(535));
    }
}

#[cfg(feature = "scram")]
mod scram {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_credentials(
            user in user(),
            authorization in "[ -~]{0,9}",
            other in "[ -~]{1,9}",
            begins: bool,
            bound: bool,
        ) {
            let talk = |name: &str, password: &str| {
                let (client, server) = if bound {
                    (
                        Client::scram_sha_256_plus(name, password, "Y2xpZW50", "tls-exporter", b"channel"),
                        server(Mechanism::ScramSha256Plus).with_channel_binding("tls-exporter", b"channel"),
                    )
                } else {
                    (Client::scram_sha_256(name, password, "Y2xpZW50"), server(Mechanism::ScramSha256))
                };
                let client = match &*authorization {
                    "" => client,
                    other => client.and_then(|client| client.with_authorization(other)),
                };
                untouched(client, &mut { server }, &user, begins)
            };
            let User { name, password } = &user;
            prop_assert_eq!(talk(name, password), in_as(name, &authorization));
            prop_assert_eq!(talk(name, &format!("{password}{other}")), End::Refused(535));
            prop_assert_eq!(talk(&format!("{name}{other}"), password), End::Refused(535));
        }
    }

    #[cfg(feature = "saslprep")]
    #[test]
    fn prepared_on_both_sides() {
        // The server's directory holds the prepared name, as the client's keyboard need not.
        let user = User {
            name: "IX".to_owned(),
            password: "pa\u{df}\u{2168}".to_owned(),
        };
        for (name, password) in [
            ("IX", "pa\u{df}IX"),
            ("I\u{ad}X", "pa\u{df}\u{2168}"),
            ("\u{2168}", "pa\u{df}\u{ad}IX"),
        ] {
            let client = Client::scram_sha_256(name, password, "Y2xpZW50");
            let end = untouched(client, &mut server(Mechanism::ScramSha256), &user, true);
            assert_eq!(end, in_as("IX", ""));
        }
    }

    #[cfg(not(feature = "saslprep"))]
    #[test]
    fn ascii_alone() {
        let client = Client::scram_sha_256("\u{e4}", "p", "Y2xpZW50");
        assert_eq!(client.err(), Some(Fault::Credentials));
        assert_eq!(ScramSecret::derive("\u{e4}", b"salt", 2), None);
    }

    /// What each side can do and says it can do, and how it ends.
    //= RFC 5802 section 6: the rules for the flags
    #[test]
    fn bindings() {
        let user = User {
            name: "u".to_owned(),
            password: "p".to_owned(),
        };
        let unbound = || Client::scram_sha_256("u", "p", "Y2xpZW50");
        let bound = |kind, data| Client::scram_sha_256_plus("u", "p", "Y2xpZW50", kind, data);
        let bare = || server(Mechanism::ScramSha256);
        let plus = || {
            server(Mechanism::ScramSha256Plus)
                .with_channel_binding("tls-server-end-point", b"certificate")
                .with_channel_binding("tls-exporter", b"channel")
        };
        let end = |client, mut server| untouched(client, &mut server, &user, true);

        assert_eq!(end(unbound(), bare()), in_as("u", ""));
        // A client that cannot bind may still come in where others do.
        let offered = || bare().with_channel_binding("tls-exporter", b"channel");
        assert_eq!(end(unbound(), offered()), in_as("u", ""));
        // One that could, and was told that the server cannot, may not: -PLUS was taken off the list.
        let could = || unbound().map(Client::could_bind);
        assert_eq!(end(could(), bare()), in_as("u", ""));
        assert_eq!(end(could(), offered()), End::Refused(535));

        assert_eq!(
            end(bound("tls-exporter", b"channel"), plus()),
            in_as("u", "")
        );
        assert_eq!(
            end(bound("tls-server-end-point", b"certificate"), plus()),
            in_as("u", "")
        );
        // Somebody sits in between, with a channel to each.
        assert_eq!(
            end(bound("tls-exporter", b"other"), plus()),
            End::Refused(535)
        );
        assert_eq!(
            end(bound("tls-server-end-point", b"channel"), plus()),
            End::Refused(535)
        );
        assert_eq!(
            end(bound("tls-unique", b"channel"), plus()),
            End::Refused(535)
        );
        // A server that has nothing to bind to.
        assert_eq!(
            end(
                bound("tls-exporter", b"channel"),
                server(Mechanism::ScramSha256Plus)
            ),
            End::Refused(535)
        );
        // Names of mechanisms and flags that do not belong together.
        assert_eq!(
            end(bound("tls-exporter", b"channel"), offered()),
            End::Refused(535)
        );
        assert_eq!(end(unbound(), plus()), End::Refused(535));
        assert_eq!(end(could(), plus()), End::Refused(535));
    }

    /// Everything that the server says to a client of this name with a wrong password.
    fn said(name: &str, known: bool, key: [u8; 32]) -> Vec<Vec<u8>> {
        let decoy = Decoy {
            iterations: 2,
            ..Decoy::new(key)
        };
        let mut server = Exchange::new(Mechanism::ScramSha256).with_scram("c2VydmVy", &decoy);
        let mut client = Client::scram_sha_256(name, "wrong", "Y2xpZW50")
            .unwrap()
            .with_iterations(2..=2);
        let secret = ScramSecret::derive("right", b"sixteen octets !", 2).unwrap();
        let mut said = Vec::new();
        let initial = encode(client.initial().unwrap());
        let Step::Secret { .. } = server.receive(Some(&initial)) else {
            panic!("a name")
        };
        let Step::Challenge(first) = server.secret(known.then_some(&secret)) else {
            panic!("a challenge")
        };
        said.push(first.to_vec());
        let last = encode(client.respond(&encode(first)).unwrap());
        let Step::Failed(reply) = server.receive(Some(&last)) else {
            panic!("a refusal")
        };
        said.push(format!("{reply:?}").into_bytes());
        said
    }

    //= RFC 5802 section 5.1: whether a user exists need not be told, and is not
    #[test]
    fn unknown_users_look_like_known_ones() {
        let known = said("user", true, [1; 32]);
        let unknown = said("user", false, [1; 32]);
        assert_eq!(known.len(), unknown.len());
        assert_eq!(known[1], unknown[1]);
        let shape = |first: &[u8]| {
            let text = String::from_utf8(first.to_vec()).unwrap();
            let parts = text.split(',').map(str::to_owned);
            let [nonce, salt, iterations] = parts.collect::<Vec<_>>().try_into().unwrap();
            (nonce, salt.len(), iterations)
        };
        assert_eq!(shape(&known[0]), shape(&unknown[0]));
        assert_ne!(known[0], unknown[0]);
        // The same salt each time, another one for each name and each key.
        assert_eq!(said("user", false, [1; 32]), unknown);
        assert_ne!(said("user2", false, [1; 32]), unknown);
        assert_ne!(said("user", false, [2; 32]), unknown);
    }

    #[test]
    fn decoys_let_nobody_in() {
        let decoy = Decoy::new([1; 32]);
        for password in ["", "u", "decoy"] {
            assert!(!decoy.secret("u").accepts(password));
        }
        assert_eq!(decoy.secret("u").salt.len(), 16);
        let odd = Decoy {
            salt_len: 0,
            ..decoy
        };
        assert_eq!(odd.secret("u").salt.len(), 1);
    }

    /// A secret that came from the store, and not from the password, does as well.
    #[test]
    fn from_the_store() {
        let mut stored = Vec::new();
        let user = User {
            name: "u".to_owned(),
            password: "p".to_owned(),
        };
        secret(&user).unwrap().write(&mut stored);
        let stored = ScramSecret::parse(std::str::from_utf8(&stored).unwrap()).unwrap();
        assert_eq!(Some(stored), secret(&user));
    }
}
