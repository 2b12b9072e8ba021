//! VLAN tags (IEEE 802.1Q-2022 §9): one, several, pushed and popped.
//!
//! On the wire a tag is four bytes between the source address and the EtherType: TPID, then TCI. Seen from the
//! EtherType that announced it, it is TCI, then the next EtherType; [`View`] reads it so.

use crate::bytes::be16;
use crate::ethernet::HEADER_LEN;
use crate::{EtherType, Frame, Layer, NoRoom, ParseError, VlanId};

/// Size in bytes of one tag.
pub const TAG_LEN: usize = 4;
/// Most tags a frame may carry; what has more is refused, so that the cost of a frame stays bounded.
pub const MAX_TAGS: usize = 8;

/// Tag control information: priority, drop eligibility, VLAN id (IEEE 802.1Q §9.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tci(pub u16);

impl Tci {
    /// From its parts; `pcp` above 7 is cut to three bits.
    pub const fn new(vlan: Option<VlanId>, pcp: u8, dei: bool) -> Self {
        let vid = match vlan {
            Some(id) => id.get(),
            None => 0,
        };
        Self(vid | (dei as u16) << 12 | ((pcp & 7) as u16) << 13)
    }

    /// The twelve bits as they are: 0 is a priority tag, 4095 is reserved.
    #[inline(always)]
    pub const fn vid(self) -> u16 {
        self.0 & 0x0fff
    }

    /// The VLAN; none for a priority tag (0) and the reserved 4095.
    #[inline(always)]
    pub fn vlan(self) -> Option<VlanId> {
        VlanId::new(self.vid()).ok()
    }

    /// Priority code point, 0 to 7.
    #[inline(always)]
    pub const fn pcp(self) -> u8 {
        (self.0 >> 13) as u8
    }

    /// Drop eligible indicator.
    #[inline(always)]
    pub const fn dei(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// The same with another VLAN.
    pub const fn with_vlan(self, vlan: VlanId) -> Self {
        Self(self.0 & 0xf000 | vlan.get())
    }

    /// The same with another priority, cut to three bits.
    pub const fn with_pcp(self, pcp: u8) -> Self {
        Self(self.0 & 0x1fff | ((pcp & 7) as u16) << 13)
    }
}

/// One tag as a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag {
    /// [`EtherType::VLAN`] or [`EtherType::QINQ`].
    pub tpid: EtherType,
    /// Priority and VLAN.
    pub tci: Tci,
}

impl Tag {
    /// A customer tag of priority 0.
    pub const fn new(vlan: VlanId) -> Self {
        Self { tpid: EtherType::VLAN, tci: Tci::new(Some(vlan), 0, false) }
    }

    /// A service tag of priority 0.
    pub const fn service(vlan: VlanId) -> Self {
        Self { tpid: EtherType::QINQ, tci: Tci::new(Some(vlan), 0, false) }
    }

    /// As on the wire: TPID, TCI.
    pub const fn to_bytes(self) -> [u8; TAG_LEN] {
        let (tpid, tci) = (self.tpid.0.to_be_bytes(), self.tci.0.to_be_bytes());
        [tpid[0], tpid[1], tci[0], tci[1]]
    }
}

/// The rest of a tag whose TPID has been read: TCI and the type of what follows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: &'a [u8; TAG_LEN],
    payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the bytes after a type field for which [`EtherType::is_vlan`] holds.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] below four bytes.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        match bytes.split_first_chunk() {
            Some((header, payload)) => Ok(Self { header, payload }),
            None => Err(ParseError::Truncated(Layer::Vlan)),
        }
    }

    /// Priority and VLAN.
    #[inline(always)]
    pub fn tci(&self) -> Tci {
        Tci(be16(self.header, 0))
    }

    /// What follows.
    #[inline(always)]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be16(self.header, 2))
    }

    /// Bytes after the tag.
    #[inline(always)]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// Up to [`MAX_TAGS`] tags, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    tags: [Tag; MAX_TAGS],
    n: u8,
}

