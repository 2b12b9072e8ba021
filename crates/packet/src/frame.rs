//! Frames, their metadata, the pool they come from and the batch they travel in.
//!
//! A frame is a contiguous head in a pooled buffer with headroom, which is all that parsers and actions touch, and
//! at most one tail that holds what did not fit. Buffers go back to a pool by [`Pool::free`]; a frame that is merely
//! dropped gives its memory back to the allocator.

use core::ops::{Deref, DerefMut};

use crate::PortNo;

/// Size in bytes of a head buffer, headroom included.
pub const HEAD_SIZE: usize = 2048;
/// Bytes kept free in front of a frame as it is received, for pushed tags and headers.
pub const HEADROOM: usize = 128;
/// Size in bytes of a tail buffer: head and tail together hold 12 + 14 + 65,535 bytes and more. Its lengths fit 16 bits.
pub const TAIL_SIZE: usize = 65_536 - 64;
/// Bytes that head and tail hold together behind the headroom.
const MAX_LEN: usize = HEAD_SIZE - HEADROOM + TAIL_SIZE;
/// Most frames in a batch.
pub const MAX_BATCH: usize = 64;
/// Engine-to-engine hops a frame may take before it is dropped.
pub const MAX_HOPS: u8 = 64;

/// A checksum that the sender left for the output to complete (virtio-net `VIRTIO_NET_HDR_F_NEEDS_CSUM`).
///
/// The sum over the frame from `start` to its end is to be stored at `start + offset`; that field already holds the
/// sum of the pseudo header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CsumPartial {
    /// Bytes from the beginning of the frame to where summing starts.
    pub start: u16,
    /// Bytes from `start` to the checksum field.
    pub offset: u16,
}

/// What kind of segments a super-frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of equal size (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    Udp,
}

/// A super-frame: to be cut into segments of `size` payload bytes by the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What the segments are.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last; never zero.
    pub size: u16,
    /// The ECN bit of virtio-net: congestion window reduced is set only on the first segment.
    pub ecn: bool,
}

/// What travels beside the bytes of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Port of the present engine by which the frame came in.
    pub in_port: PortNo,
    /// Checksum left to the output.
    pub csum: Option<CsumPartial>,
    /// The port has verified the transport checksum (virtio-net `VIRTIO_NET_HDR_F_DATA_VALID`).
    pub csum_valid: bool,
    /// Super-frame.
    pub gso: Option<Gso>,
    /// Engines entered so far.
    pub hops: u8,
}

/// There is no room left in front of or behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for {wanted} more bytes in the head buffer")]
pub struct NoRoom {
    /// Bytes asked for.
    pub wanted: usize,
}

/// A head buffer begins with a cache line: headers that begin behind the headroom take as few of them as they can.
#[derive(Debug)]
#[repr(align(64))]
struct Head([u8; HEAD_SIZE]);

