//! What is refused, mechanism by mechanism, on both sides.

use crate::{encode, failure, receive};
use mailrail_protocol::sasl::client::{Exchange as Client, Fault};
use mailrail_protocol::sasl::server::{Exchange, Step};
use mailrail_protocol::sasl::{Mechanism, Mechanisms, RESPONSE_LEN_MAX};

fn server(mechanism: Mechanism) -> Exchange {
    let exchange = Exchange::new(mechanism);
    #[cfg(feature = "scram")]
    let exchange = exchange.with_scram("server", &mailrail_protocol::sasl::Decoy::new([1; 32]));
    exchange
}

/// Each of these is answered 501 5.5.2, with AUTH and after an empty challenge.
fn check<T: AsRef<[u8]> + std::fmt::Debug>(mechanism: Mechanism, messages: &[T]) {
    for message in messages {
        let mut first = server(mechanism);
        let mut second = server(mechanism);
        let _ = second.receive(None);
        for server in [&mut first, &mut second] {
            let reply = failure(&receive(server, message));
            let reply = reply.unwrap_or_else(|| panic!("{message:?} was taken"));
            assert_eq!(reply.code.get(), 501, "{message:?}");
            assert_eq!(reply.status.unwrap().to_string(), "5.5.2");
        }
    }
}

#[test]
fn plain() {
    check(
        Mechanism::Plain,
        &[
            &b""[..],
            b"user",
            b"\0user",
            b"\0user\0",
            b"\0\0password",
            b"\0\0",
            b"a\0user\0password\0",
            b"a\0user\0pass\0word",
            b"\0us\xe4r\0password",
            b"\0user\0p\xff",
            b"\xed\xa0\x80\0user\0password",
        ],
    );
}

#[test]
fn login() {
    check(Mechanism::Login, &[&b""[..], b"a\0b", b"\xe4"]);
    for password in [&b""[..], b"a\0b", b"\xe4"] {
        let mut server = server(Mechanism::Login);
        let _ = receive(&mut server, "user");
        let reply = failure(&receive(&mut server, password)).unwrap();
        assert_eq!(reply.code.get(), 501, "{password:?}");
    }
}

#[test]
fn external() {
    check(Mechanism::External, &[&b"a\0b"[..], b"\xe4", b"\0"]);
}

#[test]
fn x_oauth2() {
    check(
        Mechanism::XOAuth2,
        &[
            "",
            "user=",
            "user=u",
            "user=\x01auth=Bearer t\x01\x01",
            "user=u\x01auth=Bearer t\x01",
            "user=u\x01auth=Bearer t",
            "user=u\x01auth=Bearer\x01\x01",
            "user=u\x01auth=Bearer \x01\x01",
            "user=u\x01auth=Bearert\x01\x01",
            "user=u\x01auth=Basic t\x01\x01",
            "user=u\x01auth=Bearer a b\x01\x01",
            "user=u\x01auth=Bearer t\x01\x01\x01",
            "user=u\x01auth=Bearer t\x01x=y\x01\x01",
            "user=u\x01host=h\x01auth=Bearer t\x01\x01",
            "user=\0\x01auth=Bearer t\x01\x01",
            "user=u\x01auth=Bearer \u{e4}\x01\x01",
            "auth=Bearer t\x01user=u\x01\x01",
            "User=u\x01auth=Bearer t\x01\x01",
        ],
    );
}

