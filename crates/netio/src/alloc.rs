//! Counting allocations, for benches that promise to make none.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::alloc::{GlobalAlloc, Layout, System};

/// Allocations since counting was switched on, of all threads. Growing one counts as one.
pub static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static COUNTS: AtomicBool = AtomicBool::new(false);

/// Counts from now on; before, an allocation costs one load more.
pub fn count_allocations() {
    COUNTS.store(true, Relaxed);
}

/// The system's allocator, counted. A binary declares it as its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// Gives memory that is free back to the system, as far as it is whole pages: after much work a process keeps what it
/// needed for that. Takes some milliseconds, in which whoever allocates may wait.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time by any thread and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn count() {
    if COUNTS.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged, whose promises are therefore ours.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` came from this allocator, so from the system's.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from this allocator, so from the system's.
        unsafe { System.dealloc(ptr, layout) }
    }
}
