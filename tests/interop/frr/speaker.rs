//! A neighbour that speaks just enough BGP (RFC 4271) to announce and withdraw many routes at once.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

use system_tests::Namespace;

const HEADER: usize = 19;
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
/// A message has at most 4096 bytes (RFC 4271 §4).
const MOST: usize = 4096;

/// One session. It has no hold timer, and what the other side says is thrown away.
pub struct Speaker {
    stream: TcpStream,
    as_number: u16,
}

impl Speaker {
    /// Waits in `host` for a daemon to connect to `own` and agrees with it.
    pub fn accept(host: &Namespace, own: Ipv4Addr, as_number: u16) -> Self {
        let listener = host.enter(|| TcpListener::bind((own, 179)).expect("port 179 is free"));
        let (stream, _) = listener.accept().expect("the daemon connects");
        let mut speaker = Self { stream, as_number };
        // Version 4, hold time 0: no keepalives (RFC 4271 §4.2), no options.
        let mut open = vec![4];
        open.extend(as_number.to_be_bytes());
        open.extend([0, 0]);
        open.extend(own.octets());
        open.push(0);
        speaker.say(OPEN, &open);
        speaker.say(KEEPALIVE, &[]);
        let mut heard = speaker.stream.try_clone().expect("a descriptor can be duplicated");
        std::thread::spawn(move || std::io::copy(&mut heard, &mut std::io::sink()));
        speaker
    }

    /// Announces `n` networks of 256 addresses each from `first` on, with this next hop.
    pub fn announce(&mut self, first: Ipv4Addr, n: u32, next_hop: Ipv4Addr) {
        // ORIGIN is IGP, AS_PATH a sequence of one, NEXT_HOP: all well-known and mandatory (RFC 4271 §5.1).
        let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 4, 2, 1];
        attributes.extend(self.as_number.to_be_bytes());
        attributes.extend([0x40, 3, 4]);
        attributes.extend(next_hop.octets());
        self.update(first, n, |body, routes| {
            body.extend([0, 0]);
            body.extend((attributes.len() as u16).to_be_bytes());
            body.extend(&attributes);
            body.extend(routes);
        });
    }

    /// Withdraws them.
    pub fn withdraw(&mut self, first: Ipv4Addr, n: u32) {
        self.update(first, n, |body, routes| {
            body.extend((routes.len() as u16).to_be_bytes());
            body.extend(routes);
            body.extend([0, 0]);
        });
    }

    fn update(&mut self, first: Ipv4Addr, n: u32, put: impl Fn(&mut Vec<u8>, &[u8])) {
        let route = |n: u32| {
            let [a, b, c, _] = (first.to_bits() + (n << 8)).to_be_bytes();
            [24, a, b, c]
        };
        let routes: Vec<u8> = (0..n).flat_map(route).collect();
        for routes in routes.chunks((MOST - HEADER - 100) / 4 * 4) {
            let mut body = Vec::new();
            put(&mut body, routes);
            self.say(UPDATE, &body);
        }
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![0xff; 16];
        message.extend(((HEADER + body.len()) as u16).to_be_bytes());
        message.push(kind);
        message.extend(body);
        self.stream.write_all(&message).expect("the session stands");
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // The thread that reads holds the socket open otherwise. Fails only when the other side has gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
