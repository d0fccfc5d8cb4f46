//! What a sender asks of time: by when (RFC 2852 section 4), not before (RFC 4865 section 3), and
//! how urgently (RFC 6710 section 3). What follows from it for the queue is not known here.

use crate::ascii;

/// BY: by when a message shall be delivered.
//= RFC 2852 section 4: BY=seconds;mode and perhaps T
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct DeliverBy {
    /// Seconds from now, of at most nine digits; negative where the time has passed and `notify` holds.
    pub seconds: i32,
    /// N: tell the sender that it is late, and go on. Otherwise R: give it back.
    pub notify: bool,
    /// T: tell the sender of every host on the way.
    pub trace: bool,
}

impl DeliverBy {
    /// Reads a value; whether its time goes with its mode is not asked here.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let at = value.iter().position(|&octet| octet == b';')?;
        let (time, mode) = value.split_at_checked(at)?;
        let (negative, digits) = match time {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        //= RFC 2852 section 4: by-time has one to nine digits
        let number = (digits.len() <= 9)
            .then(|| ascii::parse_decimal(digits))
            .flatten()?;
        let number = i32::try_from(number).ok()?;
        let (notify, trace) = match mode {
            b";N" | b";n" => (true, false),
            b";R" | b";r" => (false, false),
            [b';', b'N' | b'n', b'T' | b't'] => (true, true),
            [b';', b'R' | b'r', b'T' | b't'] => (false, true),
            _ => return None,
        };
        Some(Self {
            seconds: if negative { -number } else { number },
            notify,
            trace,
        })
    }
}

/// Not before this moment.
//= RFC 4865 section 3: HOLDFOR with seconds, or HOLDUNTIL with a moment, and never both
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Hold {
    /// HOLDFOR: seconds from now, of at most nine digits.
    For(u32),
    /// HOLDUNTIL: seconds since the start of 1970, UTC.
    Until(u64),
}

/// MT-PRIORITY: how urgent a message is, from -9 to 9; 0 is usual.
//= RFC 6710 section 3: a number from -9 to 9
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct Priority(i8);

impl Priority {
    /// `None` outside -9 to 9.
    #[must_use]
    pub const fn new(value: i8) -> Option<Self> {
        if value >= -9 && value <= 9 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i8 {
        self.0
    }
}

/// The name that a server gives to the way it uses priorities.
//= RFC 6710 section 3: the keyword may be followed by the name of a policy
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[non_exhaustive]
pub enum PriorityProfile {
    /// None named, or one that is not known here.
    #[default]
    Unnamed,
    /// MIXER
    Mixer,
    /// STANAG4406
    Stanag4406,
    /// NSEP
    Nsep,
}

impl PriorityProfile {
    /// All that have a name.
    const NAMED: [Self; 3] = [Self::Mixer, Self::Stanag4406, Self::Nsep];

    /// The word that names it; empty where none does.
    //= RFC 6710 section 9.2: MIXER, STANAG4406 and NSEP are registered
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Unnamed => "",
            Self::Mixer => "MIXER",
            Self::Stanag4406 => "STANAG4406",
            Self::Nsep => "NSEP",
        }
    }

    /// The profile that `word` names, in any case; `Unnamed` if it is not known here.
    #[must_use]
    pub fn of(word: &[u8]) -> Self {
        Self::NAMED
            .into_iter()
            .find(|known| known.keyword().as_bytes().eq_ignore_ascii_case(word))
            .unwrap_or_default()
    }
}
