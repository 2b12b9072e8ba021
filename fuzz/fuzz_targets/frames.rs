#![no_main]
//! See `weft_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz::frames(data));
