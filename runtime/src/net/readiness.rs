//! Which sockets of a shard are ready: one epoll instance, edge-triggered, that every socket is given to once.
//!
//! glommio waits for a socket by a request to the ring for each wait: a request, its completion, the
//! bookkeeping of both, and one more turn of its loop. Half of a relayed message's calls into the kernel beside
//! the sockets' own came from there. Here a wait costs a flag and a waker, and one call asks for all
//! sockets at once. glommio is asked to wait only when the shard has nothing to do at all: for the epoll
//! instance itself (`Bed`).
//!
//! Nothing is read or written here, and nothing decided but who is woken; `courtesy` says when to look.

use crate::shard::courtesy;
use futures_lite::io::AsyncRead;
use glommio::net::TcpStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Sockets that are told of in one call.
const EVENTS_MAX: usize = 128;

/// A socket of this shard, and what is known of it.
#[derive(Debug)]
pub(crate) struct Socket(Rc<Ends>);

struct Ends {
    /// Where it stands in the registry.
    place: Cell<u32>,
    /// It may have something to read: set by the kernel's word, unset by whoever found nothing more.
    is_readable: Cell<bool>,
    /// It may have room.
    is_writable: Cell<bool>,
    /// The peer has ended its direction, or the connection failed: this is never told again, so from now
    /// on only the socket's own answers count.
    is_over: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
    descriptor: OwnedFd,
}

impl Socket {
    /// Takes a socket, non-blocking, over. `is_writable`: it is known to be connected, and has room.
    pub(crate) fn adopt(descriptor: OwnedFd, is_writable: bool) -> io::Result<Self> {
        let ends = Ends::new(descriptor, is_writable);
        let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
        registry()?.enter(&ends, all)?;
        Ok(Self(ends))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor.as_fd()
    }

    /// Whether reading is worth a try; if not, the task is woken when it is.
    pub(crate) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        wait(&self.0.is_readable, &self.0.reader, context)
    }

    /// As [`Socket::poll_readable`], for writing.
    pub(crate) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        wait(&self.0.is_writable, &self.0.writer, context)
    }

    /// Forgets what it knows: the next call asks the socket itself.
    pub(crate) fn doubt(&self) {
        self.0.is_readable.set(true);
        self.0.is_writable.set(true);
    }

    /// A read found nothing, or less than it had room for: it took all there was, and what comes later is
    /// told. The end of the stream is told but once, and may have been told before this read.
    pub(crate) fn is_drained(&self) {
        self.0.is_readable.set(self.0.is_over.get());
    }

    /// A read found nothing at all.
    pub(crate) fn is_empty(&self) {
        self.0.is_readable.set(false);
    }

    /// A write found no room.
    pub(crate) fn is_full(&self) {
        self.0.is_writable.set(false);
    }
}