#[test]
fn oauth_bearer() {
    check(
        Mechanism::OAuthBearer,
        &[
            "",
            // Only good as the answer to an error.
            "\x01",
            "n,,",
            "n,,\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer t",
            "n,,\x01auth=Bearer t\x01",
            "n,,\x01auth=Bearer t\x01\x01\x01",
            "n,,\x01\x01auth=Bearer t\x01\x01",
            "n,,\x01auth=Bearer t\x01\x01x=y\x01\x01",
            "n,,\x01auth=Bearer t\x01auth=Bearer t\x01\x01",
            "n,,\x01host=a\x01host=b\x01auth=Bearer t\x01\x01",
            "n,,\x01host=a\x01\x01",
            "n,,\x01auth=Bearer\x01\x01",
            "n,,\x01auth=Bearer \x01\x01",
            "n,,\x01auth=Bearer a b\x01\x01",
            "n,,\x01auth=Basic t\x01\x01",
            "n,,\x01auth= Bearer t\x01\x01",
            "n,,\x01Auth=Bearer t\x01\x01",
            "n,,\x01x1=y\x01auth=Bearer t\x01\x01",
            "n,,\x01=y\x01auth=Bearer t\x01\x01",
            "n,,\x01x\x01auth=Bearer t\x01\x01",
            "n,,\x01x=\x02\x01auth=Bearer t\x01\x01",
            "n,,\x01x=\u{e4}\x01auth=Bearer t\x01\x01",
            "n,,\x01port=\x01auth=Bearer t\x01\x01",
            "n,,\x01port=0\x01auth=Bearer t\x01\x01",
            "n,,\x01port=025\x01auth=Bearer t\x01\x01",
            "n,,\x01port=+25\x01auth=Bearer t\x01\x01",
            "n,,\x01port=65536\x01auth=Bearer t\x01\x01",
            "n\x01auth=Bearer t\x01\x01",
            "n,\x01auth=Bearer t\x01\x01",
            ",,\x01auth=Bearer t\x01\x01",
            "x,,\x01auth=Bearer t\x01\x01",
            "F,n,,\x01auth=Bearer t\x01\x01",
            "n,u,\x01auth=Bearer t\x01\x01",
            "n,a=,\x01auth=Bearer t\x01\x01",
            "n,a=u=2c,\x01auth=Bearer t\x01\x01",
            "n,a=u=,\x01auth=Bearer t\x01\x01",
            "n,a=\0,\x01auth=Bearer t\x01\x01",
            "n,,x\x01auth=Bearer t\x01\x01",
            "p=tls-exporter,,\x01auth=Bearer t\x01\x01",
        ],
    );
}

/// What is unusual, but of the form.
#[test]
fn oauth_bearer_taken() {
    for (message, authorization, host, port) in [
        ("y,,\x01auth=bEARER   t\x01\x01", "", "", None),
        (
            "n,a=u=2C=3Dv,\x01x=a b\t\r\n\x01auth=Bearer t\x01port=65535\x01mthd=\x01host=h\x01\x01",
            "u,=v",
            "h",
            Some(65535),
        ),
    ] {
        let mut server = server(Mechanism::OAuthBearer);
        assert_eq!(
            receive(&mut server, message),
            Step::Token {
                authorization,
                host,
                port,
                token: "t"
            }
        );
    }
}

/// Everything that is not base64, anywhere.
#[test]
fn not_base64() {
    for mechanism in Mechanism::ALL {
        if !mechanism.is_built() {
            continue;
        }
        for text in ["=", "*", "=AAA", "AAA=BBB", "AB==", "A", "AA AA", "\u{e4}"] {
            let mut server = server(mechanism);
            let reply = failure(&server.receive(Some(text.as_bytes()))).unwrap();
            assert_eq!(reply.code.get(), 501);
            assert_eq!(reply.status.unwrap().to_string(), "5.5.2");
            // There is no second try.
            assert!(failure(&server.receive(Some(b"AHUAcA=="))).is_some());
            assert!(failure(&server.receive(None)).is_some());
        }
    }
    let mut client = Client::plain("", "u", "p").unwrap();
    assert_eq!(client.respond(b"AAA=BBB"), Err(Fault::Base64));
    assert_eq!(client.respond(b""), Err(Fault::Unexpected));
}

//= RFC 4954 section 4: a response that is too long is answered 500 5.5.6
#[test]
fn too_long() {
    let mut long = vec![b'A'; RESPONSE_LEN_MAX];
    let mut server = Exchange::new(Mechanism::External);
    assert_eq!(
        failure(&server.receive(Some(&long))).unwrap().code.get(),
        501
    );
    long.extend_from_slice(b"AAAA");
    let mut server = Exchange::new(Mechanism::External);
    let reply = failure(&server.receive(Some(&long))).unwrap();
    assert_eq!(reply.code.get(), 500);
    assert_eq!(reply.status.unwrap().to_string(), "5.5.6");
    let mut client = Client::plain("", "u", "p").unwrap();
    assert_eq!(client.respond(&long), Err(Fault::TooLong));
}

/// A password of 255 octets and more has room.
//= RFC 4616 section 2: each of the three may have 255 octets at least
#[test]
fn long_names() {
    let [a, b, c] = ["a", "b", "c"].map(|letter| letter.repeat(2000));
    let message = format!("{a}\0{b}\0{c}");
    let mut server = Exchange::new(Mechanism::Plain);
    assert_eq!(
        receive(&mut server, message),
        Step::Password {
            authorization: &a,
            user: &b,
            password: &c
        }
    );
}

