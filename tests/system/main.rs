//! System tests: one file an area, each test in a sandbox of its own.

mod attach;
mod bench;
mod commands;
mod controller;
mod dhcp;
mod fabric;
mod frames;
mod function;
mod harness;
mod lab;
mod observe;
mod offload;
mod openflow;
mod queues;
mod restart;
mod roles;
mod router;
mod shadow;
mod vm;
