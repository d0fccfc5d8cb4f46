//! What a sender asks of time: by when (RFC 2852), not before (RFC 4865), and how urgently
//! (RFC 6710). What follows from it for the queue is not known here.

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

/// Not before this moment.
//= RFC 4865 section 4: HOLDFOR with seconds, or HOLDUNTIL with a moment, and never both
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Hold {
    /// HOLDFOR: seconds from now, of at most nine digits.
    For(u32),
    /// HOLDUNTIL: seconds since the start of 1970, UTC.
    Until(u64),
}

/// MT-PRIORITY: how urgent a message is, from -9 to 9; 0 is usual.
//= RFC 6710 section 4: a number from -9 to 9
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
//= RFC 6710 section 4.1: the keyword may be followed by the name of a profile
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
