//! The allocator of the binary: the system's, which counts for benches that promise to allocate nothing, and asks for huge
//! pages where an allocation is large.

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

/// The system's allocator, counted and with huge pages. A binary declares it as its `#[global_allocator]`.
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

/// Has all threads allocate from one piece of memory that grows in large steps. By itself each thread has its own, which the
/// C library makes larger by a page at a time, each time with a call of the system: costly where much is built at once.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time; what is allocated already stays where it is.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, HEAP_STEP);
    }
}

/// Bytes by which a shared heap grows.
#[cfg(target_env = "gnu")]
const HEAP_STEP: i32 = 4 << 20;

/// Allocations from this size on are asked for in huge pages: tables that are looked up everywhere would else need an entry
/// of the processor's page table for nearly every look-up. Smaller ones fit what it remembers, and would waste memory.
const HUGE_FROM: usize = 8 << 20;

/// Asks for huge pages in a large allocation. Where the system has none, or gives none, nothing changes.
#[inline(always)]
fn prefer_huge(ptr: *mut u8, size: usize) -> *mut u8 {
    if size >= HUGE_FROM && !ptr.is_null() {
        advise(ptr, size);
    }
    ptr
}

#[cold]
fn advise(ptr: *mut u8, size: usize) {
    const PAGE: usize = 4096;
    let skip = ptr.addr().wrapping_neg() % PAGE;
    let whole = (size - skip) / PAGE * PAGE;
    // SAFETY: the range lies within an allocation that is ours; the advice changes neither contents nor addresses.
    unsafe {
        libc::madvise(ptr.add(skip).cast(), whole, libc::MADV_HUGEPAGE);
    }
}

fn count() {
    if COUNTS.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is handed on to the system's allocator unchanged, whose promises are therefore ours; advice about pages
// changes none of them.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        prefer_huge(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        prefer_huge(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `ptr` came from this allocator, so from the system's.
        prefer_huge(unsafe { System.realloc(ptr, layout, new_size) }, new_size)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from this allocator, so from the system's.
        unsafe { System.dealloc(ptr, layout) }
    }
}