#[test]
fn unsendable() {
    let fault =
        |exchange: Result<Client, Fault>| assert_eq!(exchange.err(), Some(Fault::Credentials));
    fault(Client::plain("", "", "p"));
    fault(Client::plain("", "u", ""));
    fault(Client::plain("\0", "u", "p"));
    fault(Client::plain("", "u\0", "p"));
    fault(Client::plain("", "u", "p\0"));
    fault(Client::login("", "p"));
    fault(Client::login("u", ""));
    fault(Client::login("u\0", "p"));
    fault(Client::login("u", "\0"));
    fault(Client::external("a\0"));
    fault(Client::x_oauth2("", "t"));
    fault(Client::x_oauth2("u\x01", "t"));
    fault(Client::x_oauth2("u\0", "t"));
    fault(Client::x_oauth2("u", ""));
    fault(Client::x_oauth2("u", "t\x01"));
    fault(Client::x_oauth2("u", "a b"));
    fault(Client::oauth_bearer("u\x01", "h", None, "t"));
    fault(Client::oauth_bearer("u\0", "h", None, "t"));
    fault(Client::oauth_bearer("u", "h\x01", None, "t"));
    fault(Client::oauth_bearer("u", "h h", None, "t"));
    fault(Client::oauth_bearer("u", "h", Some(0), "t"));
    fault(Client::oauth_bearer("u", "h", None, ""));
    fault(Client::oauth_bearer("u", "h", None, "t\r"));
}

/// Mechanisms of one message are asked nothing more.
#[test]
fn unexpected_challenges() {
    for exchange in [Client::plain("", "u", "p"), Client::external("a")] {
        let mut client = exchange.unwrap();
        let first = client.initial().unwrap().to_vec();
        assert_eq!(client.respond(b""), Ok(&*first));
        assert_eq!(client.respond(b""), Err(Fault::Unexpected));
        assert!(client.finish().is_err());
    }
    let mut client = Client::plain("", "u", "p").unwrap();
    assert_eq!(client.respond(&encode("more")), Err(Fault::Unexpected));
    assert_eq!(client.initial(), None);
}

/// Logs have no passwords and no tokens in them.
#[test]
fn nothing_secret_is_printed() {
    let mut printed = String::new();
    for mut server in Mechanism::ALL.map(server) {
        for message in [
            "\0u\0hunter2",
            "user=u\x01auth=Bearer hunter2\x01\x01",
            "n,,\x01auth=Bearer hunter2\x01\x01",
        ] {
            printed += &format!("{:?}", receive(&mut server, message));
            printed += &format!("{server:?}");
        }
    }
    let mut server = Exchange::new(Mechanism::Login);
    let _ = receive(&mut server, "u");
    printed += &format!("{:?}", receive(&mut server, "hunter2"));
    printed += &format!("{:?}", Client::plain("", "u", "hunter2"));
    printed += &format!("{:?}", Client::login("u", "hunter2"));
    #[cfg(feature = "scram")]
    {
        use mailrail_protocol::sasl::{Decoy, ScramSecret};
        let secret = ScramSecret::derive("hunter2", b"hunter2", 1).unwrap();
        printed += &format!(
            "{secret:?} {:?}",
            Decoy::new(*b"hunter2 hunter2 hunter2 hunter2 ")
        );
        printed += &format!("{:?}", Client::scram_sha_256("u", "hunter2", "nonce"));
        assert!(!printed.contains("104, 117, 110"));
    }
    assert!(printed.contains("Password(\"u\")"));
    assert!(!printed.contains("hunter2"), "{printed}");
}

/// Without what it needs, and without the feature, SCRAM is not there.
#[test]
fn scram_without_more() {
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha256Plus] {
        for response in [None, Some(&b"biwsbj11LHI9Yw=="[..])] {
            let mut server = Exchange::new(mechanism);
            let reply = failure(&server.receive(response)).unwrap();
            assert_eq!(reply.code.get(), 504);
        }
    }
    assert_eq!(Mechanism::ScramSha256.is_built(), cfg!(feature = "scram"));
    assert!(Mechanism::Plain.is_built());
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanisms::BUILT.has(mechanism), mechanism.is_built());
    }
}

#[cfg(feature = "scram")]
mod scram {
    use super::*;