impl Deref for Head {
    type Target = [u8; HEAD_SIZE];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Head {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

type HeadBuf = Box<Head>;
type TailBuf = Box<[u8; TAIL_SIZE]>;

/// One Ethernet frame with its metadata.
#[derive(Debug)]
pub struct Frame {
    head: HeadBuf,
    start: u16,
    end: u16,
    tail: Option<TailBuf>,
    tail_len: u16,
    /// Queue of the port it is to leave by, as an action of the present engine chose it; zero if none did.
    pub queue: u16,
    /// Metadata.
    pub meta: Meta,
}

impl Frame {
    /// An empty frame with [`HEADROOM`] bytes in front, in memory of its own.
    pub fn new() -> Self {
        Self::in_buffer(Box::new(Head([0; HEAD_SIZE])))
    }

    /// A frame holding `bytes`, in memory of its own. For tests and slow paths; workers use [`Pool::frame_from`].
    ///
    /// # Panics
    /// If `bytes` exceeds what head and tail hold together.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= MAX_LEN, "frame of {} bytes is too long", bytes.len());
        Self::holding(Box::new(Head([0; HEAD_SIZE])), bytes, || Box::new([0; TAIL_SIZE]))
    }

    #[inline]
    fn in_buffer(head: HeadBuf) -> Self {
        let at = HEADROOM as u16;
        Self { head, start: at, end: at, tail: None, tail_len: 0, queue: 0, meta: Meta::default() }
    }

    /// A frame that holds a copy of `bytes`, at most [`MAX_LEN`]. It is put together at the end, so that it need not be
    /// moved.
    #[inline(always)]
    fn holding(mut head: HeadBuf, bytes: &[u8], tail: impl FnOnce() -> TailBuf) -> Self {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD_SIZE - HEADROOM));
        copy(&mut head[HEADROOM..], first);
        let tail = (!rest.is_empty()).then(|| {
            let mut tail = tail();
            tail[..rest.len()].copy_from_slice(rest);
            tail
        });
        let (tail_len, end) = (rest.len() as u16, (HEADROOM + first.len()) as u16);
        Self { head, start: HEADROOM as u16, end, tail, tail_len, queue: 0, meta: Meta::default() }
    }

    /// Total bytes, head and tail.
    #[inline]
    pub fn len(&self) -> usize {
        self.head().len() + self.tail_len as usize
    }

    /// No bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contiguous first part: all headers are here.
    #[inline]
    pub fn head(&self) -> &[u8] {
        &self.head[self.start as usize..self.end as usize]
    }

    /// The contiguous first part, to be changed.
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head[self.start as usize..self.end as usize]
    }

    /// What follows the head; empty for most frames.
    pub fn tail(&self) -> &[u8] {
        self.tail.as_ref().map_or(&[], |t| &t[..self.tail_len as usize])
    }

    /// What follows the head, to be changed.
    pub fn tail_mut(&mut self) -> &mut [u8] {
        let n = self.tail_len as usize;
        self.tail.as_mut().map_or(&mut [], |t| &mut t[..n])
    }

    /// Bytes that [`push_front`](Self::push_front) can still take.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Makes the head longer by `n` bytes in front and returns the whole head. The new bytes hold anything.
    ///
    /// # Errors
    /// [`NoRoom`] when the headroom is used up; nothing has changed.
    #[inline]
    pub fn push_front(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        if n > self.start as usize {
            return Err(NoRoom { wanted: n });
        }
        self.start -= n as u16;
        Ok(self.head_mut())
    }

    /// Takes `n` bytes off the front; at most the head.
    #[inline]
    pub fn pop_front(&mut self, n: usize) {
        self.start += n.min(self.head().len()) as u16;
    }

    /// Appends to the head; only for frames without a tail.
    ///
    /// # Errors
    /// [`NoRoom`] when the buffer is full or a tail is present; nothing has changed.
    pub fn push_back(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.end as usize;
        if self.tail_len != 0 || end + bytes.len() > HEAD_SIZE {
            return Err(NoRoom { wanted: bytes.len() });
        }
        self.head[end..end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len() as u16;
        Ok(())
    }

    /// Appends zeros until the frame has `len` bytes; more than it has: unchanged.
    ///
    /// # Panics
    /// If `len` exceeds [`ethernet::MIN_LEN`](crate::ethernet::MIN_LEN), for which there is always room.
    pub fn pad_to(&mut self, len: usize) {
        assert!(len <= crate::ethernet::MIN_LEN, "padding is for short frames");
        let n = len.saturating_sub(self.len());
        if let Some(tail) = self.tail.as_mut().filter(|_| self.tail_len != 0) {
            tail[usize::from(self.tail_len)..][..n].fill(0);
            self.tail_len += n as u16;
            return;
        }
        let (start, end) = (usize::from(self.start), usize::from(self.end));
        if end + n > HEAD_SIZE {
            self.head.copy_within(start..end, HEADROOM);
            self.start = HEADROOM as u16;
            self.end = (HEADROOM + end - start) as u16;
        }
        let end = usize::from(self.end);
        self.head[end..end + n].fill(0);
        self.end += n as u16;
    }

    /// Cuts the frame to its first `len` bytes; longer than it is: unchanged.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        let in_head = self.head().len();
        if len <= in_head {
            self.end = self.start + len as u16;
            self.tail_len = 0;
        } else {
            self.tail_len = self.tail_len.min((len - in_head).min(TAIL_SIZE) as u16);
        }
    }

    /// All bytes in one new vector: for punts, mirrors and tests, not for the path of a frame.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(self.head());
        out.extend_from_slice(self.tail());
        out
    }

    /// The raw buffers to receive into: the head after the headroom, and the tail if the frame has one.
    /// After filling them call [`set_received`](Self::set_received).
    pub fn receive_buffers(&mut self) -> (&mut [u8], &mut [u8]) {
        let tail: &mut [u8] = match &mut self.tail {
            Some(t) => &mut t[..],
            None => &mut [],
        };
        (&mut self.head[HEADROOM..], tail)
    }

    /// Moves a tail buffer that holds nothing to `to`, which keeps its own if it has one: a port that received a short
    /// frame receives the next one with the same tail.
    pub fn give_unused_tail(&mut self, to: &mut Self) {
        if self.tail_len == 0 && to.tail.is_none() {
            to.tail = self.tail.take();
        }
    }

    /// Declares that `len` bytes were received into [`receive_buffers`](Self::receive_buffers), head first.
    /// A tail buffer that was not needed stays with the frame, to be reused.
    ///
    /// # Panics
    /// If `len` exceeds the buffers: a bug of the port.
    pub fn set_received(&mut self, len: usize) {
        let room = if self.tail.is_some() { TAIL_SIZE } else { 0 };
        let in_head = len.min(HEAD_SIZE - HEADROOM);
        assert!(len - in_head <= room, "received {len} bytes into {}", HEAD_SIZE - HEADROOM + room);
        self.start = HEADROOM as u16;
        self.end = (HEADROOM + in_head) as u16;
        self.tail_len = (len - in_head) as u16;
        self.queue = 0;
        self.meta = Meta::default();
    }
}

