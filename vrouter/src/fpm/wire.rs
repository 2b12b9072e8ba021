//! What FRR's `dplane_fpm_nl` sends: netlink messages, each behind four bytes of FPM.

use crate::netlink::{FLAGS_AT, word32};

/// Version, kind of payload, length of all in network order.
pub(super) const HEADER_LEN: usize = 4;

/// In a route's flags: what became of it (linux/rtnetlink.h).
pub(super) const OFFLOADED: u32 = 0x4000;
pub(super) const OFFLOAD_FAILED: u32 = 0x2000_0000;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FpmError {
    /// Another version than 1.
    #[error("FPM version {0}, 1 is spoken here")]
    Version(u8),
    /// Not netlink.
    #[error("payload of kind {0}; let FRR load dplane_fpm_nl, which sends netlink")]
    Kind(u8),
    /// A length that cannot be.
    #[error("a message of {0} bytes")]
    Length(u16),
    /// Tables have become those of other VRFs.
    #[error("tables have become those of other VRFs: let it tell them again")]
    Tables,
}

/// Whether a whole message is at the beginning of `bytes`, and where it ends.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<usize>, FpmError> {
    let Some([version, kind, high, low]) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let len = u16::from_be_bytes([*high, *low]);
    match () {
        () if *version != 1 => Err(FpmError::Version(*version)),
        () if *kind != 1 => Err(FpmError::Kind(*kind)),
        () if usize::from(len) < HEADER_LEN => Err(FpmError::Length(len)),
        () => Ok((bytes.len() >= usize::from(len)).then_some(len.into())),
    }
}

/// Adds the message that tells FRR what became of a route: its own, with the flag.
pub(super) fn tell(answers: &mut Vec<u8>, message: &[u8], flag: u32) {
    let len = (HEADER_LEN + message.len()).min(u16::MAX.into()) as u16;
    answers.extend([1, 1]);
    answers.extend(len.to_be_bytes());
    let at = answers.len() + FLAGS_AT;
    answers.extend_from_slice(message);
    if let (Some(flags), Some(field)) = (word32(answers, at), answers.get_mut(at..at + 4)) {
        field.copy_from_slice(&(flags | flag).to_ne_bytes());
    }
}
