//! The threads on which everything behind the tunnel runs. Packets have threads of their own.

use std::thread;

use sluice_runtime::host::failure::Failure;
use tokio::runtime::{Builder, Runtime};

const THREADS_MAX: usize = 4;

/// Starts them.
///
/// # Errors
/// If the system denies them.
pub(crate) fn start() -> Result<Runtime, Failure> {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let runtime =
        Builder::new_multi_thread().worker_threads(threads).thread_name("task").enable_all().build();
    runtime.map_err(|error| Failure::of_system("cannot start threads", &error))
}
