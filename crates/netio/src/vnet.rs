//! The virtio-net header.
