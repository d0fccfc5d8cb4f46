//! A seeded world beside the real one (feature `sim`): its clock, its tasks, its network and its disks.
//!
//! Within [`World::run`] the crate's own names (`shard::spawn`, `timer`, `clock`, `net`, `log`, `random`)
//! mean this world, on the calling thread alone; everywhere else they stay real, in the same build. Nothing
//! in it takes real time, and the same seed gives the same run, so a failure can be repeated by its number.
//!
//! A [`Host`] is a machine: it has addresses and a disk, and processes run on it that can be killed, or that
//! end together when the power is cut. Which faults come when is the caller's to plan, or the seed's.

mod chance;
pub mod disk;
mod executor;
mod host;
pub mod net;
pub(crate) mod sabotage;
mod tasks;

pub use chance::Chance;
pub use executor::{Process, World};
pub use host::Host;
pub use net::{Network, Weather};
pub use sabotage::{Sabotage, leave_out};

pub(crate) use executor::{SimTask, here, is_here};
