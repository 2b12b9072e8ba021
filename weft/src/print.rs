//! What commands tell on their standard output. That nobody can be told is no reason to stop halfway: it is remembered,
//! and the command fails when it is done.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How soon the end of a reader is seen.
const LOOK: Duration = Duration::from_millis(200);

static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to the standard output.
pub fn text(text: Arguments<'_>) {
    note(anstream::stdout().write_fmt(text));
}

fn note(result: io::Result<()>) {
    if let Err(error) = result {
        FAILURE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Writes to the standard error. Who does not listen there cannot be told so.
pub fn aside(text: Arguments<'_>) {
    let _ = anstream::stderr().write_fmt(text);
}

/// Whether someone still reads.
pub fn is_wanted() -> bool {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).is_none()
}

/// Ends when the standard output is a pipe or socket and its reader has gone; for those who have nothing to write.
pub async fn nobody_reads() {
    // With this interest a descriptor is only watched for its end.
    let has_gone = || {
        let output = io::stdout();
        let mut output = [PollFd::new(output.as_fd(), PollFlags::empty())];
        let ends = PollFlags::POLLERR | PollFlags::POLLHUP;
        poll(&mut output, PollTimeout::ZERO).is_ok()
            && output[0].revents().is_some_and(|found| found.intersects(ends))
    };
    while !has_gone() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether everything could be written.
///
/// # Errors
/// The first thing that could not. A reader that wants no more, such as `head`, is no mistake.
pub fn finish() -> io::Result<()> {
    note(io::stdout().flush());
    match FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
