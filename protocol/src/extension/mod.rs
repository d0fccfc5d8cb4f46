//! The service extensions that the two sides know, as a set. How a set is announced, and how an
//! announcement is read, is in the two files below.

pub mod advertise;
pub mod parse;

/// A service extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Extension {
    /// RFC 2920 section 2
    Pipelining,
    /// RFC 1870 section 3
    Size,
    /// RFC 6152 section 2
    EightBitMime,
    /// RFC 2034 section 3
    EnhancedStatusCodes,
    /// RFC 3030 section 2
    Chunking,
    /// RFC 6531 section 3.1
    SmtpUtf8,
    /// RFC 3207 section 2
    StartTls,
    /// RFC 3461 section 2
    Dsn,
    /// RFC 4954 section 3; which mechanisms it has is not kept here.
    Auth,
}

impl Extension {
    /// All that are known, in the order in which they are announced.
    pub const ALL: [Self; 9] = [
        Self::Pipelining,
        Self::Size,
        Self::EightBitMime,
        Self::EnhancedStatusCodes,
        Self::Chunking,
        Self::SmtpUtf8,
        Self::StartTls,
        Self::Dsn,
        Self::Auth,
    ];

    /// The word that announces it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Chunking => "CHUNKING",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
            Self::Dsn => "DSN",
            Self::Auth => "AUTH",
        }
    }
}

/// A set of extensions, with what SIZE says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct Extensions {
    bits: u16,
    /// Octets; 0 where no limit is named.
    size_max: u64,
}

impl Extensions {
    /// None at all: what HELO leaves.
    pub const NONE: Self = Self {
        bits: 0,
        size_max: 0,
    };

    /// The same set and `extension`.
    #[must_use]
    pub const fn with(mut self, extension: Extension) -> Self {
        self.bits |= 1 << extension as u8;
        self
    }

    /// The same set without `extension`.
    #[must_use]
    pub const fn without(mut self, extension: Extension) -> Self {
        self.bits &= !(1 << extension as u8);
        self
    }

    /// The same set and SIZE, with this limit in octets; 0 names none.
    //= RFC 1870 section 4: zero says that there is no fixed maximum
    #[must_use]
    pub const fn with_size_max(mut self, size_max: u64) -> Self {
        self.size_max = size_max;
        self.with(Extension::Size)
    }

    /// Is `extension` in the set?
    #[must_use]
    pub const fn has(&self, extension: Extension) -> bool {
        self.bits & (1 << extension as u8) != 0
    }

    /// The size in octets that SIZE names as the limit of a message.
    #[must_use]
    pub const fn size_max(&self) -> Option<u64> {
        if self.has(Extension::Size) && self.size_max != 0 {
            Some(self.size_max)
        } else {
            None
        }
    }
}
