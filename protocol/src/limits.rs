//! The sizes that the engine's formats have, each with its unit and its reason. What a server may
//! choose for itself (recipients, errors, sizes of messages) is in `server::Limits`; nothing here
//! depends on a configuration.

/// Octets in a command line that is still understood, its CRLF included.
//= RFC 5321 section 4.5.3.1.4: a command line is 512 octets, and each extension may add to it
pub const COMMAND_LINE_LEN_MAX: usize = 2048;

/// Octets in a line of AUTH and of the exchange behind it, its CRLF included.
//= RFC 4954 section 4: 12288 octets are enough for a line of every mechanism in use
pub const AUTH_LINE_LEN_MAX: usize = 12_288;

/// Octets in one line of a reply, its code and CRLF included.
//= RFC 5321 section 4.5.3.1.5: a reply line is at most 512 octets
pub const REPLY_LINE_LEN_MAX: usize = 512;

/// Octets in a whole reply that the server writes; the text behind it is cut off.
pub const REPLY_LEN_MAX: usize = 4096;

/// Lines in a whole reply that the server writes; the text behind it is cut off.
pub const REPLY_LINE_COUNT_MAX: u8 = 128;

/// Octets in the part of a mailbox before the at sign.
//= RFC 5321 section 4.5.3.1.1: a local-part is at most 64 octets
pub const LOCAL_PART_LEN_MAX: usize = 64;

/// Octets in a domain.
//= RFC 5321 section 4.5.3.1.2: a domain is at most 255 octets
pub const DOMAIN_LEN_MAX: usize = 255;

/// Octets in one ASCII label of a domain.
//= RFC 5321 section 4.5.3.1.2: the labels obey the DNS, where one is at most 63 octets
pub const LABEL_LEN_MAX: usize = 63;

/// Octets in a mailbox: both parts and the at sign.
pub const MAILBOX_LEN_MAX: usize = LOCAL_PART_LEN_MAX + 1 + DOMAIN_LEN_MAX;

/// Octets in the value of ENVID.
//= RFC 3461 section 5.4: a server takes an ENVID of at least 100 characters
pub const ENVELOPE_ID_LEN_MAX: usize = 100;

/// Octets in the value of ORCPT.
//= RFC 3461 section 5.4: a server takes an ORCPT of at least 500 characters
pub const ORIGINAL_RECIPIENT_LEN_MAX: usize = 500;

/// Octets in the value of AUTH behind MAIL.
//= RFC 4954 section 3: AUTH adds at most 500 characters to MAIL
pub const SUBMITTER_LEN_MAX: usize = 500;

const _: () = assert!(
    MAILBOX_LEN_MAX + ENVELOPE_ID_LEN_MAX + SUBMITTER_LEN_MAX + REPLY_LINE_LEN_MAX
        < COMMAND_LINE_LEN_MAX
        && MAILBOX_LEN_MAX + ORIGINAL_RECIPIENT_LEN_MAX + REPLY_LINE_LEN_MAX < COMMAND_LINE_LEN_MAX,
    "the longest mailbox and all its parameters must fit in a command line"
);
const _: () = assert!(
    COMMAND_LINE_LEN_MAX <= AUTH_LINE_LEN_MAX && AUTH_LINE_LEN_MAX <= u16::MAX as usize,
    "AUTH only adds to a line, and how far a line was searched is kept in 16 bits"
);
const _: () = assert!(
    REPLY_LINE_LEN_MAX <= REPLY_LEN_MAX,
    "a reply has room for one line at least"
);
