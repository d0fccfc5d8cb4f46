//! What comes before transactions and between them: EHLO, STARTTLS, AUTH, XCLIENT, and questions.

use super::Session;
use crate::client::stage::Phase;
use crate::client::window::Kind;
use crate::client::{Answer, Event, Other, Violation};
use crate::command::write::{self, QUIT, START_TLS};
use crate::extension::{self, Extensions};
use crate::sasl::{Mechanism, base64};
use alloc::vec::Vec;

/// Octets in an AUTH command, its CRLF included; those of the exchange behind it may be longer.
//= RFC 4954 section 4: the command obeys the 512 octets of a command line, whatever the mechanism
const AUTH_LEN_MAX: usize = 512;

impl Session<'_> {
    /// Appends STARTTLS, right after [`Event::Ready`].
    ///
    /// # Panics
    /// If `can_ask` says no, while an answer is outstanding, or if there is TLS already.
    pub fn start_tls(&mut self, out: &mut Vec<u8>) {
        assert!(
            self.can_ask() && self.window.is_empty(),
            "STARTTLS in the middle of something"
        );
        //= RFC 3207 section 4.2: no TLS inside TLS
        assert!(!self.encrypted, "STARTTLS where there is TLS");
        self.send(Kind::StartTls, START_TLS, out);
        //= RFC 3207 section 4: nothing is sent behind STARTTLS before its answer has come
        self.phase = Phase::Opening;
    }

    /// The handshake is done: the dialogue starts again with EHLO.
    ///
    /// # Panics
    /// If no handshake was due.
    pub fn tls_established(&mut self, out: &mut Vec<u8>) {
        assert!(
            self.phase == Phase::Handshake,
            "a handshake that nobody asked for"
        );
        self.encrypted = true;
        self.anew(out);
    }

    /// Appends AUTH, behind [`Event::Ready`] and between transactions, with an initial response (which the session
    /// writes in base64) if there is one. False if that response made the line too long: then it was left
    /// out, and the peer's first challenge, which is empty, is to be answered with it.
    //= RFC 4954 section 4: an initial response that does not fit into the line is not sent with it
    ///
    /// # Panics
    /// If `can_ask` says no, if the peer does not offer the mechanism, or after [`Event::Authenticated`].
    pub fn auth(
        &mut self,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        assert!(self.can_ask(), "AUTH in the middle of something");
        assert!(
            self.extensions.mechanisms().has(mechanism),
            "a mechanism that is not offered"
        );
        //= RFC 4954 section 4: after one success there is no second AUTH
        assert!(!self.authenticated, "a second AUTH");
        let from = out.len();
        out.extend_from_slice(b"AUTH ");
        out.extend_from_slice(mechanism.keyword().as_bytes());
        let fits = initial.is_none_or(|initial| {
            let space = " \r\n".len();
            let initial_len = base64::encoded_len(initial.len()).max(1);
            let fits = out.len() - from + space + initial_len <= AUTH_LEN_MAX;
            match initial {
                _ if !fits => {}
                //= RFC 4954 section 4: an initial response of no octets is written as an equals sign
                [] => out.extend_from_slice(b" ="),
                octets => {
                    out.push(b' ');
                    base64::encode(octets, out);
                }
            }
            fits
        });
        out.extend_from_slice(b"\r\n");
        self.window.push(Kind::Auth, out.len() - from);
        //= RFC 4954 section 4: AUTH is the last of its group, and nothing follows before it has ended
        self.phase = Phase::Opening;
        fits
    }

    /// Appends the answer to [`Event::Challenge`], in base64. It may be empty.
    ///
    /// # Panics
    /// If no challenge waits for an answer.
    pub fn respond(&mut self, response: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        base64::encode(response, out);
        out.extend_from_slice(b"\r\n");
        self.answer_challenge(Kind::Auth, out.len() - from);
    }

    /// Answers [`Event::Challenge`] by giving up; [`Event::AuthRefused`] will follow.
    ///
    /// # Panics
    /// If no challenge waits for an answer.
    //= RFC 4954 section 4: a line with an asterisk alone cancels the exchange
    pub fn cancel_auth(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"*\r\n");
        self.answer_challenge(Kind::AuthCancel, 3);
    }

    fn answer_challenge(&mut self, kind: Kind, len: usize) {
        assert!(self.phase == Phase::Challenged, "an answer to no challenge");
        self.window.push(kind, len);
        self.phase = Phase::Opening;
    }

    /// Appends a command that is no part of a transaction; [`Event::Other`] will tell the answer. Behind
    /// XCLIENT the dialogue begins anew: after a positive answer comes [`Event::Ready`] again.
    ///
    /// Nothing may follow before the answer; XFORWARD alone is followed by more where the peer offers PIPELINING.
    /// NOOP keeps a connection alive between transactions.
    ///
    /// # Panics
    /// If `can_ask` says no.
    pub fn ask(&mut self, other: &Other<'_>, out: &mut Vec<u8>) {
        assert!(self.can_ask(), "a question in the middle of something");
        let kind = match other {
            Other::XClient(_) => Kind::XClient,
            Other::XForward(_) => Kind::XForward,
            _ => Kind::Other,
        };
        let from = out.len();
        other.write(out);
        self.window.push(kind, out.len() - from);
        //= RFC 2920 section 3.1: VRFY, EXPN, NOOP and what is not known are the last of their group
        if kind != Kind::XForward || !self.pipelines() {
            self.phase = Phase::Opening;
        }
    }

    /// EHLO again, as on a new connection.
    fn anew(&mut self, out: &mut Vec<u8>) {
        //= RFC 3207 section 4.2: whatever was learnt before the handshake is forgotten
        self.extensions = Extensions::NONE;
        self.authenticated = false;
        self.stale = false;
        self.phase = Phase::Opening;
        let _ = self.hello(Kind::Hello, out);
    }

    fn hello(&mut self, kind: Kind, out: &mut Vec<u8>) -> Event<'static> {
        let from = out.len();
        if self.config.lmtp {
            //= RFC 2033 section 4.1: LMTP has LHLO in place of HELO and EHLO
            write::lmtp_hello(&self.config.hostname, out);
        } else {
            write::hello(kind == Kind::Hello, &self.config.hostname, out);
        }
        self.window.push(kind, out.len() - from);
        Event::Answered
    }

    fn ready(&mut self) -> Event<'static> {
        self.phase = Phase::Ready;
        Event::Ready(self.extensions)
    }

    /// The answer to one of the commands of this file; `more` if bytes are there behind it.
    pub(super) fn opened<'i>(
        &mut self,
        kind: Kind,
        answer: Answer<'i>,
        more: bool,
        out: &mut Vec<u8>,
    ) -> Event<'i> {
        let positive = answer.is_positive();
        if answer.code.is_intermediate() && kind != Kind::Auth {
            return self.unexpected(kind, answer);
        }
        match kind {
            Kind::Greeting if positive => self.hello(Kind::Hello, out),
            Kind::Hello if positive => {
                self.extensions = extension::parse::parse(answer.lines());
                self.ready()
            }
            //= RFC 5321 section 3.2: a server that does not know EHLO is asked by HELO
            Kind::Hello if answer.code.is_permanent() && !self.config.lmtp => {
                self.hello(Kind::HelloOld, out)
            }
            Kind::HelloOld if positive => self.ready(),
            Kind::StartTls if !positive => {
                self.phase = Phase::Ready;
                Event::TlsRefused(answer)
            }
            //= RFC 3207 section 6: what came in clear text behind the answer must not count as encrypted
            Kind::StartTls if more => self.broken(Violation::BytesBehindStartTls, answer.raw()),
            Kind::StartTls => {
                self.phase = Phase::Handshake;
                Event::Handshake
            }
            Kind::Auth | Kind::AuthCancel => self.auth_answered(kind, answer),
            Kind::XClient if positive => {
                //= https://www.postfix.org/XCLIENT_README.html: 220 is a greeting, and EHLO follows it
                self.anew(out);
                Event::Other(answer)
            }
            Kind::XClient | Kind::XForward | Kind::Other => {
                if self.phase == Phase::Opening && self.window.is_empty() {
                    self.phase = Phase::Ready;
                }
                Event::Other(answer)
            }
            _ => {
                //= RFC 5321 section 3.1: after a refusal the client says QUIT
                out.extend_from_slice(QUIT);
                self.close(answer)
            }
        }
    }

    //= RFC 4954 section 6: 235 is success, 334 a challenge, 4xx and 5xx a refusal; nothing else makes sense
    fn auth_answered<'i>(&mut self, kind: Kind, answer: Answer<'i>) -> Event<'i> {
        match answer.code.get() {
            400.. => {
                self.phase = Phase::Ready;
                Event::AuthRefused(answer)
            }
            235 if kind == Kind::Auth => {
                self.phase = Phase::Ready;
                self.authenticated = true;
                Event::Authenticated(answer)
            }
            334 if kind == Kind::Auth => {
                let mut lines = answer.lines();
                match (lines.next(), lines.next()) {
                    (Some(challenge), None) => {
                        self.phase = Phase::Challenged;
                        Event::Challenge(challenge)
                    }
                    _ => self.unexpected(kind, answer),
                }
            }
            _ => self.unexpected(kind, answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::client::{Config, Event, Session};
    use crate::time::Instant;
    use alloc::vec::Vec;

    #[test]
    fn no_name_breaks_its_line() {
        let mut config = Config::new("a.example");
        config.hostname = "a.example\r\nQUIT".into();
        for lmtp in [false, true] {
            config.lmtp = lmtp;
            let now = Instant::default();
            let (mut session, mut out) = (Session::new(&config, now), Vec::new());
            let event = session.receive(now, &mut &b"220 mx\r\n"[..], &mut out);
            assert_eq!(event, Event::Answered);
            assert_eq!(out.get(1..), Some(&b"HLO a.example??QUIT\r\n"[..]));
        }
    }
}
