//! Handing mail on: connections to other hosts, from the first SYN to the answer behind the last dot.
//!
//! It knows neither queue nor accept: where parcels come from and where outcomes go is the trait
//! [`Source`], which `shard` implements. What an answer means for a recipient is in `outcome`, pure.

mod connect;
mod connection;
mod loaded;
mod outcome;
mod output;
mod security;

pub use connect::{Connected, Host, Target, Unreachable, connect};
pub use connection::{Settings, run};
pub use loaded::Loaded;
pub use outcome::{Bits, Outcome, OwnedAnswer, Part, Report, in_doubt};
pub use security::{Security, Step};

/// A lane's parcels, as its connections see them.
pub trait Source: 'static {
    /// Some recipients of one message.
    type Parcel;

    /// The next parcel, if one is due.
    fn take(&self) -> Option<Self::Parcel>;

    /// The recipients of a parcel: the position of the first of its group, and which of the group.
    fn recipients(&self, parcel: &Self::Parcel) -> Bits;

    /// The message: from memory, or read back.
    fn load(&self, parcel: &Self::Parcel) -> impl Future<Output = Result<Loaded, String>>;

    /// Notes durably that the end of the message is about to be sent to these of the parcel's recipients: only
    /// after that may it leave. Said where [`Settings::records_doubt`] asks for it.
    fn in_doubt(
        &self,
        parcel: &Self::Parcel,
        bits: u128,
    ) -> impl Future<Output = Result<(), String>>;

    /// What became of it.
    fn settle(&self, parcel: Self::Parcel, report: Report);

    /// Nothing was tried: it is due again at once and counts no attempt.
    fn give_back(&self, parcel: Self::Parcel);

    /// Ready when there may be a parcel, or when the server stops.
    fn work(&self) -> impl Future<Output = ()>;

    /// Whether the server stops: no more parcels are taken.
    fn is_stopping(&self) -> bool;
}
