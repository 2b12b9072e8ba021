//! The router: FIB, neighbours, NAT, services.
