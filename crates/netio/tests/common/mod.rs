//! What the kernel tests share: unique namespaces, a wire between two ports, TCP with known payload.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netio::link::{self, LinkError, Netlink};
use netio::netns::Namespace;
use netio::{OpenOptions, Port};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use packet::{Batch, Frame, Pool};

/// Long enough for a busy machine; nothing waits for it unless something is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A namespace that goes with the test.
pub struct TestNs {
    pub name: String,
    pub ns: Namespace,
}

impl TestNs {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
        let name = format!("netio-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let ns = Namespace::create(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name, ns }
    }

    /// Opens a port inside the namespace of the calling thread if it names an interface there.
    pub fn open(&self, spec: &str) -> Box<dyn Port> {
        let spec = spec.replace("NS", &self.name).parse().expect("a port specification");
        let opened = self.ns.run(|| netio::open(&spec, OpenOptions::default())).expect("entered");
        opened.unwrap_or_else(|e| panic!("{e}")).pop().expect("one queue")
    }

    pub fn netlink<T: Send>(&self, f: impl AsyncFnOnce(Netlink) -> Result<T, LinkError> + Send) -> T {
        link::blocking(Some(&self.ns), f).unwrap_or_else(|e| panic!("{}: {e:?}", self.name))
    }

    pub fn address(&self, interface: &str, ip: &str) {
        let (ip, prefix) = ip.split_once('/').expect("a prefix");
        let (ip, prefix): (IpAddr, u8) = (ip.parse().expect("an address"), prefix.parse().expect("a length"));
        self.netlink(async |n| {
            n.add_address(interface, ip, prefix).await?;
            n.set_up(interface).await
        });
    }
}

impl Drop for TestNs {
    fn drop(&mut self) {
        if let Err(error) = Namespace::delete(&self.name) {
            eprintln!("{error}");
        }
    }
}

/// Carries frames between two ports on a thread until it is dropped.
pub struct Wire {
    stop: Arc<AtomicBool>,
    /// Super-frames seen.
    pub n_super: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    pub fn new(mut a: Box<dyn Port>, mut b: Box<dyn Port>) -> Self {
        let (stop, n_super) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (stop.clone(), n_super.clone());
        let thread = std::thread::spawn(move || {
            let (mut pool, mut batch) = (Pool::default(), Batch::new());
            while !stopped.load(Ordering::Relaxed) {
                wait_readable(&[&*a, &*b], Duration::from_millis(20));
                for ab in [true, false] {
                    let (from, to) = if ab { (&mut a, &mut b) } else { (&mut b, &mut a) };
                    from.receive(&mut pool, &mut batch, 64).expect("receives");
                    seen.fetch_add(
                        batch.iter().filter(|f| f.meta.gso.is_some()).count() as u64,
                        Ordering::Relaxed,
                    );
                    to.transmit(&mut pool, &mut batch).expect("sends");
                }
            }
        });
        Self { stop, n_super, thread: Some(thread) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            joined.expect("there").expect("the wire works to its end");
        }
    }
}

pub fn wait_readable(ports: &[&dyn Port], timeout: Duration) -> bool {
    let mut fds: Vec<PollFd<'_>> =
        ports.iter().map(|p| PollFd::new(p.poll_fd().expect("has one"), PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::try_from(timeout).expect("short")).expect("polls") > 0
}

pub fn readable(fd: impl AsFd, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).expect("short");
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout).expect("polls") > 0
}

/// Receives until a frame satisfies `wanted`.
pub fn receive_until(port: &mut dyn Port, wanted: impl Fn(&Frame) -> bool) -> Frame {
    let deadline = Instant::now() + DEADLINE;
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    loop {
        assert!(Instant::now() < deadline, "no such frame came; counters {:?}", port.counters());
        wait_readable(&[port], Duration::from_millis(100));
        port.receive(&mut pool, &mut batch, 64).expect("receives");
        if let Some(at) = batch.iter().position(&wanted) {
            return batch.swap_remove(at);
        }
        batch.clear();
    }
}

/// Bytes that repeat only after a while, so that lost, doubled and swapped segments show.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9u32;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

/// Sends `len` bytes over TCP from one namespace to an address of the other and compares what arrives.
pub fn transfer(from: &TestNs, to: &TestNs, address: &str, len: usize) {
    let address: IpAddr = address.parse().expect("an address");
    let listener =
        to.ns.run(|| TcpListener::bind(SocketAddr::new(address, 0))).expect("entered").expect("bound");
    let target = listener.local_addr().expect("bound");
    let payload = pattern(len);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(DEADLINE)).expect("set");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("all");
            received
        });
        let sent = from.ns.run(|| {
            let mut stream = TcpStream::connect_timeout(&target, DEADLINE)?;
            stream.set_write_timeout(Some(DEADLINE))?;
            stream.write_all(&payload)
        });
        sent.expect("entered").unwrap_or_else(|e| panic!("to {target}: {e}"));
        assert!(receiver.join().expect("received") == payload, "the payload arrived changed");
    });
}
