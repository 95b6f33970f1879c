//! What a node does beside passing packets on: its stack, and tasks behind it. There are none unless the configuration asks
//! for them. Called by program.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use super::failure::Failure;
use crate::entropy;
use crate::stack::{Stack, StackConfig};

// Our own choices.
/// Threads for tasks; packets have their own.
const THREADS_MAX: usize = 4;
/// How long tasks may take to notice that they end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The process's own stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackPlan {
    /// All buffers of TCP connections together.
    pub buffer_bytes_max: usize,
    /// TCP connections, UDP and echo flows together.
    pub flows_max: usize,
}

/// A stack, and the threads for what uses it. Dropping it ends both.
pub(super) struct Background {
    stack: Stack,
    tasks: Option<tokio::runtime::Runtime>,
}

impl Background {
    /// A stack for a node with these addresses inside the tunnels.
    pub(super) fn start(
        plan: &StackPlan,
        addresses: &[IpAddr],
        mtu_bytes: u16,
        workers: usize,
    ) -> Result<Background, Failure> {
        let seed =
            entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
        let tasks = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("task")
            .enable_all()
            .build()
            .map_err(|error| Failure::of_system("cannot start threads", &error))?;
        let config = StackConfig {
            addresses: addresses.to_vec(),
            mtu_bytes,
            buffer_bytes_max: plan.buffer_bytes_max,
            flows_max: plan.flows_max,
            seed,
            workers,
        };
        let stack = Stack::new(config, tasks.handle());
        Ok(Background { stack, tasks: Some(tasks) })
    }

    /// Runs a task until it ends, or the program.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &self.tasks {
            tasks.spawn(task);
        }
    }

    /// The stack.
    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.take() {
            tasks.shutdown_timeout(END_LIMIT);
        }
    }
}
