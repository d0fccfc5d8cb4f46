//! Which sockets of a shard are ready: one epoll instance, edge-triggered, that every socket is given to once.
//!
//! glommio waits for a socket by a request to the ring for each wait: a request, its completion, the
//! bookkeeping of both, and one more turn of its loop. Half of a relayed message's calls into the kernel beside
//! the sockets' own came from there. Here a wait costs a flag and a waker, and one call asks for all
//! sockets at once. glommio is asked to wait only when the shard has nothing to do at all: for the epoll
//! instance itself (`Bed`).
//!
//! Nothing is read or written here, and nothing decided but who is woken; `courtesy` says when to look.

use crate::clock;
use crate::shard::courtesy;
use crate::timer::Alarm;
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
/// How long the shard sleeps when it cannot be woken by its sockets.
const NAP_MICROS: u64 = 10_000;

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

    /// Waits so long, if nothing is there.
    fn look(&self, wait: &Timespec) -> usize {
        let mut events = self.events.take();
        events.clear();
        // An interrupted call is made again at the next look.
        let _ = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(wait),
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
    registry.map_or(0, |registry| registry.look(&Timespec::default()))
}

/// As [`look`], but the whole shard waits until a socket is ready or something else that is watched has come, up to
/// so many milliseconds.
pub(crate) fn nap(millis: u32) -> usize {
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(millis) * 1_000_000,
    };
    let registry = REGISTRY.with_borrow(Option::clone);
    registry.map_or(0, |registry| registry.look(&wait))
}

/// The shard ends: whoever still waits is let go, and with it the socket that it has. A waker that stays here
/// would keep its task, and the task its socket.
pub(crate) fn end() {
    let Some(registry) = REGISTRY.with_borrow(Option::clone) else {
        return;
    };
    let places = registry.places.borrow();
    let all: Vec<Rc<Ends>> = places
        .all
        .iter()
        .filter_map(|place| place.ends.clone())
        .collect();
    drop(places);
    for ends in all {
        drop((ends.reader.take(), ends.writer.take()));
    }
}

/// Where the shard's sockets are waited for while the shard sleeps.
#[derive(Debug, Default)]
pub(crate) struct Bed {
    /// glommio waits for readability only as part of a read from a stream: the read of an epoll instance fails
    /// at once, but not before the wait that its stream begins with is over.
    epoll: Option<TcpStream>,
    /// Rings where there is none.
    alarm: Option<Alarm>,
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
        // It goes first, since the next one may have to take its descriptor.
        self.epoll = None;
        self.alarm = None;
        self.epoll = registry().ok().and_then(|registry| {
            let twin = registry.epoll.try_clone().ok()?;
            // SAFETY: the descriptor is open and owned by nobody else after the call.
            Some(unsafe { TcpStream::from_raw_fd(twin.into_raw_fd()) })
        });
        match &mut self.epoll {
            Some(epoll) => {
                // It has just begun to wait, so there is no answer yet.
                let _ = Pin::new(epoll).poll_read(context, &mut [0]);
            }
            // The process has no descriptor left for it: those that have a connection are served all the same.
            None => {
                let soon = clock::micros() + NAP_MICROS;
                let _ = self.alarm.insert(Alarm::new()).is_due(soon, context);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pair() -> (Socket, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Socket::adopt(near.into(), true).unwrap(), far)
    }

    fn is_readable(socket: &Socket) -> bool {
        socket.0.is_readable.get()
    }

    #[test]
    fn what_is_told_of_a_socket_is_not_taken_for_the_next_one_in_its_place() {
        let (first, mut far) = pair();
        look();
        let place = first.0.place.get();
        // The kernel tells of it for as long as any descriptor of it is open.
        let twin = first.0.descriptor.try_clone().unwrap();
        drop(first);
        let (second, _far) = pair();
        assert_eq!(second.0.place.get(), place);
        look();
        far.write_all(b"x").unwrap();
        look();
        assert!(!is_readable(&second));
        drop(twin);
    }

    #[test]
    fn the_end_that_was_told_before_a_short_read_is_found() {
        let context = Context::from_waker(Waker::noop());
        let (near, mut far) = pair();
        far.write_all(b"last").unwrap();
        drop(far);
        look();
        for expected in [4, 0, 0] {
            let read = near.poll_read(&context, &mut [0; 16]);
            assert!(matches!(read, Poll::Ready(Ok(count)) if count == expected));
        }
    }

    #[test]
    fn a_short_read_waits_for_what_comes_next() {
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let context = Context::from_waker(&waker);
        let (near, mut far) = pair();
        let mut buffer = [0; 16];
        assert!(near.poll_read(&context, &mut buffer).is_pending());
        for round in 1..=3 {
            far.write_all(b"abc").unwrap();
            assert_eq!(look(), 1);
            assert_eq!(calls.0.load(Ordering::Relaxed), round);
            let read = near.poll_read(&context, &mut buffer);
            assert!(matches!(read, Poll::Ready(Ok(3))));
            assert!(near.poll_read(&context, &mut buffer).is_pending());
            assert_eq!(look(), 0, "nothing came");
        }
    }

    #[test]
    fn a_write_that_finds_no_room_waits_for_it() {
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let context = Context::from_waker(&waker);
        let (near, mut far) = pair();
        look();
        let mut written = 0;
        while let Poll::Ready(count) = near.poll_write(&context, &[b'x'; 4096]) {
            written += count.unwrap();
        }
        assert_eq!(look(), 0, "no room yet");
        far.read_exact(&mut vec![0; written]).unwrap();
        assert_eq!(look(), 1);
        assert!(near.poll_write(&context, b"y").is_ready());
    }

    #[test]
    fn at_its_end_the_shard_keeps_no_waker() {
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let context = Context::from_waker(&waker);
        let (near, _far) = pair();
        assert!(near.poll_readable(&context).is_pending());
        drop(waker);
        end();
        assert_eq!(Arc::strong_count(&calls), 1);
    }
}
