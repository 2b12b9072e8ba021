//! The processor's own clock.

#![allow(unsafe_code)]

/// The time-stamp counter of this processor; elsewhere nanoseconds.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the counter, and Linux leaves it readable.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds of the monotonic clock: there is no counter that all processors of this kind have.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}