/// Copies `from` to the beginning of `to`; a short frame, as most are, without a call.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    /// As two halves that may overlap.
    #[inline(always)]
    fn halves<const HALF: usize>(to: &mut [u8], from: &[u8]) {
        let second = from.len() - HALF;
        to[..HALF].copy_from_slice(&from[..HALF]);
        to[second..from.len()].copy_from_slice(&from[second..]);
    }
    match from.len() {
        32..=64 => halves::<32>(to, from),
        65..=128 => halves::<64>(to, from),
        len => to[..len].copy_from_slice(from),
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

/// How many buffers a pool keeps.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Head buffers kept for reuse; more are given back to the allocator.
    pub n_heads: usize,
    /// Tail buffers kept for reuse.
    pub n_tails: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { n_heads: 1024, n_tails: 96 }
    }
}

/// What a pool has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Head buffers asked of the allocator because none was free.
    pub n_heads_allocated: u64,
    /// Tail buffers asked of the allocator because none was free.
    pub n_tails_allocated: u64,
}

/// A worker's store of buffers. Allocates only while it warms up.
#[derive(Debug, Default)]
pub struct Pool {
    config: PoolConfig,
    heads: Vec<HeadBuf>,
    tails: Vec<TailBuf>,
    stats: PoolStats,
}

impl Pool {
    /// An empty pool.
    pub fn new(config: PoolConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// An empty frame without a tail.
    #[inline]
    pub fn alloc(&mut self) -> Frame {
        Frame::in_buffer(self.head_buffer())
    }

    /// An empty frame with a tail buffer, for ports that may receive super-frames.
    pub fn alloc_with_tail(&mut self) -> Frame {
        let mut frame = self.alloc();
        frame.tail = Some(self.tail_buffer());
        frame
    }

    #[inline(always)]
    fn head_buffer(&mut self) -> HeadBuf {
        match self.heads.pop() {
            Some(head) => head,
            None => self.new_head_buffer(),
        }
    }

    #[cold]
    fn new_head_buffer(&mut self) -> HeadBuf {
        self.stats.n_heads_allocated += 1;
        Box::new(Head([0; HEAD_SIZE]))
    }

    fn tail_buffer(&mut self) -> TailBuf {
        self.tails.pop().unwrap_or_else(|| {
            self.stats.n_tails_allocated += 1;
            // Not `Box::new([0; TAIL_SIZE])`: in a debug build that passes through the stack.
            vec![0; TAIL_SIZE].into_boxed_slice().try_into().expect("the length is TAIL_SIZE")
        })
    }

    /// A frame holding a copy of `bytes`, or none if they exceed what head and tail hold.
    #[inline]
    pub fn frame_from(&mut self, bytes: &[u8]) -> Option<Frame> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let head = self.head_buffer();
        Some(Frame::holding(head, bytes, || self.tail_buffer()))
    }

    /// A frame holding a copy of `parts` one after the other, or none if they exceed what head and tail hold.
    pub fn frame_from_parts(&mut self, parts: &[&[u8]]) -> Option<Frame> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > MAX_LEN {
            return None;
        }
        let mut frame = if len <= HEAD_SIZE - HEADROOM { self.alloc() } else { self.alloc_with_tail() };
        let (mut room, mut next) = frame.receive_buffers();
        for part in parts {
            let (first, rest) = part.split_at(part.len().min(room.len()));
            let (filled, left) = room.split_at_mut(first.len());
            filled.copy_from_slice(first);
            room = left;
            if !rest.is_empty() {
                let (filled, left) = core::mem::take(&mut next).split_at_mut(rest.len());
                filled.copy_from_slice(rest);
                room = left;
            }
        }
        frame.set_received(len);
        Some(frame)
    }

    /// A copy of `frame`, metadata included.
    pub fn clone_frame(&mut self, frame: &Frame) -> Frame {
        let mut copy = self.alloc();
        let (start, end) = (frame.start as usize, frame.end as usize);
        copy.head[start..end].copy_from_slice(&frame.head[start..end]);
        (copy.start, copy.end) = (frame.start, frame.end);
        if frame.tail_len != 0 {
            let mut tail = self.tail_buffer();
            let n = frame.tail_len as usize;
            tail[..n].copy_from_slice(frame.tail());
            copy.tail = Some(tail);
            copy.tail_len = frame.tail_len;
        }
        (copy.queue, copy.meta) = (frame.queue, frame.meta);
        copy
    }

    /// Takes a tail buffer that holds nothing back from a frame that is to be kept for a while.
    pub fn take_unused_tail(&mut self, frame: &mut Frame) {
        if frame.tail_len == 0
            && let Some(tail) = frame.tail.take()
            && self.tails.len() < self.config.n_tails
        {
            self.tails.push(tail);
        }
    }

    /// Takes the buffers of `frame` back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        if self.heads.len() < self.config.n_heads {
            self.heads.push(frame.head);
        }
        if let Some(tail) = frame.tail
            && self.tails.len() < self.config.n_tails
        {
            self.tails.push(tail);
        }
    }

    /// Takes the buffers of every frame of `batch` back and leaves it empty.
    pub fn free_batch(&mut self, batch: &mut Batch) {
        for frame in batch.drain(..) {
            self.free(frame);
        }
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        self.stats
    }
}

