//! Messages that wait, packed as bytes in blocks: what a message takes in pieces would leave holes behind that flows
//! then lie between, and the allocator keeps what is around them.

use std::collections::VecDeque;

use openflow::{Message, Version, Xid, codec};

/// Bytes of a block at which the next one is begun.
const BLOCK: usize = 256 << 10;
/// The version that has words for most.
const VERSION: Version = Version::V14;

/// The start of a message that an error reply quotes.
pub(super) type Quote = Box<[u8]>;

/// A message that waited.
#[derive(Debug)]
pub(super) struct Waiting {
    pub xid: Xid,
    pub message: Message,
    pub quote: Quote,
}

/// A queue of messages.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// For each message its transaction, the lengths of its quote and of itself, and both.
    blocks: VecDeque<Vec<u8>>,
    /// Bytes that are taken out of the first block.
    taken: usize,
    /// Those that would not come back as they were; they have length zero.
    whole: VecDeque<Box<Message>>,
}

impl Packed {
    /// Adds a message.
    pub(super) fn push(&mut self, xid: Xid, message: Box<Message>, quote: &[u8]) {
        if self.blocks.back().is_none_or(|block| block.len() >= BLOCK) {
            let is_first = self.blocks.is_empty();
            self.blocks.push_back(if is_first { Vec::new() } else { Vec::with_capacity(BLOCK + (64 << 10)) });
        }
        let Some(block) = self.blocks.back_mut() else { return };
        let before = block.len();
        block.extend(xid.0.to_be_bytes());
        block.extend((quote.len() as u32).to_be_bytes());
        block.extend([0; 4]);
        block.extend(quote);
        let start = block.len();
        let packs = codec::encode(VERSION, xid, &message, block).is_ok();
        if packs && codec::decode(VERSION, &block[start..]).is_ok_and(|(_, again)| again == *message) {
            let len = (block.len() - start) as u32;
            block[before + 8..before + 12].copy_from_slice(&len.to_be_bytes());
            return;
        }
        block.truncate(start);
        self.whole.push_back(message);
    }

    /// The next message, whose memory is given back with its block.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let block = self.blocks.front()?;
        let (head, rest) = block[self.taken..].split_first_chunk::<12>()?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (xid, quote, len) = (Xid(number(0)), number(4) as usize, number(8) as usize);
        let (quote, rest) = rest.split_at_checked(quote)?;
        let message = match len {
            0 => *self.whole.pop_front()?,
            len => codec::decode(VERSION, rest.get(..len)?).ok()?.1,
        };
        let quote = Quote::from(quote);
        self.taken += head.len() + quote.len() + len;
        if self.taken >= block.len() {
            self.blocks.pop_front();
            self.taken = 0;
        }
        Some(Waiting { xid, message, quote })
    }
}

#[cfg(test)]
mod tests {
    use openflow::{FlowMod, Instruction, Match, PacketOut};

    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let mut packed = Packed::default();
        let message = |n: u16| match n % 3 {
            0 => Message::FlowMod(FlowMod { matches: Match::new().tcp_dst(n), ..FlowMod::default() }),
            // Of 1.0 alone: no other version has words for it.
            1 => Message::FlowMod(FlowMod { upsert: true, ..FlowMod::default() }),
            _ => Message::PacketOut(PacketOut {
                buffer: None,
                in_port: openflow::PortNo(n.into()),
                actions: vec![],
                data: vec![n as u8; usize::from(n) * 20],
            }),
        };
        for n in 0..600 {
            packed.push(Xid(n.into()), Box::new(message(n)), &vec![7; usize::from(n % 65)]);
        }
        assert!(packed.blocks.len() > 2 && packed.whole.len() == 200);
        for n in 0..600 {
            let Waiting { xid, message: again, quote } = packed.pop().expect("it was put in");
            assert_eq!((xid, again, quote.len()), (Xid(n.into()), message(n), usize::from(n % 65)));
        }
        assert!(packed.pop().is_none() && packed.blocks.is_empty());
        let long = Instruction::Unknown { kind: 77, data: vec![1; 4] };
        let odd = Message::FlowMod(FlowMod { instructions: vec![long], ..FlowMod::default() });
        packed.push(Xid(1), Box::new(odd.clone()), &[]);
        assert_eq!(packed.pop().map(|waiting| waiting.message), Some(odd));
    }
}
