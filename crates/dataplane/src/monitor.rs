//! The thread that watches the links of ports. It sleeps until the kernel tells of a change.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use netio::{LinkProbe, LinkState};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use packet::PortNo;

use crate::table::PortKey;
use crate::{EngineId, Event};

const STOP: u64 = u64::MAX;

struct Watched {
    engine: EngineId,
    port: PortNo,
    probe: LinkProbe,
    state: LinkState,
}

struct Shared {
    epoll: Epoll,
    stop: EventFd,
    watched: Mutex<HashMap<PortKey, Watched>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<PortKey, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches links until it is dropped.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// `sink` hears of links, `gone` of devices that no longer exist.
    pub fn start(
        sink: impl Fn(Event) + Send + 'static,
        gone: impl Fn(PortKey) + Send + 'static,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let shared = Arc::new(Shared { epoll, stop, watched: Mutex::default() });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("weft-links".to_owned());
        let thread = Some(thread.spawn(move || watch(&theirs, &sink, &gone))?);
        Ok(Self { shared, thread })
    }

    /// Watches a port from now on; returns whether its link is up.
    pub fn add(&self, key: PortKey, engine: EngineId, port: PortNo, probe: LinkProbe) -> io::Result<bool> {
        let mut watched = self.shared.lock();
        if let Some(fd) = probe.poll_fd() {
            self.shared.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, key.0))?;
        }
        // After it is being watched: a change in between would be lost otherwise.
        let state = probe.state();
        watched.insert(key, Watched { engine, port, probe, state });
        Ok(state == LinkState::Up)
    }

    /// No longer watches a port.
    pub fn remove(&self, key: PortKey) {
        if let Some(watched) = self.shared.lock().remove(&key)
            && let Some(fd) = watched.probe.poll_fd()
        {
            // Fails only when it was never added.
            let _ = self.shared.epoll.delete(fd);
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Fails only when the counter would overflow: it is readable then.
        let _ = self.shared.stop.write(1);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed and concerns nobody here.
            let _ = thread.join();
        }
    }
}

fn watch(shared: &Shared, sink: &impl Fn(Event), gone: &impl Fn(PortKey)) {
    let mut events = [EpollEvent::empty(); 16];
    loop {
        // An error can only be EINTR here.
        let n = shared.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..n] {
            match event.data() {
                STOP => return,
                key => look(shared, PortKey(key), sink, gone),
            }
        }
    }
}

fn look(shared: &Shared, key: PortKey, sink: &impl Fn(Event), gone: &impl Fn(PortKey)) {
    let mut all = shared.lock();
    let Some(watched) = all.get_mut(&key) else { return };
    watched.probe.drain();
    let state = watched.probe.state();
    let before = std::mem::replace(&mut watched.state, state);
    let (engine, port) = (watched.engine, watched.port);
    if state == LinkState::Gone {
        if let Some(fd) = watched.probe.poll_fd() {
            // Its namespace may be busy for long; there is nothing more to learn about this port.
            let _ = shared.epoll.delete(fd);
        }
        drop(all);
        if before != LinkState::Gone {
            gone(key);
        }
        return;
    }
    drop(all);
    if state != before {
        sink(Event::PortLink { engine, port, up: state == LinkState::Up });
    }
}
