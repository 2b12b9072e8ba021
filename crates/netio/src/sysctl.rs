//! Settings under /proc/sys, which the kernel shows per namespace of the thread that looks.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::netns::Namespace;

/// Writes `net/...` settings such as `net/ipv6/conf/eth0/disable_ipv6` inside `namespace`, or in that of the calling
/// thread.
///
/// # Errors
/// When the setting does not exist (`NotFound`: a kernel without IPv6, for instance) or may not be written.
pub fn set_sysctl(namespace: Option<&Namespace>, key: &str, value: &str) -> io::Result<()> {
    let path = PathBuf::from("/proc/sys").join(key);
    match namespace {
        None => fs::write(path, value),
        Some(ns) => ns.run(|| fs::write(path, value)).map_err(io::Error::other)?,
    }
}

/// Keeps the kernel's own stack from speaking on an interface that is a mere port: no IPv6, no answer to ARP, no
/// forwarding. In the namespace of the calling thread.
///
/// # Errors
/// When a setting exists but may not be written.
pub fn quieten(interface: &str) -> io::Result<()> {
    for (key, value) in [
        (format!("net/ipv6/conf/{interface}/disable_ipv6"), "1"),
        // 8: answer for no address at all (Documentation/networking/ip-sysctl.rst).
        (format!("net/ipv4/conf/{interface}/arp_ignore"), "8"),
        (format!("net/ipv4/conf/{interface}/forwarding"), "0"),
    ] {
        match set_sysctl(None, &key, value) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}
