//! DHCPv4 messages (RFC 2131 §2, RFC 2132).

use core::net::Ipv4Addr;

use packet::MacAddr;

/// Bytes before the options, the magic cookie among them.
const FIXED_LEN: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Shorter messages are padded: BOOTP relays expect so many bytes (RFC 1542 §2.1).
const LEAST_LEN: usize = 300;

/// Options that are read or written here (RFC 2132).
pub(crate) mod option {
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const NTP: u8 = 42;
    pub(crate) const REQUESTED: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const TYPE: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const PARAMETERS: u8 = 55;
    pub(crate) const RENEWAL: u8 = 58;
    pub(crate) const REBINDING: u8 = 59;
    pub(crate) const CLIENT: u8 = 61;
    pub(crate) const TFTP_SERVER: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    /// Of the relay (RFC 3046).
    pub(crate) const RELAY: u8 = 82;
    /// RFC 3442.
    pub(crate) const ROUTES: u8 = 121;
    pub(crate) const END: u8 = 255;
}

/// What a message is (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Discover,
        Self::Offer,
        Self::Request,
        Self::Decline,
        Self::Ack,
        Self::Nak,
        Self::Release,
        Self::Inform,
    ];
}

/// A message whose client is on an Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// From a client or its relay; otherwise from a server.
    pub is_request: bool,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    /// The client cannot take unicast yet (RFC 2131 §4.1).
    pub broadcast: bool,
    /// An address the client has and answers ARP for.
    pub client: Ipv4Addr,
    /// The address it gets.
    pub yours: Ipv4Addr,
    /// The server of its next step.
    pub next_server: Ipv4Addr,
    /// The relay.
    pub relay: Ipv4Addr,
    pub mac: MacAddr,
    /// Numbers and values in order, without pads and the end.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// Reads a UDP payload; none if it is no DHCP message, or cut short.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (fixed, mut rest) = bytes.split_at_checked(FIXED_LEN)?;
        let word = |at: usize| Some(u32::from_be_bytes(*fixed.get(at..)?.first_chunk()?));
        let addr = |at: usize| word(at).map(Ipv4Addr::from_bits);
        let (op, ethernet, mac_len) = (fixed[0], fixed[1], fixed[2]);
        if !matches!(op, 1 | 2) || ethernet != 1 || mac_len != 6 || fixed[236..] != COOKIE {
            return None;
        }
        let mut message = Self {
            is_request: op == 1,
            hops: fixed[3],
            xid: word(4)?,
            secs: (word(8)? >> 16) as u16,
            broadcast: word(8)? & 0x8000 != 0,
            client: addr(12)?,
            yours: addr(16)?,
            next_server: addr(20)?,
            relay: addr(24)?,
            mac: MacAddr(*fixed.get(28..)?.first_chunk()?),
            options: Vec::new(),
        };
        while let [number, tail @ ..] = rest {
            match *number {
                0 => rest = tail,
                option::END => break,
                number => {
                    let (len, tail) = tail.split_first()?;
                    let (value, tail) = tail.split_at_checked(usize::from(*len))?;
                    // RFC 3396 §5: parts of one option belong together.
                    match message.options.iter_mut().find(|(known, _)| *known == number) {
                        Some((_, known)) => known.extend_from_slice(value),
                        None => message.options.push((number, value.to_vec())),
                    }
                    rest = tail;
                }
            }
        }
        Some(message)
    }

    /// The UDP payload.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![if self.is_request { 1 } else { 2 }, 1, 6, self.hops];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend([u8::from(self.broadcast) << 7, 0]);
        for addr in [self.client, self.yours, self.next_server, self.relay] {
            bytes.extend(addr.octets());
        }
        bytes.extend(self.mac.0);
        bytes.resize(FIXED_LEN - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        for (number, value) in &self.options {
            // RFC 3396 §4: in parts if it must be.
            let parts = if value.is_empty() { vec![&value[..]] } else { value.chunks(255).collect() };
            for part in parts {
                bytes.extend([*number, part.len() as u8]);
                bytes.extend_from_slice(part);
            }
        }
        bytes.push(option::END);
        bytes.resize(bytes.len().max(LEAST_LEN), 0);
        bytes
    }

    pub(crate) fn option(&self, number: u8) -> Option<&[u8]> {
        self.options.iter().find(|(known, _)| *known == number).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        let [number] = self.option(option::TYPE)? else { return None };
        Kind::ALL.into_iter().find(|kind| *kind as u8 == *number)
    }

    pub(crate) fn addr(&self, number: u8) -> Option<Ipv4Addr> {
        let bytes: &[u8; 4] = self.option(number)?.try_into().ok()?;
        Some(Ipv4Addr::from(*bytes))
    }

    /// What tells clients apart: the identifier they give, or their MAC (RFC 2131 §4.2).
    pub(crate) fn client_id(&self) -> Vec<u8> {
        match self.option(option::CLIENT) {
            Some(id) if !id.is_empty() => id.to_vec(),
            _ => [&[1], self.mac.0.as_slice()].concat(),
        }
    }

    /// The empty answer to this message (RFC 2131 §4.3.1 table 3).
    pub(crate) fn answer(&self, kind: Kind) -> Self {
        Self {
            is_request: false,
            hops: 0,
            secs: 0,
            client: if kind == Kind::Ack { self.client } else { Ipv4Addr::UNSPECIFIED },
            yours: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            options: vec![(option::TYPE, vec![kind as u8])],
            ..*self
        }
    }

    pub(crate) fn push(&mut self, number: u8, value: impl Into<Vec<u8>>) {
        self.options.push((number, value.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> Message {
        let mut message = Message {
            is_request: true,
            hops: 1,
            xid: 0x1234_5678,
            secs: 7,
            broadcast: true,
            client: Ipv4Addr::new(10, 0, 0, 9),
            yours: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            relay: Ipv4Addr::new(10, 0, 0, 1),
            mac: MacAddr([2, 0, 0, 0, 0, 7]),
            options: Vec::new(),
        };
        message.push(option::TYPE, [1]);
        message.push(option::BOOT_FILE, vec![b'x'; 600]);
        message
    }

    #[test]
    fn long_options_go_in_parts_and_come_back_whole() {
        let bytes = message().emit();
        assert_eq!(Message::parse(&bytes), Some(message()));
        assert_eq!(bytes[240..245], [53, 1, 1, 67, 255]);
        for cut in 0..bytes.len() - 1 {
            let _ = Message::parse(&bytes[..cut]);
        }
        assert_eq!(Message::parse(&bytes[..400]), None, "an option is cut short");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(at in 0usize..700, byte: u8, tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = message().emit();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(at.max(240));
            bytes.extend(tail);
            if let Some(message) = Message::parse(&bytes) {
                let again = Message::parse(&message.emit()).expect("what was written can be read");
                prop_assert_eq!(again.options, message.options);
            }
        }
    }
}
