//! weft beside other people's software: Debian's Open vSwitch.

mod controller;
mod differential;
mod ofctl;
mod ovs;
mod tls;
mod weft_ofctl;
