//! `run`: the connector at work. The main thread waits for signals; administrators are answered by threads of their own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use router_core::rules::Applied;
use serde_json::Value;
use sluice_runtime::host::admin::{AdminServer, Answer, Refusal, Request, answers, collect};
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::main_loop;
use sluice_runtime::host::metrics::{NodeCollector, NodeNumbers, Site};
use sluice_runtime::host::operations::{Operations, Process};
use sluice_runtime::host::program::Program;
use sluice_runtime::host::status_page::Page;
use sluice_runtime::service::Wakes;

use crate::config::ConnectorConfig;
use crate::plan::plan;
use crate::rules;

/// Runs the connector until a signal ends it.
pub(crate) fn run(file: &Path, log: &LogOptions) -> Result<(), Failure> {
    let config = ConnectorConfig::load(file)?;
    let process = Process::begin(log, &config.operations, &config.confinement(file))?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    serve(file, config, Some(process), &wakes)
}

/// Runs the connector of a configuration file in this thread, beside whatever else the process does, until one of `wakes`
/// ends it. Signals and logging are the caller's.
///
/// # Errors
/// What is wrong with the file, what the system denies, or why the node could not go on.
pub fn embed(file: &Path, wakes: &Wakes) -> Result<(), Failure> {
    serve(file, ConnectorConfig::load(file)?, None, wakes)
}

fn serve(
    file: &Path,
    config: ConnectorConfig,
    process: Option<Process>,
    wakes: &Wakes,
) -> Result<(), Failure> {
    let admin = AdminServer::bind(&config.node.admin_socket).map_err(|error| {
        Failure::of_system(
            format!("cannot bind the admin socket {}", config.node.admin_socket.display()),
            &error,
        )
    })?;
    let settings = config.operations.clone();
    let connector = Arc::new(Connector::start(file, config, wakes)?);
    let operations = Operations::start(&settings, process.as_ref(), connector.site())?;
    connector.serve_status_page()?;
    let answering = Arc::clone(&connector);
    let _admin = admin
        .start(move |request, answer| answering.answer(request, answer))
        .map_err(|error| Failure::of_system("cannot answer on the admin socket", &error))?;
    process.as_ref().map_or(Ok(()), Process::started)?;
    let outcome = main_loop::run(wakes, || connector.reload(&operations), || connector.program.is_healthy());
    connector.program.stop();
    outcome
}

struct Connector {
    file: PathBuf,
    program: Program,
    /// Taken before the node's own lock, never after it.
    config: Mutex<ConnectorConfig>,
}

impl Connector {
    fn start(file: &Path, config: ConnectorConfig, wakes: &Wakes) -> Result<Self, Failure> {
        let rules = |peers: &_, _| rules::snapshot(&config, peers);
        let program = Program::start(plan(&config), rules, wakes.waker())?;
        tracing::info!(
            name = %config.node.name,
            port = program.runtime().listen_port(),
            routers = config.routers.len(),
            mappings = config.mappings.len(),
            "connector up"
        );
        Ok(Self { file: file.to_owned(), program, config: Mutex::new(config) })
    }

    fn config(&self) -> MutexGuard<'_, ConnectorConfig> {
        // It is replaced in one move, so it is whole whoever panicked.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_status_page(self: &Arc<Self>) -> Result<(), Failure> {
        let connector = Arc::downgrade(self);
        self.program
            .serve_status_page(move |asker| connector.upgrade().map(|connector| connector.page(asker)))
    }

    fn page(&self, asker: IpAddr) -> Page {
        let texts = rules::texts(&self.config());
        collect::page(&self.program, "connector", &texts, asker)
    }

    /// What is told about it.
    fn site(self: &Arc<Self>) -> Site {
        let connector = Arc::downgrade(self);
        let look = move || connector.upgrade().map(|connector| NodeNumbers::of(&connector.program, None));
        Site::new(
            |registry| registry.register_collector(Box::new(NodeCollector::new(look))),
            Box::new(|| Ok(())),
        )
    }

    fn reload(&self, operations: &Operations) {
        match self.try_reload(operations) {
            Ok(applied) => tracing::info!(
                opened = applied.added,
                closed = applied.removed,
                kept = applied.kept,
                "reload: the new configuration is in force"
            ),
            Err(why) => tracing::error!(%why, "reload refused: the former configuration stays in force"),
        }
    }

    fn try_reload(&self, operations: &Operations) -> Result<Applied, String> {
        let new = ConnectorConfig::load(&self.file).map_err(|problems| problems.to_string())?;
        let prepared = operations
            .prepare(&new.operations, &new.confinement(&self.file))
            .map_err(|fault| fault.to_string())?;
        let mut config = self.config();
        let rules = |peers: &_, _| rules::snapshot(&new, peers);
        let applied = self.program.reload(plan(&new), rules).map_err(|fault| fault.to_string())?;
        *config = new;
        operations.take(prepared);
        Ok(applied)
    }

    fn answer(&self, request: Request, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
        match request {
            Request::Status => {
                let texts = rules::texts(&self.config());
                answers::report(&collect::status(&self.program, "connector", &texts))
            }
            Request::Flows { max } => answers::flows(&self.program, max, answer),
            Request::Explain { .. }
            | Request::SessionOpen { .. }
            | Request::SessionClose { .. }
            | Request::AccessAdd(_)
            | Request::AccessRemove { .. } => {
                Err(Refusal::new("a connector does not do that", "Ask a router."))
            }
        }
    }
}
