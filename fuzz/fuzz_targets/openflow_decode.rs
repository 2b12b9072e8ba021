#![no_main]
//! See `weft_fuzz::openflow_decode`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz::openflow_decode(data));
