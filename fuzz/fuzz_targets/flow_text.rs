#![no_main]
//! See `weft_fuzz::flow_text`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weft_fuzz::flow_text(data));
