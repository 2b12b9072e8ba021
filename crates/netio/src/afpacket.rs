//! afpacket
