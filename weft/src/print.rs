//! What commands tell on their standard output. That nobody can be told is no reason to stop halfway: it is remembered,
//! and the command fails when it is done.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

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