impl TagList {
    /// No tag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `tag` inside the others; false when the list is full.
    pub fn push(&mut self, tag: Tag) -> bool {
        match self.tags.get_mut(usize::from(self.n)) {
            Some(slot) => {
                *slot = tag;
                self.n += 1;
                true
            }
            None => false,
        }
    }

    /// Number of tags.
    pub fn len(&self) -> usize {
        usize::from(self.n)
    }

    /// No tag.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The outermost.
    pub fn outer(&self) -> Option<Tag> {
        self.iter().next()
    }

    /// Outermost first.
    pub fn iter(&self) -> impl Iterator<Item = Tag> + '_ {
        self.tags.iter().take(usize::from(self.n)).copied()
    }
}

/// The tags of a frame and what follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Outermost first.
    pub list: TagList,
    /// Type after the last tag.
    pub ethertype: EtherType,
    /// Bytes from the beginning of the frame to what that type announces.
    pub payload_at: usize,
}

impl Tags {
    /// Walks from the first type field; `payload` follows the 14 bytes of the header.
    pub(crate) fn walk(first: EtherType, payload: &[u8]) -> Result<Self, ParseError> {
        let mut tags = Self { list: TagList::default(), ethertype: first, payload_at: HEADER_LEN };
        let mut rest = payload;
        while tags.ethertype.is_vlan() {
            let view = View::parse(rest)?;
            if !tags.list.push(Tag { tpid: tags.ethertype, tci: view.tci() }) {
                return Err(ParseError::TooManyTags);
            }
            tags.ethertype = view.ethertype();
            tags.payload_at += TAG_LEN;
            rest = view.payload();
        }
        Ok(tags)
    }
}

impl Frame {
    /// The outermost tag, if there is one.
    #[inline]
    pub fn outer_vlan(&self) -> Option<Tag> {
        let (header, _) = self.head().split_first_chunk::<{ HEADER_LEN + 2 }>()?;
        let tpid = EtherType(be16(header, 12));
        tpid.is_vlan().then(|| Tag { tpid, tci: Tci(be16(header, 14)) })
    }

    /// Pushes `tag` outside the others and moves the start of a partial checksum with the bytes.
    ///
    /// # Errors
    /// [`NoRoom`] when the headroom is used up or there is no Ethernet header; nothing has changed.
    pub fn push_vlan(&mut self, tag: Tag) -> Result<(), NoRoom> {
        if self.head().len() < HEADER_LEN {
            return Err(NoRoom { wanted: TAG_LEN });
        }
        let head = self.push_front(TAG_LEN)?;
        head.copy_within(TAG_LEN..TAG_LEN + 12, 0);
        head[12..12 + TAG_LEN].copy_from_slice(&tag.to_bytes());
        if let Some(csum) = &mut self.meta.csum {
            csum.start = csum.start.saturating_add(TAG_LEN as u16);
        }
        Ok(())
    }

    /// Takes the outermost tag off and moves the start of a partial checksum with the bytes. None: no tag was there.
    pub fn pop_vlan(&mut self) -> Option<Tag> {
        let tag = self.outer_vlan()?;
        if self.head().len() < HEADER_LEN + TAG_LEN {
            return None;
        }
        self.head_mut().copy_within(0..12, TAG_LEN);
        self.pop_front(TAG_LEN);
        if let Some(csum) = &mut self.meta.csum {
            csum.start = csum.start.saturating_sub(TAG_LEN as u16);
        }
        Some(tag)
    }

    /// Changes the control information of the outermost tag; false when there is none.
    pub fn set_outer_tci(&mut self, tci: Tci) -> bool {
        if self.outer_vlan().is_none() {
            return false;
        }
        self.head_mut()[14..16].copy_from_slice(&tci.0.to_be_bytes());
        true
    }
}
