#![no_main]
//! See `weft_fuzz::codec`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz::codec(data));
