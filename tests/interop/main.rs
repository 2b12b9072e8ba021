//! weft beside other people's software: Open vSwitch, os-ken, FAUCET, tshark.

mod controller;
mod differential;
mod faucet;
mod ofctl;
mod ofctl10;
mod ofctl14;
mod os_ken;
mod ovs;
mod tls;
mod tshark;
mod weft_ofctl;