    #[test]
    fn client_first() {
        check(
            Mechanism::ScramSha256,
            &[
                &b""[..],
                b"n",
                b"n,,",
                b"n,,n=u",
                b"n,,n=u,",
                b"n,,n=u,r=",
                b"n,,n=,r=c",
                b"n,,r=c,n=u",
                b"n,n=u,r=c",
                b",,n=u,r=c",
                b"x,,n=u,r=c",
                b"n,a=,n=u,r=c",
                b"n,a=b=,n=u,r=c",
                b"n,x,n=u,r=c",
                b"F,n,,n=u,r=c",
                b"n,,m=x,n=u,r=c",
                b"n,,n=u,r=c,m=x",
                b"n,,n=u,r=c,",
                b"n,,n=u,r=c,x",
                b"n,,n=u,r=c,xy=z",
                b"n,,n=u,r=c,1=z",
                b"n,,n=u,r=c,x=",
                b"n,,n=u,r=c,x=\0",
                b"n,,n=u,r=c,x=y,Z=,=",
                b"n,,n=u=,r=c",
                b"n,,n=u=2c,r=c",
                b"n,,n=u=3d,r=c",
                b"n,,n=u=2Dx,r=c",
                b"n,,n=\0,r=c",
                b"n,,n=\x07,r=c",
                b"n,,n=\xff,r=c",
                b"n,,n=u,r=c c",
                b"n,,n=u,r=\x7f",
                b"n,,n=u,r=\xc3\xa4",
                b"N,,n=u,r=c",
                b"n,,N=u,R=c",
                b" n,,n=u,r=c",
            ],
        );
    }

    #[test]
    fn long_nonce() {
        let first = |len| format!("n,,n=u,r={}", "c".repeat(len));
        check(Mechanism::ScramSha256, &[first(1025), first(9000)]);
        let mut server = server(Mechanism::ScramSha256);
        assert_eq!(
            receive(&mut server, first(1024)),
            Step::Secret { user: "u" }
        );
    }

    #[test]
    fn client_first_taken() {
        for (message, user) in [
            ("n,,n=u,r=c", "u"),
            ("y,a=v,n=u,r=c", "u"),
            ("n,,n==2C=3D=3D2C,r=c,x=y,Z==", ",==2C"),
        ] {
            let mut server = server(Mechanism::ScramSha256);
            let step = receive(&mut server, message);
            assert_eq!(step, Step::Secret { user });
        }
    }

    #[test]
    fn client_final() {
        let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for (message, code) in [
            ("", 501),
            ("c=biws,r=cserver", 501),
            ("c=biws,r=cserver,p=", 501),
            ("c=biws,r=cserver,p=AAAA", 501),
            ("c=biws,r=cserver,p=*", 501),
            (&format!("c=biws,p={proof}"), 501),
            (&format!("r=cserver,c=biws,p={proof}"), 501),
            (&format!("c=biws,r=cserver,m=x,p={proof}"), 501),
            (&format!("c=biws,r=cserver,x=,p={proof}"), 501),
            (&format!("c=biws,r=cserver,p={proof},x=y"), 501),
            (&format!("c=biws,r=cserver,p={proof} "), 501),
            // Well formed, and wrong.
            (&format!("c=biws,r=cserver,p={proof}"), 535),
            (&format!("c=biws,r=cserver,x=y,p={proof}"), 535),
            (&format!("c=biws,r=cserve,p={proof}"), 535),
            (&format!("c=biws,r=server,p={proof}"), 535),
            (&format!("c=biws,r=,p={proof}"), 535),
            (&format!("c=eSws,r=cserver,p={proof}"), 535),
            (&format!("c=,r=cserver,p={proof}"), 535),
            (&format!("c=biw=,r=cserver,p={proof}"), 535),
        ] {
            let mut server = server(Mechanism::ScramSha256);
            let _ = receive(&mut server, "n,,n=u,r=c");
            let _ = server.secret(None);
            let reply = failure(&receive(&mut server, message)).unwrap();
            assert_eq!(reply.code.get(), code, "{message}");
        }
    }

