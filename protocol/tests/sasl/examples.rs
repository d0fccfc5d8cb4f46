//! What the RFCs print, both ways.

use crate::{decode, encode, failure, receive};
use mailrail_protocol::sasl::server::{Exchange, Step};
use mailrail_protocol::sasl::{Mechanism, client};

fn initial(exchange: Result<client::Exchange, client::Fault>) -> Vec<u8> {
    exchange
        .expect("sound")
        .initial()
        .expect("client first")
        .to_vec()
}

//= RFC 4616 section 4: the examples
#[test]
fn plain() {
    for (message, authorization, user, password) in [
        ("\0tim\0tanstaaftanstaaf", "", "tim", "tanstaaftanstaaf"),
        ("Ursel\0Kurt\0xipj3plmq", "Ursel", "Kurt", "xipj3plmq"),
    ] {
        let mut server = Exchange::new(Mechanism::Plain);
        assert_eq!(server.receive(None), Step::Challenge(b""));
        assert_eq!(
            receive(&mut server, message),
            Step::Password {
                authorization,
                user,
                password
            }
        );
        let client = client::Exchange::plain(authorization, user, password);
        assert_eq!(initial(client), message.as_bytes());
    }
}

//= RFC 4954 section 4.1: the examples of PLAIN, with an initial response and without
#[test]
fn plain_in_smtp() {
    let text = b"dGVzdAB0ZXN0ADEyMzQ=";
    let expected = Step::Password {
        authorization: "test",
        user: "test",
        password: "1234",
    };
    let mut server = Exchange::new(Mechanism::Plain);
    assert_eq!(server.receive(Some(text)), expected);
    let mut server = Exchange::new(Mechanism::Plain);
    assert_eq!(server.receive(None), Step::Challenge(b""));
    assert_eq!(server.receive(Some(text)), expected);
}

//= RFC 4954 section 4.1: AUTH EXTERNAL with an initial response of no octets
#[test]
fn external() {
    for authorization in ["", "fred@example.com"] {
        let expected = Step::External { authorization };
        let mut server = Exchange::new(Mechanism::External);
        assert_eq!(receive(&mut server, authorization), expected);
        //= RFC 4422 appendix A.2: the examples, without an initial response
        let mut server = Exchange::new(Mechanism::External);
        assert_eq!(server.receive(None), Step::Challenge(b""));
        assert_eq!(receive(&mut server, authorization), expected);
        assert_eq!(
            initial(client::Exchange::external(authorization)),
            authorization.as_bytes()
        );
    }
}

#[test]
fn login() {
    let mut server = Exchange::new(Mechanism::Login);
    // The prompts as everybody knows them.
    let Step::Challenge(prompt) = server.receive(None) else {
        panic!("a prompt")
    };
    assert_eq!(encode(prompt), b"VXNlcm5hbWU6");
    let Step::Challenge(prompt) = receive(&mut server, "tim") else {
        panic!("a prompt")
    };
    assert_eq!(encode(prompt), b"UGFzc3dvcmQ6");
    assert_eq!(
        receive(&mut server, "secret"),
        Step::Password {
            authorization: "",
            user: "tim",
            password: "secret"
        }
    );
    // With the user on the line of AUTH.
    let mut server = Exchange::new(Mechanism::Login);
    assert_eq!(receive(&mut server, "tim"), Step::Challenge(b"Password:"));

    let mut client = client::Exchange::login("tim", "secret").unwrap();
    assert_eq!(client.initial(), None);
    assert_eq!(client.respond(&encode("User Name\0")), Ok(&b"tim"[..]));
    assert_eq!(client.respond(&encode("Password\0")), Ok(&b"secret"[..]));
    assert_eq!(client.finish(), Ok(()));
    assert_eq!(
        client.respond(&encode("Token:")),
        Err(client::Fault::Unexpected)
    );
    assert_eq!(client.finish(), Err(client::Fault::Unexpected));
}

//= https://developers.google.com/gmail/imap/xoauth2-protocol section "initial client response": the example
const GOOGLE: &str = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";

#[test]
fn x_oauth2() {
    let (user, token) = (
        "someuser@example.com",
        "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
    );
    let mut server = Exchange::new(Mechanism::XOAuth2);
    assert_eq!(
        server.receive(Some(GOOGLE.as_bytes())),
        Step::Token {
            authorization: user,
            host: "",
            port: None,
            token
        }
    );
    let error = r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#;
    assert_eq!(
        server.refuse_token(error),
        Step::Challenge(error.as_bytes())
    );
    assert_eq!(failure(&receive(&mut server, "")).unwrap().code.get(), 535);

    let mut client = client::Exchange::x_oauth2(user, token).unwrap();
    assert_eq!(client.initial(), Some(&*decode(GOOGLE)));
    assert_eq!(client.error(), None);
    assert_eq!(client.respond(&encode(error)), Ok(&b""[..]));
    assert_eq!(client.error(), Some(error.as_bytes()));
    assert_eq!(client.finish(), Err(client::Fault::Refused));
}

//= RFC 7628 section 4.1: the examples, over IMAP and over SMTP
#[test]
fn oauth_bearer() {
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    for (text, port) in [
        (
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
            143,
        ),
        (
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
            587,
        ),
    ] {
        let (user, host) = ("user@example.com", "server.example.com");
        let mut server = Exchange::new(Mechanism::OAuthBearer);
        assert_eq!(
            server.receive(Some(text.as_bytes())),
            Step::Token {
                authorization: user,
                host,
                port: Some(port),
                token
            }
        );
        let client = client::Exchange::oauth_bearer(user, host, Some(port), token);
        assert_eq!(initial(client), decode(text));
    }
}

