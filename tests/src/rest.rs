//! Calls of the REST API from tests, which are not asynchronous.

use std::future::Future;

/// Runs a call of [`controller_api::client::Client`] to its end. The socket is opened where the thread is, so inside
/// its sandbox.
///
/// # Panics
/// When the machine is out of descriptors.
pub fn wait_call<T>(call: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread can have a runtime").block_on(call)
}
