#![no_main]
//! See `weft_fuzz::router`.

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use weft_fuzz::{mutate, target};

fuzz_target!(|data: &[u8]| weft_fuzz::router(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let Some(target) = target("router") else { return size };
    mutate::mutate(&mut data[..max_size.max(size)], size, (target.head, target.piece), seed, |piece| {
        let len = piece.len();
        fuzzer_mutate(piece, len, len);
    })
});
