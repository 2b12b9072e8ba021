//! Many writes by one system call.
//!
//! A write to a tap takes the frame through the stack of the host behind it and wakes whoever waits for it there. When
//! the call returns, the kernel may give that one the core, for a single frame; with a call a frame it then switches
//! back and forth. Written by one call (io_uring), all frames of a round are there when the receiver runs.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, squeue, types};
use nix::errno::Errno;

/// Writes of one call, at most.
pub const MOST: usize = 64;

/// What one write consists of; the second piece may be empty.
pub type Pieces<'a> = [IoSlice<'a>; 2];

thread_local! {
    /// Ports come and go with their threads: a ring belongs to the thread that writes. None where the kernel refuses.
    static RING: RefCell<Option<IoUring>> = RefCell::new(ring().ok());
}

/// A ring whose requests run within the call that hands them over. Kernels before 6.6 do not know the last flag, and
/// those before 6.4 no taps that refuse to wait.
fn ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_no_sqarray().dontfork();
    builder.build(MOST as u32)
}

/// Writes each of `writes`, in order and without waiting for room, and tells what came of each: bytes, or an errno as a
/// negative number. At most [`MOST`]. None if there is no ring: nothing was written.
pub fn write_each(fd: BorrowedFd<'_>, writes: &[Pieces<'_>]) -> Option<[i32; MOST]> {
    RING.with_borrow_mut(|slot| {
        let mut results = [-(Errno::EAGAIN as i32); MOST];
        let ring = slot.as_mut()?;
        if submit(ring, fd, writes, &mut results).is_err() {
            // Out of memory, for instance. What is left in the ring must never be written: its buffers go.
            *slot = None;
        }
        Some(results)
    })
}

fn submit(
    ring: &mut IoUring,
    fd: BorrowedFd<'_>,
    writes: &[Pieces<'_>],
    results: &mut [i32; MOST],
) -> io::Result<()> {
    let n = writes.len().min(MOST);
    let mut queue = ring.submission();
    for (at, pieces) in writes[..n].iter().enumerate() {
        // SAFETY: descriptor, pieces and what they point to are borrowed until this function returns. By then every
        // write has ended, as none of them waits, or has not begun and never will: then the caller closes the ring. The
        // kernel only reads through the pointers. The queue is empty and holds MOST entries.
        unsafe { queue.push(&entry(fd, pieces).user_data(at as u64)) }.map_err(io::Error::other)?;
    }
    drop(queue);
    let mut n_ended = 0;
    while n_ended < n {
        match ring.submit_and_wait(n - n_ended) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for completion in ring.completion() {
            if let Some(result) = results.get_mut(completion.user_data() as usize) {
                *result = completion.result();
            }
            n_ended += 1;
        }
    }
    Ok(())
}

fn entry(fd: BorrowedFd<'_>, pieces: &Pieces<'_>) -> squeue::Entry {
    let fd = types::Fd(fd.as_raw_fd());
    let [first, second] = pieces;
    // That the descriptor does not block is not enough: without the flag the kernel tries again when there is room.
    if second.is_empty() {
        let write = opcode::Write::new(fd, first.as_ptr(), first.len() as u32);
        return write.rw_flags(libc::RWF_NOWAIT).build();
    }
    // An IoSlice is an iovec, as the standard library promises.
    let write = opcode::Writev::new(fd, pieces.as_ptr().cast(), pieces.len() as u32);
    write.rw_flags(libc::RWF_NOWAIT).build()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use nix::fcntl::OFlag;

    use super::*;

    #[test]
    fn writes_arrive_in_order_and_each_says_what_came_of_it() {
        assert!(ring().is_ok(), "the kernel of the tests has io_uring");
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).expect("a pipe");
        let numbers: Vec<[u8; 2]> = (0..MOST as u8).map(|n| [n, 0xff]).collect();
        let writes: Vec<Pieces<'_>> = numbers
            .iter()
            .map(|n| {
                // Every third in two pieces.
                let at = if n[0] % 3 == 0 { 1 } else { 2 };
                [IoSlice::new(&n[..at]), IoSlice::new(&n[at..])]
            })
            .collect();
        for _ in 0..3 {
            assert_eq!(write_each(write.as_fd(), &writes), Some([2; MOST]));
            let mut seen = vec![0; 2 * MOST];
            std::fs::File::from(read.try_clone().expect("a descriptor")).read_exact(&mut seen).expect("all");
            assert_eq!(seen, numbers.concat());
        }
        // A pipe that is full takes no more.
        let page = vec![7; 4096];
        let writes = [[IoSlice::new(&page), IoSlice::new(&[])]; MOST];
        let results = write_each(write.as_fd(), &writes).expect("a ring");
        let n_full = results.iter().filter(|result| **result == -(Errno::EAGAIN as i32)).count();
        assert_eq!((n_full, results[0]), (MOST - 16, 4096), "{results:?}");
    }
}