/// Something else that the shard must not sleep over: it is woken when there is something to read.
#[derive(Debug)]
pub(crate) struct Watched(#[expect(dead_code, reason = "held, so that it stays watched")] Socket);

impl Watched {
    /// Takes the descriptor over.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let ends = Ends::new(descriptor, false);
        registry()?.enter(&ends, EventFlags::IN)?;
        Ok(Self(Socket(ends)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ends = &self.0;
        // The thread may be ending and its registry gone. The descriptor's closing takes it out of epoll.
        let _ = REGISTRY.try_with(|registry| {
            if let Some(registry) = &*registry.borrow() {
                registry.leave(ends.place.get());
            }
        });
        drop((ends.reader.take(), ends.writer.take()));
    }
}

fn wait(is_ready: &Cell<bool>, waiting: &Cell<Option<Waker>>, context: &Context<'_>) -> Poll<()> {
    if is_ready.get() {
        return Poll::Ready(());
    }
    let waker = match waiting.take() {
        Some(waker) if waker.will_wake(context.waker()) => waker,
        _ => context.waker().clone(),
    };
    waiting.set(Some(waker));
    Poll::Pending
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends")
            .field("descriptor", &self.descriptor)
            .field("is_readable", &self.is_readable)
            .field("is_writable", &self.is_writable)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

/// The sockets of a shard.
struct Registry {
    epoll: OwnedFd,
    places: RefCell<Places>,
    events: RefCell<Vec<Event>>,
}

/// Each socket has a place, and the kernel says its number. A place that was left gets another generation,
/// so that what was told of its last socket is not taken for its next one's.
#[derive(Default)]
struct Places {
    all: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    ends: Option<Rc<Ends>>,
}

thread_local! {
    static REGISTRY: RefCell<Option<Rc<Registry>>> = const { RefCell::new(None) };
}

fn registry() -> io::Result<Rc<Registry>> {
    REGISTRY.with_borrow_mut(|registry| {
        if let Some(registry) = registry {
            return Ok(Rc::clone(registry));
        }
        let new = Rc::new(Registry {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            places: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS_MAX)),
        });
        *registry = Some(Rc::clone(&new));
        Ok(new)
    })
}

impl Registry {
    fn enter(&self, ends: &Rc<Ends>, flags: EventFlags) -> io::Result<()> {
        let mut places = self.places.borrow_mut();
        let index = places.free.pop().unwrap_or_else(|| {
            places.all.push(Place::default());
            places.all.len() as u32 - 1
        });
        let place = &mut places.all[index as usize];
        let name = u64::from(place.generation) << 32 | u64::from(index);
        let (name, flags) = (EventData::new_u64(name), flags | EventFlags::ET);
        if let Err(error) = epoll::add(&self.epoll, &ends.descriptor, name, flags) {
            places.free.push(index);
            return Err(error.into());
        }
        place.ends = Some(Rc::clone(ends));
        ends.place.set(index);
        drop(places);
        courtesy::is_due();
        Ok(())
    }

    fn leave(&self, index: u32) {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.all.get_mut(index as usize) else {
            return;
        };
        place.generation = place.generation.wrapping_add(1);
        let ends = place.ends.take();
        places.free.push(index);
        drop(places);
        drop(ends);
    }

    fn of(&self, name: u64) -> Option<Rc<Ends>> {
        let places = self.places.borrow();
        let place = places.all.get(name as u32 as usize)?;
        (place.generation == (name >> 32) as u32)
            .then(|| place.ends.clone())
            .flatten()
    }

    fn look(&self) -> usize {
        let mut events = self.events.take();
        events.clear();
        // An interrupted call is made again at the next look.
        let _ = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&Timespec::default()),
        );
        let mut count = 0;
        for event in &events {
            if let Some(ends) = self.of(event.data.u64()) {
                count += ends.tell(event.flags);
            }
        }
        self.events.replace(events);
        count
    }
}

impl Ends {
    fn new(descriptor: OwnedFd, is_writable: bool) -> Rc<Self> {
        Rc::new(Self {
            place: Cell::new(u32::MAX),
            is_readable: Cell::new(false),
            is_writable: Cell::new(is_writable),
            is_over: Cell::new(false),
            reader: Cell::new(None),
            writer: Cell::new(None),
            descriptor,
        })
    }

    /// What the kernel says of the socket. How many tasks were woken.
    fn tell(&self, flags: EventFlags) -> usize {
        let over = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        let is_over = flags.intersects(over);
        let mut count = 0;
        if is_over {
            self.is_over.set(true);
        }
        if is_over || flags.contains(EventFlags::IN) {
            self.is_readable.set(true);
            count += wake(&self.reader);
        }
        if is_over || flags.contains(EventFlags::OUT) {
            self.is_writable.set(true);
            count += wake(&self.writer);
        }
        count
    }
}

fn wake(waiting: &Cell<Option<Waker>>) -> usize {
    match waiting.take() {
        Some(waker) => {
            waker.wake();
            1
        }
        None => 0,
    }
}

/// Asks the kernel which sockets have become ready, and wakes who waits for them; how many those are.
pub(crate) fn look() -> usize {
    let registry = REGISTRY.with_borrow(Option::clone);
    registry.map_or(0, |registry| registry.look())
}

/// Where the shard's sockets are waited for while the shard sleeps.
#[derive(Debug, Default)]
pub(crate) struct Bed {
    /// glommio waits for readability only as part of a read from a stream: the read of an epoll instance fails
    /// at once, but not before the wait that its stream begins with is over.
    epoll: Option<TcpStream>,
}

impl Bed {
    /// Lets the task be woken when a socket has become ready, also when one is already.
    pub(crate) fn lie_down(&mut self, context: &mut Context<'_>) {
        let has_fired = match &mut self.epoll {
            Some(epoll) => Pin::new(epoll).poll_read(context, &mut [0]).is_ready(),
            None => true,
        };
        if !has_fired {
            return;
        }
        // Without a descriptor for it, it is tried again when the next socket comes.
        self.epoll = registry().ok().and_then(|registry| {
            let twin = registry.epoll.try_clone().ok()?;
            // SAFETY: the descriptor is open and owned by nobody else after the call.
            Some(unsafe { TcpStream::from_raw_fd(twin.into_raw_fd()) })
        });
        if let Some(epoll) = &mut self.epoll {
            // It has just begun to wait, so there is no answer yet.
            let _ = Pin::new(epoll).poll_read(context, &mut [0]);
        }
    }
}
