//! weft beside other people's software: Debian's Open vSwitch.

mod controller;
mod ovs;