    #[test]
    fn server_first() {
        for (message, fault) in [
            ("x", Fault::Malformed),
            ("r=client", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==", Fault::Malformed),
            ("s=c2FsdA==,r=clientserver,i=4096", Fault::Malformed),
            ("m=x,r=clientserver,s=c2FsdA==,i=4096", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=4096,m=x", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=4096,", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=0", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=04096", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=-1", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=", Fault::Malformed),
            ("r=clientserver,s=c2FsdA==,i=4294967296", Fault::Malformed),
            ("r=clientserver,s=,i=4096", Fault::Malformed),
            ("r=clientserver,s=c2FsdA,i=4096", Fault::Malformed),
            ("r=client ,s=c2FsdA==,i=4096", Fault::Malformed),
            ("r=client\u{e4},s=c2FsdA==,i=4096", Fault::Malformed),
            ("e=other-error", Fault::Malformed),
            ("v=AAAA", Fault::Malformed),
            ("r=,s=c2FsdA==,i=4096", Fault::Malformed),
            ("r=client,s=c2FsdA==,i=4096", Fault::Nonce),
            ("r=Clientserver,s=c2FsdA==,i=4096", Fault::Nonce),
            ("r=serverclient,s=c2FsdA==,i=4096", Fault::Nonce),
            ("r=clientserver,s=c2FsdA==,i=1", Fault::Iterations(1)),
            ("r=clientserver,s=c2FsdA==,i=4095", Fault::Iterations(4095)),
            (
                "r=clientserver,s=c2FsdA==,i=1000001",
                Fault::Iterations(1_000_001),
            ),
            (
                "r=clientserver,s=c2FsdA==,i=4294967295",
                Fault::Iterations(u32::MAX),
            ),
        ] {
            let mut client = Client::scram_sha_256("u", "p", "client").unwrap();
            assert_eq!(client.respond(&encode(message)), Err(fault), "{message}");
            assert!(client.finish().is_err());
            assert_eq!(client.respond(&encode("v=AAAA")), Err(Fault::Unexpected));
        }
    }

    /// How many iterations are too few or too many is the caller's choice.
    #[test]
    fn iterations() {
        let first = encode("r=clientserver,s=c2FsdA==,i=100,x=y");
        let client = || Client::scram_sha_256("u", "p", "client").unwrap();
        assert_eq!(client().respond(&first), Err(Fault::Iterations(100)));
        assert!(client().with_iterations(100..=100).respond(&first).is_ok());
        assert!(client().with_iterations(101..=200).respond(&first).is_err());
    }

    #[test]
    fn server_final() {
        for (message, fault) in [
            ("", Fault::Malformed),
            ("v=", Fault::Malformed),
            ("v=AAAA", Fault::Malformed),
            ("x=y", Fault::Malformed),
            (
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,",
                Fault::Malformed,
            ),
            (
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,m=x",
                Fault::Malformed,
            ),
            (
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                Fault::Unproved,
            ),
            ("e=unknown-user", Fault::Refused),
        ] {
            let mut client = Client::scram_sha_256("u", "p", "client")
                .unwrap()
                .with_iterations(1..=1);
            let first = encode("r=clientserver,s=c2FsdA==,i=1");
            client.respond(&first).unwrap();
            assert_eq!(client.respond(&encode(message)), Err(fault), "{message}");
            assert!(client.finish().is_err());
        }
    }

    #[test]
    fn unsendable() {
        let fault = |exchange: Result<Client, Fault>| {
            assert_eq!(exchange.err(), Some(Fault::Credentials));
        };
        fault(Client::scram_sha_256("", "p", "n"));
        fault(Client::scram_sha_256("u", "", "n"));
        fault(Client::scram_sha_256("u\r", "p", "n"));
        fault(Client::scram_sha_256_plus("u", "p", "n", "", b"x"));
        fault(Client::scram_sha_256_plus("u", "p", "n", "a,b", b"x"));
        fault(Client::scram_sha_256_plus(
            "u",
            "p",
            "n",
            "tls-exporter",
            b"",
        ));
        fault(
            Client::scram_sha_256("u", "p", "n")
                .unwrap()
                .with_authorization("\n"),
        );
    }

    #[test]
    #[should_panic(expected = "a nonce is")]
    fn nonce_with_comma() {
        let _ = Client::scram_sha_256("u", "p", "a,b");
    }

    #[test]
    #[should_panic(expected = "a nonce is")]
    fn empty_nonce() {
        let decoy = mailrail_protocol::sasl::Decoy::new([1; 32]);
        let _ = Exchange::new(Mechanism::ScramSha256).with_scram("", &decoy);
    }

    #[test]
    #[should_panic(expected = "no secret was asked for")]
    fn secret_that_nobody_asked_for() {
        let _ = server(Mechanism::ScramSha256).secret(None);
    }
}

#[test]
#[should_panic(expected = "no token is being weighed")]
fn token_that_nobody_weighs() {
    let _ = Exchange::new(Mechanism::XOAuth2).refuse_token("{}");
}
