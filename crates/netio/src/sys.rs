//! The few system calls that have no safe wrapper, each behind a safe function.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use packet::MacAddr;

/// `IFF_*` of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(libc::c_short);

impl Flags {
    pub fn is_up(self) -> bool {
        i32::from(self.0) & libc::IFF_UP != 0
    }

    pub fn is_running(self) -> bool {
        i32::from(self.0) & libc::IFF_RUNNING != 0
    }
}

/// A socket that belongs to the network namespace of the calling thread, for interface requests.
pub fn control_socket() -> io::Result<OwnedFd> {
    new_socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
}

fn new_socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes no pointers; a non-negative result is a descriptor nobody else owns.
    unsafe {
        let fd = libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// A non-blocking packet socket that receives nothing before it is bound.
pub fn packet_socket() -> io::Result<OwnedFd> {
    new_socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

/// A netlink socket of the namespace of the calling thread that becomes readable when an interface changes. Requests
/// about interfaces can be made on it, too.
pub fn link_monitor() -> io::Result<OwnedFd> {
    let socket = new_socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    // SAFETY: sockaddr_nl consists of integers; all zeros is a valid value.
    let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = libc::RTMGRP_LINK as u32;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Binds a packet socket to one interface, for all protocols.
pub fn bind_packet(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll consists of integers; all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as libc::c_int;
    bind(socket, &address)
}

fn bind<T>(socket: &OwnedFd, address: &T) -> io::Result<()> {
    let size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is valid for `size` bytes, which the kernel only reads; the kernel checks family and length.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Throws away what a non-blocking socket has received.
pub fn drain(socket: &OwnedFd) {
    let mut buffer = [0u8; 4096];
    loop {
        // SAFETY: the buffer is valid for its length.
        let n = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        // ENOBUFS says that messages were lost: there may be more behind it, and the caller asks for the state anyway.
        if n < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::ENOBUFS) {
            return;
        }
    }
}

/// Asks the kernel to delete an interface, by a netlink socket of its namespace.
pub fn delete_link(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // struct nlmsghdr { len, type, flags, seq, pid } and struct ifinfomsg { family, type, index, flags, change }.
    let mut message = [0u8; 32];
    message[..4].copy_from_slice(&32u32.to_ne_bytes());
    message[4..6].copy_from_slice(&libc::RTM_DELLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A zeroed request that names an interface. Names longer than the kernel's limit do not exist.
pub fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq consists of integers and arrays and a union of such; all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// An ioctl whose argument is a structure the kernel reads or writes.
///
/// # Safety
/// `T` must be the type that `code` is defined for, and every bit pattern must be valid for it.
pub unsafe fn ioctl<T>(fd: &impl AsFd, code: libc::Ioctl, arg: &mut T) -> io::Result<i32> {
    // SAFETY: the pointer is valid for the size the caller vouches for; the descriptor is borrowed.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), code, std::ptr::from_mut(arg)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An ioctl whose argument is a number.
///
/// # Safety
/// `code` must take its argument by value and have no effect on memory.
pub unsafe fn ioctl_value(fd: &impl AsFd, code: libc::Ioctl, arg: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: no pointer is passed, as the caller vouches.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), code, arg) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn interface_request(socket: &impl AsFd, code: libc::c_ulong, name: &str) -> io::Result<libc::ifreq> {
    let mut request = request(name)?;
    // SAFETY: all codes used in this module are the SIOC[GS]IF* family, which is defined for ifreq.
    unsafe { ioctl(socket, code as libc::Ioctl, &mut request)? };
    Ok(request)
}

/// The index of an interface, in the namespace of the socket.
pub fn interface_index(socket: &impl AsFd, name: &str) -> io::Result<u32> {
    let request = interface_request(socket, libc::SIOCGIFINDEX, name)?;
    // SAFETY: SIOCGIFINDEX fills this member.
    Ok(unsafe { request.ifr_ifru.ifru_ifindex } as u32)
}

/// The present name of the interface with an index.
pub fn name_of_index(socket: &impl AsFd, index: u32) -> io::Result<String> {
    let mut request = request("")?;
    request.ifr_ifru.ifru_ifindex = index as libc::c_int;
    // SAFETY: SIOCGIFNAME is defined for ifreq.
    unsafe { ioctl(socket, libc::SIOCGIFNAME as libc::Ioctl, &mut request)? };
    let bytes: Vec<u8> = request.ifr_name.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The flags of an interface.
pub fn interface_flags(socket: &impl AsFd, name: &str) -> io::Result<Flags> {
    let request = interface_request(socket, libc::SIOCGIFFLAGS, name)?;
    // SAFETY: SIOCGIFFLAGS fills this member.
    Ok(Flags(unsafe { request.ifr_ifru.ifru_flags }))
}

/// Sets an interface up.
pub fn set_up(socket: &impl AsFd, name: &str) -> io::Result<()> {
    let flags = interface_flags(socket, name)?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = flags.0 | libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS is defined for ifreq.
    unsafe { ioctl(socket, libc::SIOCSIFFLAGS as libc::Ioctl, &mut request)? };
    Ok(())
}

/// The MTU of an interface.
pub fn interface_mtu(socket: &impl AsFd, name: &str) -> io::Result<u32> {
    let request = interface_request(socket, libc::SIOCGIFMTU, name)?;
    // SAFETY: SIOCGIFMTU fills this member.
    Ok(unsafe { request.ifr_ifru.ifru_mtu } as u32)
}

/// Sets the MTU of an interface.
pub fn set_mtu(socket: &impl AsFd, name: &str, mtu: u32) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = mtu as libc::c_int;
    // SAFETY: SIOCSIFMTU is defined for ifreq.
    unsafe { ioctl(socket, libc::SIOCSIFMTU as libc::Ioctl, &mut request)? };
    Ok(())
}

/// The hardware address of an Ethernet interface.
pub fn interface_mac(socket: &impl AsFd, name: &str) -> io::Result<MacAddr> {
    let request = interface_request(socket, libc::SIOCGIFHWADDR, name)?;
    // SAFETY: SIOCGIFHWADDR fills this member.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from as u8;
    }
    Ok(MacAddr(mac))
}

/// Sets the hardware address of an Ethernet interface.
pub fn set_mac(socket: &impl AsFd, name: &str, mac: MacAddr) -> io::Result<()> {
    let mut request = request(name)?;
    // SAFETY: sockaddr consists of integers; all zeros is a valid value.
    let mut address: libc::sockaddr = unsafe { mem::zeroed() };
    address.sa_family = libc::ARPHRD_ETHER;
    for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: SIOCSIFHWADDR is defined for ifreq.
    unsafe { ioctl(socket, libc::SIOCSIFHWADDR as libc::Ioctl, &mut request)? };
    Ok(())
}

/// Sets a socket option that is a plain value.
///
/// # Safety
/// `T` must be the type the option is defined for.
pub unsafe fn set_option<T>(fd: &impl AsFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is valid for `size` bytes, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a socket option that is a plain value.
///
/// # Safety
/// `T` must be the type the option is defined for, and every bit pattern must be valid for it.
pub unsafe fn get_option<T: Copy>(fd: &impl AsFd, level: i32, option: i32, mut value: T) -> io::Result<T> {
    let mut size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is valid for `size` bytes, and the kernel writes no more.
    let result = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_mut(&mut value).cast(),
            &mut size,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
