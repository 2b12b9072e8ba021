//! TCP between the namespaces of a test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::namespace::Namespace;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(30);

/// Sends `n_bytes` from one host to `address` (`10.0.0.2:5000`) of another; what arrived.
///
/// # Panics
/// When they do not connect, or nothing moves, within 30 s.
pub fn transfer(from: &Namespace, to: &Namespace, address: &str, n_bytes: usize) -> usize {
    let listener = to.enter(|| TcpListener::bind(address).expect("the address is the host's"));
    std::thread::scope(|scope| {
        let receive = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a listener accepts");
            let mut bytes = Vec::new();
            stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
            let _ = stream.read_to_end(&mut bytes);
            bytes.len()
        });
        let mut stream = from.enter(|| {
            TcpStream::connect_timeout(&address.parse().expect("an address"), DEADLINE).expect("TCP connects")
        });
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        stream.write_all(&vec![7; n_bytes]).expect("TCP transfers");
        drop(stream);
        receive.join().expect("the receiver does not panic")
    })
}

/// Whether `from` can open a TCP connection to `address` of `to` within `wait`.
///
/// # Panics
/// When `address` is none of the host's.
pub fn connects(from: &Namespace, to: &Namespace, address: &str, wait: Duration) -> bool {
    let _listener = to.enter(|| TcpListener::bind(address).expect("the address is the host's"));
    from.enter(|| TcpStream::connect_timeout(&address.parse().expect("an address"), wait).is_ok())
}