//= RFC 7628 section 4.3: the exchange in which the client asks for the scope
#[test]
fn oauth_bearer_refused() {
    let mut server = Exchange::new(Mechanism::OAuthBearer);
    let Step::Token { token: "", .. } = server.receive(Some(
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE=",
    )) else {
        panic!("an empty token")
    };
    let error = decode(
        "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=",
    );
    let json = std::str::from_utf8(&error).unwrap();
    assert_eq!(server.refuse_token(json), Step::Challenge(&error));
    let reply = failure(&server.receive(Some(b"AQ=="))).unwrap();
    assert_eq!(reply.code.get(), 535);

    let mut client = client::Exchange::oauth_bearer("user@example.com", "", None, "x").unwrap();
    let answer = client.respond(&encode(&error)).map(encode);
    assert_eq!(answer.as_deref(), Ok(&b"AQ=="[..]));
    assert_eq!(client.error(), Some(&*error));
    assert_eq!(client.finish(), Err(client::Fault::Refused));
}

//= RFC 7628 section 4.4: this example writes "user=" in the header, where section 3.1 has "a="
#[test]
fn oauth_bearer_of_a_wrong_example() {
    let text = b"bix1c2VyPXNvbWV1c2VyQGV4YW1wbGUuY29tLAFhdXRoPUJlYXJlciB2RjlkZnQ0cW1UYzJOdmIzUmxja0JoZEhSaGRtbHpkR0V1WTI5dENnPT0BAQ==";
    let mut server = Exchange::new(Mechanism::OAuthBearer);
    assert_eq!(
        failure(&server.receive(Some(text))).unwrap().code.get(),
        501
    );
}

#[cfg(feature = "scram")]
mod scram {
    use super::*;
    use mailrail_protocol::sasl::{Decoy, ScramSecret};

    //= RFC 7677 section 3: the example
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn secret() -> ScramSecret {
        ScramSecret::derive("pencil", &decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096).unwrap()
    }

    fn server() -> Exchange {
        Exchange::new(Mechanism::ScramSha256)
            .with_scram("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", &Decoy::new([1; 32]))
    }

    #[test]
    fn server_side() {
        for begins in [true, false] {
            let mut server = server();
            if !begins {
                assert_eq!(server.receive(None), Step::Challenge(b""));
            }
            assert_eq!(
                receive(&mut server, CLIENT_FIRST),
                Step::Secret { user: "user" }
            );
            assert_eq!(
                server.secret(Some(&secret())),
                Step::Challenge(SERVER_FIRST.as_bytes())
            );
            assert_eq!(
                receive(&mut server, CLIENT_FINAL),
                Step::Challenge(SERVER_FINAL.as_bytes())
            );
            assert_eq!(
                receive(&mut server, ""),
                Step::Authenticated {
                    authorization: "",
                    user: "user"
                }
            );
        }
    }

    #[test]
    fn client_side() {
        for begins in [true, false] {
            let mut client =
                client::Exchange::scram_sha_256("user", "pencil", "rOprNGfwEbeRWgbNEkqO").unwrap();
            assert_eq!(client.initial(), Some(CLIENT_FIRST.as_bytes()));
            if !begins {
                assert_eq!(client.respond(b""), Ok(CLIENT_FIRST.as_bytes()));
            }
            assert_eq!(
                client.respond(&encode(SERVER_FIRST)),
                Ok(CLIENT_FINAL.as_bytes())
            );
            assert_eq!(client.finish(), Err(client::Fault::Unproved));
            assert_eq!(client.respond(&encode(SERVER_FINAL)), Ok(&b""[..]));
            assert_eq!(client.finish(), Ok(()));
        }
    }

    //= RFC 5802 section 5: a server may be told apart from a false one by its last message alone
    #[test]
    fn false_server() {
        let mut client =
            client::Exchange::scram_sha_256("user", "pencil", "rOprNGfwEbeRWgbNEkqO").unwrap();
        client.respond(&encode(SERVER_FIRST)).unwrap();
        let wrong = SERVER_FINAL.replace("6rri", "7rri");
        assert_eq!(client.respond(&encode(wrong)), Err(client::Fault::Unproved));
        assert!(client.finish().is_err());
    }

    #[test]
    fn error_of_the_server() {
        let mut client =
            client::Exchange::scram_sha_256("user", "pencil", "rOprNGfwEbeRWgbNEkqO").unwrap();
        client.respond(&encode(SERVER_FIRST)).unwrap();
        assert_eq!(
            client.respond(&encode("e=invalid-proof")),
            Err(client::Fault::Refused)
        );
        assert_eq!(client.error(), Some(&b"e=invalid-proof"[..]));
        assert!(client.finish().is_err());
    }

    #[test]
    fn stored_form() {
        let mut stored = Vec::new();
        secret().write(&mut stored);
        let stored = String::from_utf8(stored).unwrap();
        assert_eq!(
            stored,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert_eq!(ScramSecret::parse(&stored), Some(secret()));
        assert!(secret().accepts("pencil"));
        assert!(!secret().accepts("pencil "));
        assert!(!secret().accepts(""));
        for wrong in [
            stored.replace("4096", "0"),
            stored.replace("4096", "04096"),
            stored.replace("256", "1"),
            stored.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
            stored.replace("WG5d", "WG5"),
            stored[..stored.len() - 4].to_owned(),
            format!("{stored} "),
            String::new(),
        ] {
            assert_eq!(ScramSecret::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn underivable() {
        assert_eq!(ScramSecret::derive("", b"salt", 4096), None);
        assert_eq!(ScramSecret::derive("a\x07", b"salt", 4096), None);
        assert_eq!(ScramSecret::derive("pencil", b"", 4096), None);
        assert_eq!(ScramSecret::derive("pencil", b"salt", 0), None);
    }
}
