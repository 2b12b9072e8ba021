//! The switch: bytes in and out of one socket, messages told apart by their headers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::{N_HOSTS, N_PORTS};

const HEADER: usize = 8;
/// Most bytes that wait to be written before more is asked.
const MAX_UNSENT: usize = 1 << 20;
/// Longest wait for what may come.
const PAUSE: Duration = Duration::from_micros(100);
/// Upper bits of the addresses of hosts; lower ones are their numbers.
const HOSTS: [u8; 2] = [0x02, 0xbe];
/// The host that all others speak to.
const SERVER: [u8; 6] = [0x02, 0xee, 0, 0, 0, 1];
/// Bytes of a frame.
const FRAME: usize = 64;

/// What answers a packet-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Expect {
    /// A flow mod that names the host that spoke.
    FlowMod,
    /// A flow mod and a packet-out with its frame.
    Both,
}

/// A switch with its connection.
pub struct Emulated {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    expect: Expect,
    /// When each host asked, if that is not answered yet.
    asked: Vec<Option<Instant>>,
    /// Of these a flow mod has come.
    installed: Vec<bool>,
    n_waiting: usize,
    n_mods: u64,
    n_outs: u64,
    described: Option<Instant>,
}

impl Emulated {
    /// Begins to speak.
    pub fn new(stream: TcpStream, expect: Expect) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut switch = Self {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            expect,
            asked: vec![None; N_HOSTS as usize],
            installed: vec![false; N_HOSTS as usize],
            n_waiting: 0,
            n_mods: 0,
            n_outs: 0,
            described: None,
        };
        switch.message(0, 1, &[]);
        Ok(switch)
    }

    /// Answers what a controller wants to know first. It is over when nothing was asked for a while.
    pub fn shake_hands(&mut self, deadline: Instant) -> anyhow::Result<()> {
        let quiet = Duration::from_millis(1500);
        while self.described.is_none_or(|last| last.elapsed() < quiet) {
            ensure!(Instant::now() < deadline, "the controller did not ask for the ports of the switch");
            self.turn(&mut Vec::new())?;
        }
        Ok(())
    }

    /// The host that all others speak to says something, until all is quiet behind it.
    pub fn announce(&mut self) -> anyhow::Result<()> {
        self.packet_in(N_PORTS + 1, SERVER, [0xff; 6]);
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            self.turn(&mut Vec::new())?;
        }
        (self.n_mods, self.n_outs) = (0, 0);
        Ok(())
    }

    /// Packet-ins without an answer.
    pub fn n_waiting(&self) -> usize {
        self.n_waiting
    }

    /// Flow mods and packet-outs that came.
    pub fn messages(&self) -> [u64; 2] {
        [self.n_mods, self.n_outs]
    }

    /// Whether the controller reads.
    pub fn has_room(&self) -> bool {
        self.output.len() < MAX_UNSENT
    }

    /// A host speaks at a port. False: it still waits.
    pub fn ask(&mut self, host: u32, port: u32, now: Instant) -> bool {
        let idx = host as usize;
        if self.asked[idx].is_some() {
            return false;
        }
        (self.asked[idx], self.installed[idx]) = (Some(now), false);
        self.n_waiting += 1;
        self.packet_in(port, mac_of(host), SERVER);
        true
    }

    /// Writes what is to be written, reads what has come, or waits for it a little.
    pub fn turn(&mut self, latencies: &mut Vec<Duration>) -> anyhow::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the controller closed the connection"),
            Ok(n) => self.input.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return self.wait(),
            Err(error) => return Err(error.into()),
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some(&[_, kind, l0, l1, x0, x1, x2, x3]) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            ensure!(len >= HEADER, "the controller sent a message of {len} bytes");
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            let xid = u32::from_be_bytes([x0, x1, x2, x3]);
            self.handle(kind, xid, &message[HEADER..], latencies);
            rest = behind;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    /// Until something has come, or can be written, but not for long.
    fn wait(&self) -> anyhow::Result<()> {
        let wanted =
            if self.output.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
        let mut places = [PollFd::new(self.stream.as_fd(), wanted)];
        match ppoll(&mut places, Some(TimeSpec::from_duration(PAUSE)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn handle(&mut self, kind: u8, xid: u32, body: &[u8], latencies: &mut Vec<Duration>) {
        match kind {
            // OFPT_ECHO_REQUEST
            2 => self.message(3, xid, body),
            // OFPT_EXPERIMENTER: there are none. OFPET_BAD_REQUEST, OFPBRC_BAD_EXPERIMENTER
            4 => self.message(1, xid, &[0, 1, 0, 3]),
            // OFPT_FEATURES_REQUEST: dpid, n_buffers, n_tables, auxiliary_id, capabilities
            5 => {
                let mut features = 0xbe_u64.to_be_bytes().to_vec();
                features.extend([0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0x47, 0, 0, 0, 0]);
                self.message(6, xid, &features);
                // Some ask for nothing else.
                self.described = Some(Instant::now());
            }
            // OFPT_GET_CONFIG_REQUEST
            7 => self.message(8, xid, &[0, 0, 0xff, 0xff]),
            // OFPT_PACKET_OUT: the frame is what it ends with.
            13 => {
                self.n_outs += 1;
                let at = body.len().checked_sub(FRAME).map(|at| &body[at..]);
                if let Some(host) = at.and_then(|frame| host_in(&frame[6..12]))
                    && self.expect == Expect::Both
                    && self.installed[host]
                {
                    self.answered(host, latencies);
                }
            }
            // OFPT_FLOW_MOD: 40 bytes in front of the match
            14 => {
                self.n_mods += 1;
                let Some(host) = body.get(40..).and_then(host_of_match) else { return };
                self.installed[host] = true;
                if self.expect == Expect::FlowMod {
                    self.answered(host, latencies);
                }
            }
            // OFPT_MULTIPART_REQUEST
            18 => self.multipart(xid, body),
            // OFPT_BARRIER_REQUEST
            20 => self.message(21, xid, &[]),
            // OFPT_ROLE_REQUEST
            24 => self.message(25, xid, body),
            _ => {}
        }
        // A flow mod or packet-out is part of the handshake, too.
        if matches!(kind, 9 | 14 | 18 | 20) && self.n_waiting == 0 {
            self.described = self.described.map(|_| Instant::now());
        }
    }

    fn answered(&mut self, host: usize, latencies: &mut Vec<Duration>) {
        if let Some(asked) = self.asked[host].take() {
            self.n_waiting -= 1;
            latencies.push(asked.elapsed());
        }
    }

    fn multipart(&mut self, xid: u32, body: &[u8]) {
        let Some(&[k0, k1]) = body.first_chunk::<2>() else { return };
        let mut reply = vec![k0, k1, 0, 0, 0, 0, 0, 0];
        match u16::from_be_bytes([k0, k1]) {
            // OFPMP_DESC
            0 => reply.resize(8 + 1056, 0),
            // OFPMP_FLOW: none
            1 => {}
            // OFPMP_AGGREGATE
            2 => reply.resize(8 + 24, 0),
            // OFPMP_PORT_DESC
            13 => {
                for port in 1..=N_PORTS + 1 {
                    reply.extend(port.to_be_bytes());
                    reply.extend([0, 0, 0, 0, 0x02, 0xdd, 0, 0, 0, port as u8, 0, 0]);
                    let mut name = format!("p{port}").into_bytes();
                    name.resize(16, 0);
                    reply.extend(name);
                    // Up and live.
                    reply.extend([0, 0, 0, 0, 0, 0, 0, 4]);
                    reply.extend([0; 24]);
                }
                self.described = Some(Instant::now());
            }
            // OFPET_BAD_REQUEST, OFPBRC_BAD_MULTIPART
            _ => return self.message(1, xid, &[0, 1, 0, 2]),
        }
        self.message(19, xid, &reply);
    }

    /// A frame that no flow matched (OpenFlow 1.3.5 §7.4.1).
    fn packet_in(&mut self, port: u32, source: [u8; 6], destination: [u8; 6]) {
        let mut body = vec![0xff, 0xff, 0xff, 0xff, 0, FRAME as u8, 0, 0];
        // Cookie, then a match of the ingress port, padded.
        body.extend([0; 8]);
        body.extend([0, 1, 0, 12, 0x80, 0, 0, 4]);
        body.extend(port.to_be_bytes());
        body.extend([0, 0, 0, 0, 0, 0]);
        let begin = body.len();
        body.extend(destination);
        body.extend(source);
        // An Ethertype for experiments (IEEE 802): nobody looks further.
        body.extend([0x88, 0xb5]);
        body.resize(begin + FRAME, 0);
        self.message(10, 0, &body);
    }

    fn message(&mut self, kind: u8, xid: u32, body: &[u8]) {
        let len = (HEADER + body.len()) as u16;
        self.output.extend([4, kind]);
        self.output.extend(len.to_be_bytes());
        self.output.extend(xid.to_be_bytes());
        self.output.extend_from_slice(body);
    }
}

fn mac_of(host: u32) -> [u8; 6] {
    let [a, b, c, d] = host.to_be_bytes();
    [HOSTS[0], HOSTS[1], a, b, c, d]
}

fn host_in(mac: &[u8]) -> Option<usize> {
    let [a, b, c, d] = *mac.strip_prefix(&HOSTS)?.first_chunk::<4>()?;
    let host = u32::from_be_bytes([a, b, c, d]);
    (host < N_HOSTS).then_some(host as usize)
}

/// The host that a match names, as source or destination.
fn host_of_match(oxms: &[u8]) -> Option<usize> {
    let len = usize::from(u16::from_be_bytes([*oxms.get(2)?, *oxms.get(3)?]));
    let mut rest = oxms.get(4..len)?;
    while let Some(&[_, _, field, size]) = rest.first_chunk::<4>() {
        let (value, behind) = rest[4..].split_at_checked(usize::from(size))?;
        // OFPXMT_OFB_ETH_DST and ETH_SRC, with a mask or without
        if matches!(field >> 1, 3 | 4)
            && let Some(host) = value.get(..6).and_then(host_in)
        {
            return Some(host);
        }
        rest = behind;
    }
    None
}
