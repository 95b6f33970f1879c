//! What a node does beside passing packets on: its stack, and tasks behind it. There are none unless the configuration asks
//! for them. Called by program.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::admin::report::SocketsReport;
use super::config::node::NodeSettings;
use super::config::sockets::SocketsSettings;
use super::failure::{Exit, Failure};
use super::sockets::{self, SocketsCounters};
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

impl StackPlan {
    /// What services at our own addresses need, and the connection to a server.
    pub const FOR_SERVICES: Self = Self { buffer_bytes_max: 16 * 1024 * 1024, flows_max: 1024 };

    /// The stack that a way out by sockets needs, or services at our own addresses, or both; `None` for neither.
    pub fn of(node: &NodeSettings, sockets: Option<&SocketsSettings>) -> Option<Self> {
        let for_sockets = |sockets: &SocketsSettings| Self {
            buffer_bytes_max: sockets.buffer_bytes_max,
            flows_max: sockets.connections_max,
        };
        sockets.map(for_sockets).or(node.status_page.then_some(Self::FOR_SERVICES))
    }
}

/// A stack, and the threads for what uses it. Dropping it ends both.
pub(super) struct Background {
    stack: Stack,
    sockets: Option<(SocketsSettings, Arc<SocketsCounters>)>,
    tasks: Option<tokio::runtime::Runtime>,
}

impl Background {
    /// A stack for a node with these addresses inside the tunnels. What goes to other addresses leaves by `sockets`.
    pub(super) fn start(
        plan: &StackPlan,
        sockets: Option<&SocketsSettings>,
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
        let sockets = sockets.map(|settings| serve(&stack, &tasks, settings)).transpose()?;
        Ok(Background { stack, sockets, tasks: Some(tasks) })
    }

    /// What goes through sockets now; `None` if nothing ever does.
    pub(super) fn sockets_report(&self) -> Option<SocketsReport> {
        let (settings, counters) = self.sockets.as_ref()?;
        let (stack, [tcp, udp, echo], [up, down]) = (self.stack.stats(), counters.open(), counters.bytes());
        let lost = stack.lost.iter().map(|(why, count)| (format!("stack_{}", why.name()), *count));
        let counted = counters.iter().map(|(name, count)| (name.to_owned(), count)).chain(lost);
        Some(SocketsReport {
            tcp,
            udp,
            echo,
            connections_max: settings.connections_max as u64,
            bytes_to_devices: up,
            bytes_to_clients: down,
            buffer_bytes: stack.buffer_bytes as u64,
            buffer_bytes_max: settings.buffer_bytes_max as u64,
            counters: counted.filter(|(_, count)| *count > 0).collect(),
        })
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

fn serve(
    stack: &Stack,
    tasks: &tokio::runtime::Runtime,
    settings: &SocketsSettings,
) -> Result<(SocketsSettings, Arc<SocketsCounters>), Failure> {
    let taken =
        |error| Failure::new(Exit::Failed, "what leaves by sockets is served already").because(&error);
    let counters = Arc::<SocketsCounters>::default();
    let taker = sockets::taker(settings.clone(), Arc::clone(&counters), tasks.handle().clone());
    stack.set_foreign(taker).map_err(taken)?;
    Ok((settings.clone(), counters))
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.take() {
            tasks.shutdown_timeout(END_LIMIT);
        }
    }
}
