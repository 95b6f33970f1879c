//! `run`: the router at work. The main thread waits for signals; administrators are answered by threads of their own.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use router_core::Node;
use router_core::rules::{Applied, SessionId};
use serde_json::{Value, json};
use sluice_runtime::host::admin::{AccessRequest, AdminServer, Answer, Refusal, Request, answers, collect};
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::Failure;
use sluice_runtime::host::main_loop;
use sluice_runtime::host::metrics::{NodeCollector, NodeNumbers, Site};
use sluice_runtime::host::moment::Moment;
use sluice_runtime::host::operations::{Operations, Process};
use sluice_runtime::host::peers::PeerNumbers;
use sluice_runtime::host::program::Program;
use sluice_runtime::host::status_page::Page;
use sluice_runtime::service::Wakes;

use crate::access::{Access, Asked};
use crate::config::RouterConfig;
use crate::config::granted::Granted;
use crate::config::session::Session;
use crate::packet_text;
use crate::plan::plan;
use crate::rules;

/// Runs the router until a signal ends it.
pub(crate) fn run(file: &Path, log: &LogOptions) -> Result<(), Failure> {
    let config = RouterConfig::load(file)?;
    let process = Process::begin(log, &config.operations, &config.confinement(file))?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    serve(file, config, Some(process), &wakes)
}

/// Runs the router of a configuration file in this thread, beside whatever else the process does, until one of `wakes`
/// ends it. Signals and logging are the caller's.
///
/// # Errors
/// What is wrong with the file, what the system denies, or why the node could not go on.
pub fn embed(file: &Path, wakes: &Wakes) -> Result<(), Failure> {
    serve(file, RouterConfig::load(file)?, None, wakes)
}

fn serve(file: &Path, config: RouterConfig, process: Option<Process>, wakes: &Wakes) -> Result<(), Failure> {
    let admin = AdminServer::bind(&config.node.admin_socket).map_err(|error| {
        Failure::of_system(
            format!("cannot bind the admin socket {}", config.node.admin_socket.display()),
            &error,
        )
    })?;
    let settings = config.operations.clone();
    let router = Arc::new(Router::start(file, config, wakes)?);
    let operations = Operations::start(&settings, process.as_ref(), router.site())?;
    router.serve_status_page()?;
    let answering = Arc::clone(&router);
    let _admin = admin
        .start(move |request, answer| answering.answer(request, answer))
        .map_err(|error| Failure::of_system("cannot answer on the admin socket", &error))?;
    process.as_ref().map_or(Ok(()), Process::started)?;
    let outcome = main_loop::run(wakes, || router.reload(&operations), || router.tick());
    router.program.stop();
    outcome
}

struct Router {
    file: PathBuf,
    program: Program,
    /// Taken before the node's own lock, never after it.
    access: Mutex<Access>,
}

