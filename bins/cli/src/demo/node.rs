//! A router or connector in a thread of this process: what its own program runs, asked on its own admin socket.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_runtime::host::admin::report::{FlowReport, PacketReport, Status};
use sluice_runtime::host::admin::{Request, ask};
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::service::{Wake, Waker, Wakes};

/// How long one may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often one looks whether it has.
const STEP: Duration = Duration::from_millis(2);
/// Flows asked for at once.
const FLOWS_MAX: usize = 1000;

/// The node. Dropping it ends it.
pub(super) struct Node {
    socket: PathBuf,
    waker: Waker,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Node {
    /// Starts `run` and waits until it answers on `socket`.
    ///
    /// # Errors
    /// Why it ended instead.
    pub(super) fn start(
        name: &str,
        socket: &Path,
        run: impl FnOnce(&Wakes) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let wakes = Wakes::without_signals();
        let waker = wakes.waker();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&wakes));
        let thread = thread.map_err(|error| Failure::of_system("cannot start a thread", &error))?;
        let mut node = Self { socket: socket.to_owned(), waker, thread: Some(thread) };
        node.wait_until_up()?;
        Ok(node)
    }

    fn wait_until_up(&mut self) -> Result<(), Failure> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return self.join();
            }
            match self.status() {
                Ok(_) => return Ok(()),
                Err(failure) if Instant::now() > limit => return Err(failure),
                Err(_) => sleep(STEP),
            }
        }
    }

    /// Why it ended.
    fn join(&mut self) -> Result<(), Failure> {
        let ended = || Failure::new(Exit::Failed, "the node ended");
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.and_then(|()| Err(ended())),
            Some(Err(_)) | None => Err(ended()),
        }
    }

    /// Where it is asked.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Everything at a glance.
    pub(super) fn status(&self) -> Result<Status, Failure> {
        read(ask(&self.socket, &Request::Status, |_| {})?)
    }

    /// Its flows.
    pub(super) fn flows(&self) -> Result<Vec<FlowReport>, Failure> {
        let mut flows = Vec::new();
        ask(&self.socket, &Request::Flows { max: FLOWS_MAX }, |flow| flows.push(flow))?;
        flows.into_iter().map(read).collect()
    }

    /// What it would do with a packet.
    pub(super) fn explain(&self, packet: &str) -> Result<PacketReport, Failure> {
        read(ask(&self.socket, &Request::Explain { packet: packet.to_owned(), from: None }, |_| {})?)
    }

    /// Asks for something else, and returns what came with the end.
    pub(super) fn tell(&self, request: &Request) -> Result<Value, Failure> {
        ask(&self.socket, request, |_| {})
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.waker.wake(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            // It stops within its own limits, and whatever it says comes too late.
            let _ = thread.join();
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value)
        .map_err(|error| Failure::new(Exit::Failed, "the node answers what it should not").because(&error))
}
