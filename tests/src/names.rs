//! A DNS server for made-up domains, in the test's own process: the runtime's answerer on a
//! plain socket and a plain thread.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mailrail_runtime::dns::name::Name;
use mailrail_runtime::dns::query::Transport;
use mailrail_runtime::dns::server::{Record, Zone, answer};

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Names {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Names {
    /// Answers from the zone that `fill` writes. A zone stays on the thread it is made on.
    ///
    /// # Panics
    /// When there is no port or thread left.
    pub fn serve(fill: impl FnOnce(&mut Zone) + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let serve = move || {
            let mut zone = Zone::new();
            fill(&mut zone);
            let mut query = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(reply) = answer(&zone, &query[..length], Transport::Udp) {
                    // Who asks again gets another answer.
                    let _ = socket.send_to(&reply.bytes, peer);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("names".to_owned())
            .spawn(serve);
        thread.expect("a thread");
        Self { address, stopped }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that receives.
        let woken = UdpSocket::bind("127.0.0.1:0");
        let _ = woken.and_then(|socket| socket.send_to(&[0; 12], self.address));
    }
}

/// A mail host for a domain.
///
/// # Panics
/// When a name is none.
pub fn mail_host(zone: &mut Zone, domain: &str, preference: u16, host: &str) {
    let host = if host == "." {
        Some(Name::root())
    } else {
        Name::parse(host)
    };
    let host = host.expect("a name");
    zone.add(domain, 60, Record::Mx(preference, host));
}

/// An address for a host.
pub fn address(zone: &mut Zone, host: &str, address: Ipv4Addr) {
    zone.add(host, 60, Record::A(address));
}
