//! A machine of the world: its disk, and the processes that run on it.

use super::disk::Disk;
use super::executor::{Process, World};
use crate::shard::Place;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

/// A machine. Clones are the same one.
#[derive(Clone)]
pub struct Host(Rc<Inner>);

struct Inner {
    world: World,
    address: IpAddr,
    disk: Disk,
    processes: RefCell<Vec<u64>>,
}

impl Host {
    pub(super) fn new(world: World, address: IpAddr) -> Self {
        let disk = Disk::new(&world);
        Self(Rc::new(Inner {
            world,
            address,
            disk,
            processes: RefCell::default(),
        }))
    }

    /// The address it connects from; every other one leads to the machine that listens there.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Starts a process of one task: a peer, for instance.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Process<()> {
        let process = self.0.world.spawn_on(self, future);
        self.0.processes.borrow_mut().push(process.number());
        process
    }

    /// Starts a process with shards, as [`crate::shard::run`] does; `make` is called on each.
    pub fn start<M, F, Fut>(&self, count: usize, mailbox_len: usize, make: F) -> Process<M>
    where
        M: Send + 'static,
        F: Fn(Place<M>) -> Fut + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let process = self.0.world.start_on(self, count, mailbox_len, make);
        self.0.processes.borrow_mut().push(process.number());
        process
    }

    /// Ends a process at once, as `kill -9` does: its connections break, and what it had handed to its disk
    /// is there, but for requests under way, which may or may not be.
    pub fn kill<M>(&self, process: &Process<M>) {
        self.0.world.end(process.number());
        self.0.disk.process_ended();
    }

    /// Ends all its processes at once, and the disk keeps no more than it must.
    pub fn cut_power(&self) {
        let processes = self.0.processes.take();
        self.0.world.network().power_cut(&processes);
        for process in processes {
            self.0.world.end(process);
        }
        self.0.disk.power_cut();
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("address", &self.0.address)
            .finish_non_exhaustive()
    }
}