/// Up to [`MAX_BATCH`] frames on their way; made once with that capacity and reused.
pub type Batch = Vec<Frame>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_frames_spill_into_a_tail_and_come_back_whole() {
        let mut pool = Pool::new(PoolConfig::default());
        let bytes: Vec<u8> = (0..65_549u32).map(|i| i as u8).collect();
        let frame = pool.frame_from(&bytes).expect("fits");
        assert_eq!(frame.len(), bytes.len());
        assert_eq!(frame.to_vec(), bytes);
        let copy = pool.clone_frame(&frame);
        assert_eq!(copy.to_vec(), bytes);
        pool.free(frame);
        pool.free(copy);
        let before = pool.stats();
        let mut again = pool.alloc_with_tail();
        pool.take_unused_tail(&mut again);
        assert!(again.receive_buffers().1.is_empty());
        pool.free(again);
        assert_eq!(pool.stats(), before, "reused, not allocated");
        assert!(pool.frame_from(&vec![0; HEAD_SIZE + TAIL_SIZE]).is_none());
    }

    #[test]
    fn a_frame_is_small_and_its_copies_go_to_the_same_queue() {
        // It is moved from batch to batch: each word counts.
        assert_eq!(size_of::<Frame>(), 40);
        let mut pool = Pool::default();
        let mut frame = pool.frame_from(&[1; 60]).expect("fits");
        frame.queue = 7;
        assert_eq!(pool.clone_frame(&frame).queue, 7);
        frame.set_received(60);
        assert_eq!(frame.queue, 0, "what comes from a device chose none");
    }

    #[test]
    fn short_frames_are_padded_wherever_they_lie() {
        let padded = |mut frame: Frame| {
            frame.pad_to(60);
            frame.pad_to(10);
            frame.to_vec()
        };
        let bytes = |n: usize| [vec![7; n], vec![0; 60 - n]].concat();
        let mut pool = Pool::default();
        let mut dirty = pool.frame_from(&[7; 60]).expect("fits");
        dirty.truncate(14);
        assert_eq!(padded(dirty), bytes(14));
        // All of the buffer is used, nearly all of it popped again.
        let mut late = pool.frame_from(&[7; HEAD_SIZE - HEADROOM]).expect("fits");
        late.pop_front(HEAD_SIZE - HEADROOM - 20);
        assert_eq!(padded(late), bytes(20));
        let mut tailed = pool.frame_from(&[7; HEAD_SIZE - HEADROOM + 5]).expect("fits");
        tailed.pop_front(HEAD_SIZE - HEADROOM - 20);
        assert_eq!(padded(tailed), bytes(25));
    }

    #[test]
    fn headroom_is_bounded() {
        let mut frame = Frame::from_bytes(&[1, 2, 3]);
        frame.push_front(HEADROOM).expect("fits")[0] = 9;
        assert_eq!(frame.len(), HEADROOM + 3);
        assert_eq!(frame.push_front(1).unwrap_err(), NoRoom { wanted: 1 });
        frame.pop_front(HEADROOM + 1);
        assert_eq!(frame.to_vec(), [2, 3]);
    }

    #[test]
    fn received_lengths_split_between_head_and_tail() {
        let mut pool = Pool::default();
        let mut frame = pool.alloc_with_tail();
        let (head, tail) = frame.receive_buffers();
        (head[0], tail[0]) = (7, 8);
        let in_head = head.len();
        frame.set_received(in_head + 1);
        assert_eq!((frame.head()[0], frame.tail()), (7, &[8u8][..]));
        frame.set_received(60);
        assert_eq!((frame.len(), frame.tail().len()), (60, 0));
        frame.truncate(20);
        assert_eq!(frame.len(), 20);
        let mut next = pool.alloc();
        frame.give_unused_tail(&mut next);
        assert_eq!((frame.receive_buffers().1.len(), next.receive_buffers().1.len()), (0, TAIL_SIZE));
    }
}
