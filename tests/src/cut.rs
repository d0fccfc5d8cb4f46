//! A server whose data lies on a loop device, and whose power can be cut.

use mailrail_runtime::clock;

use crate::loopback::{Kind, Loopback};
use crate::server::Setup;
use crate::tally::Tally;
use crate::{Server, Sink};

/// Bytes of the device; little of it is ever written.
const SIZE: u64 = 512 << 20;

/// A server and the file system that it keeps its data on.
#[derive(Debug)]
pub struct Machine {
    /// The server. It is dropped first: what it has open cannot be unmounted.
    pub server: Server,
    /// Its disk.
    pub disk: Loopback,
}

impl Machine {
    /// Starts a server with its data on a new file system of this kind; `None`, and a message, where none
    /// can be mounted.
    pub fn start(kind: Kind, setup: Setup) -> Option<Self> {
        let disk = Loopback::make(kind, SIZE)?;
        let server = setup.data_dir(&disk.path().join("data")).start();
        Some(Self { server, disk })
    }

    /// Cuts the power, now: nothing that the process or the file system had in memory gets out any more.
    /// Then brings the file system back. The server is off.
    #[track_caller]
    pub fn cut(&mut self, tally: &mut Tally, sink: &Sink) {
        // First it says nothing more: what the senders have read by now is what it has promised.
        self.server.freeze();
        self.disk.shut_down();
        self.server.kill();
        tally.crash(clock::micros(), sink.connection_count());
        self.disk.unmount();
        self.disk.mount();
    }
}