impl Router {
    fn start(file: &Path, config: RouterConfig, wakes: &Wakes) -> Result<Self, Failure> {
        let rules = |peers: &_, moment| rules::snapshot(&config, &config.sessions, peers, moment);
        let program = Program::start(plan(&config), rules, wakes.waker())?;
        tracing::info!(
            name = %config.node.name,
            port = program.runtime().listen_port(),
            peers = config.clients.len() + config.connectors.len(),
            sessions = config.sessions.len(),
            "router up"
        );
        Ok(Self { file: file.to_owned(), program, access: Mutex::new(Access::of(config)) })
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        // It is replaced in one move, so it is whole whoever panicked.
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_status_page(self: &Arc<Self>) -> Result<(), Failure> {
        let router = Arc::downgrade(self);
        self.program.serve_status_page(move |asker| router.upgrade().map(|router| router.page(asker)))
    }

    fn page(&self, asker: IpAddr) -> Page {
        let texts = self.access().texts();
        collect::page(&self.program, "router", &texts, asker)
    }

    /// What is told about it.
    fn site(self: &Arc<Self>) -> Site {
        let router = Arc::downgrade(self);
        let look = move || router.upgrade().map(|router| NodeNumbers::of(&router.program, None));
        Site::new(
            |registry| registry.register_collector(Box::new(NodeCollector::new(look))),
            Box::new(|| Ok(())),
        )
    }

    /// Forgets sessions past their end.
    fn tick(&self) -> bool {
        let ended = self.access().take_ended(Timestamp::now());
        self.program.runtime().with_node(|node, now| {
            for id in ended.iter().flat_map(rules::ids) {
                node.close_session(now, id);
            }
        });
        self.program.is_healthy()
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
        let config = RouterConfig::load(&self.file).map_err(|problems| problems.to_string())?;
        let prepared = operations
            .prepare(&config.operations, &config.confinement(&self.file))
            .map_err(|fault| fault.to_string())?;
        let mut access = self.access();
        let (new, lost) = Access::of(config).keeping(&access.granted);
        let rules = |peers: &_, moment| {
            let mut snapshot = rules::snapshot(&new.config, &new.sessions, peers, moment);
            let granted =
                new.granted.iter().flat_map(|granted| rules::of_granted(&new.config, granted, peers));
            snapshot.rules.extend(granted);
            snapshot
        };
        let applied = self.program.reload(plan(&new.config), rules).map_err(|fault| fault.to_string())?;
        for (granted, why) in lost {
            tracing::error!(
                id = granted.asked.id,
                why = why.what,
                "reload ends access that is no longer legal"
            );
        }
        *access = new;
        operations.take(prepared);
        Ok(applied)
    }

    fn answer(&self, request: Request, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
        match request {
            Request::Status => {
                let texts = self.access().texts();
                answers::report(&collect::status(&self.program, "router", &texts))
            }
            Request::Flows { max } => answers::flows(&self.program, max, answer),
            Request::Explain { packet, from } => {
                let packet = packet_text::parse(&packet).map_err(|fault| {
                    Refusal::new(fault.to_string(), format!("Write {}.", packet_text::EXAMPLES))
                })?;
                let texts = self.access().texts();
                answers::report(&collect::explain(&self.program, &packet, from.as_deref(), &texts)?)
            }
            Request::SessionOpen { client_ip, target, seconds } => {
                let now = Timestamp::now();
                let expires = seconds.map(|seconds| end_of(now, seconds)).transpose()?;
                self.open(|access| access.admit(client_ip, &target, expires, now))
            }
            Request::SessionClose { id } => self.close(&id),
            Request::AccessAdd(asked) => self.grant(&asked),
            Request::AccessRemove { id } => Ok(self.withdraw(&id)),
        }
    }

    fn grant(&self, asked: &AccessRequest) -> Result<Value, Refusal> {
        let mut access = self.access();
        let (granted, replaces) = match access.grant(asked)? {
            Asked::There(granted) => return Ok(json!({ "opened": texts_of(&rules::ids_granted(&granted)) })),
            Asked::New { granted, replaces } => (granted, replaces),
        };
        let config = &access.config;
        let opened = self.program.runtime().with_node(|node, now| {
            let withdraw = |node: &mut Node, granted: &Granted| {
                for id in rules::ids_granted(granted) {
                    node.close_session(now, id);
                }
            };
            if let Some(before) = &replaces {
                withdraw(node, before);
            }
            for rule in rules::of_granted(config, &granted, &PeerNumbers::of(node.device())) {
                if let Err(error) = node.open_session(now, &rule) {
                    withdraw(node, &granted);
                    return Err(Refusal::new(format!("the node refuses it: {error}"), "Look at status."));
                }
            }
            Ok(())
        });
        // What it would have taken the place of is gone either way.
        if replaces.is_some() {
            access.take_granted(&asked.id);
        }
        opened?;
        tracing::info!(id = asked.id, client_ip = %asked.client_ip, target = granted.target.name, "access granted");
        let ids = texts_of(&rules::ids_granted(&granted));
        access.granted.push(granted);
        Ok(json!({ "opened": ids }))
    }

    fn withdraw(&self, id: &str) -> Value {
        let Some(granted) = self.access().take_granted(id) else { return json!({ "closed": [] }) };
        let ids = rules::ids_granted(&granted);
        self.program.runtime().with_node(|node, now| {
            for id in ids {
                node.close_session(now, id);
            }
        });
        tracing::info!(id, client_ip = %granted.client_ip(), target = granted.target.name, "access withdrawn");
        json!({ "closed": texts_of(&ids) })
    }

    fn open(&self, admit: impl FnOnce(&mut Access) -> Result<Session, Refusal>) -> Result<Value, Refusal> {
        let mut access = self.access();
        let session = admit(&mut access)?;
        let ids = self.program.runtime().with_node(|node, _| open_in(node, &access.config, &session))?;
        tracing::info!(client_ip = %session.client_ip, target = %session.target, ?ids, "session opened");
        access.sessions.push(session);
        Ok(json!({ "opened": ids }))
    }

    fn close(&self, id: &str) -> Result<Value, Refusal> {
        let mut access = self.access();
        let session = match (access.named(id), access.granted_named(id)) {
            (Err(_), Some(granted)) => {
                drop(access);
                return Ok(self.withdraw(&granted));
            }
            (session, _) => session?,
        };
        let ids = rules::ids(&session);
        let closed = self.program.runtime().with_node(|node, now| {
            ids.into_iter()
                .filter(|id| node.close_session(now, *id))
                .map(|id| id.to_string())
                .collect::<Vec<_>>()
        });
        tracing::info!(client_ip = %session.client_ip, target = %session.target, ids = ?closed, "session closed");
        access.sessions.retain(|open| *open != session);
        Ok(json!({ "closed": closed }))
    }
}

/// All rules of a session, or none.
fn open_in(node: &mut Node, config: &RouterConfig, session: &Session) -> Result<Vec<String>, Refusal> {
    let moment = Moment::now();
    let rules = rules::of_session(config, session, &PeerNumbers::of(node.device()), moment);
    // One past its end, that nobody has cleared away yet, may have the same identity.
    rules::ids(session).into_iter().for_each(|id| drop_session(node, moment, id));
    for (index, rule) in rules.iter().enumerate() {
        if let Err(error) = node.open_session(moment.boot, rule) {
            rules[..index].iter().for_each(|opened| drop_session(node, moment, opened.id));
            return Err(Refusal::new(format!("the node refuses the session: {error}"), "Look at status."));
        }
    }
    Ok(rules.iter().map(|rule| rule.id.to_string()).collect())
}

fn texts_of(ids: &[SessionId]) -> Vec<String> {
    ids.iter().map(SessionId::to_string).collect()
}

/// Whether or not there is one.
fn drop_session(node: &mut Node, moment: Moment, id: SessionId) {
    node.close_session(moment.boot, id);
}

fn end_of(now: Timestamp, seconds: u64) -> Result<Timestamp, Refusal> {
    let span = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(SignedDuration::from_secs);
    let end = span.and_then(|span| now.checked_add(span).ok());
    end.ok_or_else(|| {
        Refusal::new(
            format!("{seconds} seconds from now is no moment"),
            "Write a positive number of seconds.",
        )
    })
}
