//! weft beside other people's software: Open vSwitch, os-ken, FAUCET, schemathesis, tshark, FRR, dig, nftables.

mod controller;
mod differential;
mod dig;
mod faucet;
mod frr;
mod nftables;
mod ofctl;
mod ofctl10;
mod ofctl14;
mod ofctl_rest;
mod os_ken;
mod ovs;
mod schemathesis;
mod tls;
mod tshark;
mod weft_ofctl;
