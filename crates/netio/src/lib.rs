//! Ports and the kernel: tap, AF_PACKET, memory, pcap, namespaces, netlink. All unsafe code lives here.
