//! The replies that this engine and its users give, by name. Which one answers what is decided
//! elsewhere; here stand code, enhanced status and text, each once.

use super::{Code, Reply, Status};

/// Makes the constants, and of the same numbers their documentation.
macro_rules! replies {
    ($($(#[$about:meta])* $name:ident = $code:literal $(($class:literal $subject:literal $detail:literal))? $text:literal;)*) => {
        /// The replies that a server needs day by day.
        impl Reply<'static> {
            $(
                #[doc = concat!("`", $code, $(" ", $class, ".", $subject, ".", $detail,)? " ", $text, "`")]
                ///
                $(#[$about])*
                pub const $name: Self = known($code, known_status!($code $(($class $subject $detail))?), $text);
            )*
        }

        /// All of them with their names.
        #[cfg(test)]
        pub(super) const KNOWN: &[(&str, Reply<'static>)] = &[$((stringify!($name), Reply::$name)),*];
    };
}

/// The enhanced status of a code, its class checked against the code's first digit.
macro_rules! known_status {
    ($code:literal) => {
        None
    };
    ($code:literal ($class:literal $subject:literal $detail:literal)) => {{
        //= RFC 2034 section 4: the class must agree with the reply's first digit
        assert!($code / 100 == $class, "the class is the code's first digit");
        Some(Status::for_code(Code::of($code), $subject, $detail))
    }};
}

const fn known(code: u16, status: Option<Status>, text: &'static str) -> Reply<'static> {
    Reply {
        code: Code::of(code),
        status,
        text: text.as_bytes(),
    }
}

replies! {
    /// To `Connected`: the session puts its host's name in front.
    GREETING = 220 "";
    /// To `Hello`: the session writes its name and its extensions.
    HELLO = 250 "";
    /// To NOOP and RSET, and to whatever else is simply done.
    OK = 250 (2 0 0) "Ok";
    /// To MAIL.
    SENDER_OK = 250 (2 1 0) "Sender ok";
    /// To RCPT.
    RECIPIENT_OK = 250 (2 1 5) "Recipient ok";
    /// To MAIL, where the priority that was asked for is not the one that is given (RFC 6710 section 4.1).
    PRIORITY_CHANGED = 250 (2 3 6) "Sender ok, with another priority";
    /// To DATA.
    START_DATA = 354 "End data with <CR><LF>.<CR><LF>";
    /// To `EndOfData`.
    QUEUED = 250 (2 0 0) "Queued";
    /// To `EndOfData` and `EndOfDataFor`: it lies in the mailbox, as an LMTP server says.
    DELIVERED = 250 (2 1 5) "Delivered";
    /// To QUIT.
    BYE = 221 (2 0 0) "Bye";
    /// To VRFY, where nobody is told who has a mailbox here (RFC 5321 section 3.5.3).
    CANNOT_VERIFY = 252 (2 5 2) "Cannot verify, but will take mail and try to deliver it";
    /// To HELP.
    HELP = 214 (2 0 0) "See RFC 5321";
    /// To STARTTLS (RFC 3207 section 4).
    START_TLS = 220 (2 0 0) "Ready to start TLS";
    /// To AUTH and the responses behind it (RFC 4954 section 6).
    AUTHENTICATED = 235 (2 7 0) "Authentication succeeded";
    /// To ETRN, where the queue for this node is being sent (RFC 1985 section 5.1).
    QUEUE_STARTED = 250 (2 0 0) "Queuing started";
    /// To ETRN, where nothing waits for this node (RFC 1985 section 5.1).
    NOTHING_WAITS = 251 (2 0 0) "No messages waiting";
    /// To ETRN, where messages wait (RFC 1985 section 5.1).
    MESSAGES_WAIT = 252 (2 0 0) "Pending messages";

    /// This host stops.
    SHUTTING_DOWN = 421 (4 3 2) "Shutting down, try again later";
    /// The peer was silent for too long (RFC 5321 section 4.5.3.2).
    TIMED_OUT = 421 (4 4 2) "Too long without a command";
    /// The peer made too many mistakes (RFC 5321 section 4.3.2).
    TOO_MANY_ERRORS = 421 (4 7 0) "Too many errors";
    /// Commands, but never a message.
    TOO_MANY_COMMANDS = 421 (4 7 0) "Too many commands without a message";
    /// In place of a greeting.
    TOO_MANY_CONNECTIONS = 421 (4 3 2) "Too many connections";
    /// A body trickled in for too long.
    TOO_LONG_BODY_TIME = 421 (4 4 2) "Too long for one message";
    /// What follows a refusal within a body is too much to be read to its end.
    UNSWALLOWED = 421 (4 3 0) "Too much data behind a refusal";
    /// The account must be set up for this mechanism first (RFC 4954 section 6).
    PASSWORD_TRANSITION_NEEDED = 432 (4 7 12) "A password transition is needed";
    /// The mailbox is in use, or policy asks to come again (RFC 5321 section 4.2.2).
    MAILBOX_BUSY = 450 (4 2 0) "Mailbox unavailable, try again later";
    /// Greylisting: come again later.
    COME_AGAIN = 450 (4 7 1) "Not now, try again later";
    /// A priority this low waits for another time (RFC 6710 section 4.1).
    PRIORITY_TOO_LOW_NOW = 450 (4 7 15) "Priority level is too low now";
    /// Our own mistake or a broken device.
    LOCAL_ERROR = 451 (4 3 0) "Local error, try again later";
    /// Nothing of this domain can be looked up now.
    LOOKUP_FAILED = 451 (4 4 3) "Name lookup failed, try again later";
    /// No room for the message.
    STORAGE_FULL = 452 (4 3 1) "Not enough storage, try again later";
    /// This mailbox has no room.
    MAILBOX_FULL = 452 (4 2 2) "Mailbox full, try again later";
    /// The transaction has all the recipients it may have (RFC 5321 section 4.5.3.1.10, RFC 9422 section 4.2).
    TOO_MANY_RECIPIENTS = 452 (4 5 3) "Too many recipients";
    /// The connection has had all the transactions it may have (RFC 9422 section 4.1).
    TOO_MANY_MAILS = 452 (4 5 3) "Too many messages on this connection";
    /// The recipients are of more domains than they may be (RFC 9422 section 4.3).
    TOO_MANY_DOMAINS = 452 (4 5 3) "Too many recipient domains";
    /// To STARTTLS (RFC 3207 section 4).
    TLS_UNAVAILABLE = 454 (4 7 0) "TLS is not available now";
    /// The password store does not answer (RFC 4954 section 6).
    TEMPORARY_AUTH_FAILURE = 454 (4 7 0) "Temporary authentication failure";
    /// A parameter is known, but cannot be honoured now (RFC 5321 section 4.2.2).
    PARAMETERS_NOT_NOW = 455 (4 5 0) "Unable to accommodate the parameters now";
    /// To ETRN, where this node's queue cannot be sent now (RFC 1985 section 5.1).
    QUEUE_NOT_STARTED = 458 (4 3 0) "Unable to queue messages for this node";
    /// To ETRN, where this node may not ask (RFC 1985 section 5.1).
    NODE_NOT_ALLOWED = 459 (4 7 0) "This node is not allowed";

    /// A verb that is not known.
    UNKNOWN_COMMAND = 500 (5 5 1) "Unknown command";
    /// A line that is no command.
    BAD_LINE = 500 (5 5 2) "Syntax error";
    /// A command line above its limit (RFC 5321 section 4.5.3.1.4).
    LINE_TOO_LONG = 500 (5 5 2) "Line too long";
    /// A response of AUTH above its limit (RFC 4954 section 4).
    AUTH_LINE_TOO_LONG = 500 (5 5 6) "Authentication exchange line is too long";
    /// A command line that ends with LF alone (RFC 5321 section 2.3.8).
    BARE_LF = 500 (5 5 2) "Lines end with CRLF";
    /// An argument or a parameter's value that breaks its grammar.
    BAD_ARGUMENT = 501 (5 5 4) "Syntax error in the arguments";
    /// A reverse-path that breaks the grammar.
    BAD_SENDER = 501 (5 1 7) "Bad sender address syntax";
    /// A forward-path that breaks the grammar.
    BAD_RECIPIENT = 501 (5 1 3) "Bad recipient address syntax";
    /// A response of AUTH that is not base64 (RFC 4954 section 4).
    BAD_BASE64 = 501 (5 5 2) "Not base64";
    /// To a response of `*`: the client gave up (RFC 4954 section 4).
    AUTH_CANCELLED = 501 (5 7 0) "Authentication cancelled";
    /// A response of AUTH that its mechanism does not know.
    BAD_RESPONSE = 501 (5 5 2) "Malformed authentication response";
    /// HOLDFOR or HOLDUNTIL beyond what is offered, or in the past (RFC 4865 section 4.2).
    HOLD_OUT_OF_RANGE = 501 (5 5 4) "Message cannot be held for that long";
    /// BY=0 or less, and a return is asked for (RFC 2852 section 4.1).
    DELIVER_BY_PASSED = 501 (5 5 4) "The time for delivery has passed";
    /// MT-PRIORITY that is no priority, or comes twice (RFC 6710 section 4.1).
    BAD_PRIORITY = 501 (5 5 2) "Syntax error in the priority";
    /// A command that is known, but not done here.
    NOT_IMPLEMENTED = 502 (5 5 1) "Command not implemented";
    /// A command out of order.
    BAD_SEQUENCE = 503 (5 5 1) "Bad sequence of commands";
    /// No transaction before EHLO or HELO.
    NEED_HELLO = 503 (5 5 1) "Say EHLO or HELO first";
    /// RCPT without a transaction.
    NEED_MAIL = 503 (5 5 1) "Say MAIL first";
    /// MAIL within a transaction.
    NESTED_MAIL = 503 (5 5 1) "The sender is already given";
    /// DATA or BDAT without RCPT.
    NEED_RECIPIENT = 503 (5 5 1) "Say RCPT first";
    /// DATA for a message of BODY=BINARYMIME, or behind BDAT (RFC 3030 sections 2 and 3).
    NOT_BY_DATA = 503 (5 5 1) "This message must be sent by BDAT";
    /// AUTH once more (RFC 4954 section 4).
    ALREADY_AUTHENTICATED = 503 (5 5 1) "Already authenticated";
    /// STARTTLS within TLS (RFC 3207 section 4.2).
    ALREADY_TLS = 503 (5 5 1) "TLS is already in use";
    /// Behind a greeting of 554 (RFC 5321 section 3.1).
    NO_SERVICE = 503 (5 5 1) "No service here: QUIT";
    /// AUTH of a mechanism that is not offered (RFC 4954 section 4).
    UNKNOWN_MECHANISM = 504 (5 5 4) "Unknown authentication mechanism";
    /// A parameter's value that is not done here (RFC 5321 section 4.2.2).
    PARAMETER_NOT_IMPLEMENTED = 504 (5 5 4) "Command parameter not implemented";
    /// To RCPT, where the domain takes no mail at all (RFC 7504 section 4, RFC 7505 section 4.2).
    DOMAIN_TAKES_NO_MAIL = 556 (5 1 10) "Recipient address has a null MX";
    /// A command that asks for authentication first (RFC 4954 section 6).
    AUTHENTICATION_REQUIRED = 530 (5 7 0) "Authentication required";
    /// A command that asks for STARTTLS first (RFC 3207 section 4).
    TLS_REQUIRED = 530 (5 7 0) "Must issue a STARTTLS command first";
    /// This mechanism is too weak for this user (RFC 4954 section 6).
    MECHANISM_TOO_WEAK = 534 (5 7 9) "Authentication mechanism is too weak";
    /// The name or its secret is wrong; which one is not told (RFC 4954 section 6).
    BAD_CREDENTIALS = 535 (5 7 8) "Authentication credentials invalid";
    /// This mechanism may be used within TLS alone (RFC 4954 section 6).
    ENCRYPTION_NEEDED = 538 (5 7 11) "Encryption required for requested authentication mechanism";
    /// No such mailbox.
    NO_SUCH_USER = 550 (5 1 1) "No such user";
    /// Not of this host, and not to be relayed.
    RELAY_DENIED = 550 (5 7 1) "Relaying denied";
    /// Policy says no.
    REFUSED_BY_POLICY = 550 (5 7 1) "Refused by policy";
    /// A priority this low is not taken (RFC 6710 section 4.1).
    PRIORITY_TOO_LOW = 550 (5 7 15) "Priority level is too low";
    /// REQUIRETLS, and the next host does not have it (RFC 8689 section 4.2.1).
    REQUIRE_TLS_UNSUPPORTED = 550 (5 7 30) "REQUIRETLS support required";
    /// REQUIRETLS on a connection without TLS (RFC 8689 section 2).
    REQUIRE_TLS_WITHOUT_TLS = 530 (5 7 10) "REQUIRETLS needs TLS";
    /// A body that breaks the rule of RFC 5321 section 2.3.8.
    // 5.6.11 is in no registry, but Exchange says it of the same, so operators know what to look for.
    BAD_LINE_ENDS = 550 (5 6 11) "Bare CR or LF, or NUL, in the message";
    /// A body with a line above its limit (RFC 5321 section 4.5.3.1.6).
    LINE_OF_TEXT_TOO_LONG = 550 (5 6 0) "A line of the message is too long";
    /// A header in UTF-8 that cannot go on without SMTPUTF8 (RFC 6531 section 3.5).
    UTF8_HEADER_REFUSED = 554 (5 6 9) "UTF-8 header message cannot be transferred";
    /// SIZE or the body is above the limit (RFC 1870 section 6).
    TOO_LARGE = 552 (5 3 4) "Message too large";
    /// A message this large needs a higher priority (RFC 6710 section 4.1).
    TOO_LARGE_FOR_PRIORITY = 552 (5 7 16) "Message is too big for the specified priority";
    /// To MAIL, where an address beyond ASCII comes without SMTPUTF8 (RFC 6531 section 3.5).
    SENDER_NEEDS_SMTPUTF8 = 550 (5 6 7) "A UTF-8 address needs SMTPUTF8";
    /// To RCPT, where an address beyond ASCII comes in a transaction without SMTPUTF8 (RFC 6531 section 3.5).
    NEED_SMTPUTF8 = 553 (5 6 7) "A UTF-8 address needs SMTPUTF8";
    /// A reply to VRFY or EXPN would hold UTF-8, and SMTPUTF8 was not given (RFC 6531 section 3.7.4.2).
    NEED_SMTPUTF8_REPLY = 550 (5 6 8) "UTF-8 string reply is required, but not permitted";
    /// DATA or BDAT, and every recipient was refused (RFC 5321 section 3.3).
    NO_VALID_RECIPIENTS = 554 (5 5 1) "No valid recipients";
    /// The message has been here before (RFC 5321 section 6.3).
    LOOP_DETECTED = 554 (5 4 6) "Too many hops";
    /// In place of a greeting (RFC 5321 section 3.1).
    NO_MAIL_HERE = 554 (5 3 2) "No mail service here";
    /// Octets behind STARTTLS that were sent in plain text.
    DATA_BEHIND_STARTTLS = 554 (5 7 0) "Data behind STARTTLS";
    /// Octets of a body that is not what was announced (RFC 6152 section 3).
    EIGHT_BIT_UNANNOUNCED = 554 (5 6 1) "8-bit data without BODY=8BITMIME";
    /// The message cannot be made fit for the next host (RFC 3030 section 3, RFC 6152 section 3).
    CONVERSION_NEEDED = 554 (5 6 3) "Conversion required but not supported";
    /// A parameter that was not offered (RFC 5321 section 4.1.1.11).
    BAD_PARAMETER = 555 (5 5 4) "Parameter not recognized or not implemented";
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_fits_in_one_line() {
        for (name, reply) in KNOWN {
            let mut out = Vec::new();
            reply.write(&mut out);
            let lines = out.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(lines, 1, "{name}");
            assert!(out.len() <= 80, "{name} is {} octets", out.len());
        }
    }

    #[test]
    fn a_status_where_there_may_be_one() {
        for (name, reply) in KNOWN {
            let bare = ["GREETING", "HELLO", "START_DATA"].contains(name);
            assert_eq!(reply.status.is_none(), bare, "{name}");
        }
    }
}
