//! `run`: the server at work. Packets have threads of their own; everything else is tasks; the main thread waits for signals.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control_proto::Terms;
use jiff::Timestamp;
use sluice_api::{RouterKind, RouterSpec};
use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::host::main_loop;
use sluice_runtime::host::metrics::{Readiness, Registry, Site};
use sluice_runtime::host::operations::{Operations, Process};
use sluice_runtime::host::program::ReloadFault;
use sluice_runtime::service::{Wake, Waker, Wakes};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::rustls;
use uuid::Uuid;

use crate::auth::Auth;
use crate::config::{ServerConfig, ServerSettings};
use crate::control::Control;
use crate::embedded::Embedded;
use crate::engine::{Actor, Engine, Fault, Policy};
use crate::export::Exports;
use crate::health::Health;
use crate::http::{App, Certificate, Hosts, Tls, default_names, serve};
use crate::store::objects::Filter;
use crate::store::{Store, StoreError};

/// How long tasks may take to end that are left when all else has. SIGTERM has at most 5 s in all: most of it is for requests.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Runs the server until a signal ends it.
pub(crate) fn run(file: &Path, log: &LogOptions) -> Result<(), Failure> {
    let config = ServerConfig::load(file)?;
    let process = Process::begin(log, &config.operations, &config.confinement(file))?;
    let wakes = Wakes::from_signals().map_err(|error| Failure::of_system("cannot handle signals", &error))?;
    let tasks = Runtime::new().map_err(|error| Failure::of_system("cannot start threads", &error))?;
    let mut server = tasks.block_on(Server::start(file, config, &process, &wakes))?;
    process.started()?;
    let outcome = main_loop::run(&wakes, || server.reload(), || server.is_healthy());
    tasks.block_on(server.stop_answering());
    // Others may lead them as soon as they ask.
    tasks.block_on(server.control.leave());
    tasks.block_on(server.control.farewell());
    tasks.block_on(server.exports.stop());
    // It has tasks of its own, which cannot end from within ours.
    server.embedded.stop();
    tasks.block_on(server.store.close());
    tasks.shutdown_timeout(END_LIMIT);
    outcome
}

struct Server {
    store: Store,
    control: Control,
    embedded: Embedded,
    operations: Operations,
    exports: Exports,
    tls: Tls,
    file: PathBuf,
    config: Mutex<ServerConfig>,
    stop: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(
        file: &Path,
        config: ServerConfig,
        process: &Process,
        wakes: &Wakes,
    ) -> Result<Server, Failure> {
        let settings = &config.server;
        let store = open(&config).await?;
        let engine = Engine::new(Timestamp::now(), store.clone(), policy(&config));
        let embedded_id = settle_embedded(&engine, &config).await.map_err(|fault| of_fault(&fault))?;
        let auth = Auth::new(store.clone())
            .map_err(|fault| Failure::new(Exit::Failed, "cannot check passwords").because(&fault))?;
        let control = Control::start(engine.clone(), Terms::default(), embedded_id)
            .await
            .map_err(|fault| of_fault(&fault))?;
        let listener = TcpListener::bind(settings.https)
            .await
            .map_err(|error| Failure::of_system(format!("cannot listen on {}", settings.https), &error))?;
        let embedded = Embedded::start(&config, &control, embedded_id, wakes.waker())?;
        let tls = Tls::new(encryption(settings)?);
        let hosts = Hosts::new(host_names(settings));
        let site = site(&store, &control, &embedded);
        let leading = control.clone();
        let app = App::new(engine, auth, hosts, Timestamp::now, move |agent| leading.state_of(agent));
        app.set_readiness(site.1);
        let operations = Operations::start(&config.operations, Some(process), site.0)?;
        let exports = Exports::start(store.clone(), settings.directory.clone(), config.audit.clone());
        let stop = Arc::new(Notify::new());
        let serving = tokio::spawn(answer(app, listener, tls.clone(), Arc::clone(&stop), wakes.waker()));
        tracing::info!(
            https = %settings.https,
            udp = embedded.listen_port(),
            store = %settings.store,
            "server up"
        );
        let (file, config) = (file.to_owned(), Mutex::new(config));
        Ok(Server { store, control, embedded, operations, exports, tls, file, config, stop, serving })
    }

    fn is_healthy(&self) -> bool {
        self.embedded.is_healthy()
    }

    /// Takes the file as it is now, all of it or nothing.
    fn reload(&self) {
        match self.try_reload() {
            Ok(()) => tracing::info!("reload: the new configuration is in force"),
            Err(why) => tracing::error!(%why, "reload refused: the former configuration stays in force"),
        }
    }

    fn try_reload(&self) -> Result<(), String> {
        let new = ServerConfig::load(&self.file).map_err(|problems| problems.to_string())?;
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = config.fixed_difference(&new) {
            return Err(ReloadFault::NeedsRestart(what).to_string());
        }
        let prepared = self
            .operations
            .prepare(&new.operations, &new.confinement(&self.file))
            .map_err(|fault| fault.to_string())?;
        // Also where the paths are as before: certificates are renewed in their place.
        let encryption = encryption(&new.server).map_err(|failure| failure.to_string())?;
        self.tls.replace(encryption);
        self.operations.take(prepared);
        self.exports.take(new.audit.clone());
        *config = new;
        Ok(())
    }

    async fn stop_answering(&mut self) {
        self.stop.notify_one();
        // It has a limit of its own.
        let _ = (&mut self.serving).await;
    }
}

/// Answers until it is told to stop. If it cannot go on, the process ends.
async fn answer(app: App, listener: TcpListener, tls: Tls, stop: Arc<Notify>, waker: Waker) {
    let stopped = async move { stop.notified().await };
    if let Err(why) = serve(app, listener, tls, stopped).await {
        waker.wake(Wake::Failed(why.to_string()));
    }
}

/// What is served to those who run the server, and whether it is ready. The store is watched from now on.
fn site(store: &Store, control: &Control, embedded: &Embedded) -> (Site, Readiness) {
    let health = Health::new(embedded.link());
    tokio::spawn(health.clone().watch(store.clone()));
    let ready = |health: Health| -> Readiness { Box::new(move || health.ready()) };
    let fill = |registry: &mut Registry| {
        store.meter().register(registry);
        registry.register_collector(Box::new(embedded.collector()));
        registry.register_collector(Box::new(control.collector()));
    };
    (Site::new(fill, ready(health.clone())), ready(health))
}

/// What connections are encrypted with.
fn encryption(settings: &ServerSettings) -> Result<Arc<rustls::ServerConfig>, Failure> {
    certificate(settings)?.config().map_err(|error| {
        Failure::new(Exit::Configuration, "the certificate cannot be served with").because(&error)
    })
}

/// The operator's certificate, or the one that is made once.
pub(crate) fn certificate(settings: &ServerSettings) -> Result<Certificate, Failure> {
    let certificate = match &settings.certificate {
        Some([chain, key]) => Certificate::load(chain, key),
        None => Certificate::load_or_make(&settings.directory, &host_names(settings), Timestamp::now()),
    };
    certificate.map_err(|error| {
        Failure::new(Exit::Configuration, "there is no certificate to serve with").because(&error)
    })
}

fn host_names(settings: &ServerSettings) -> Vec<String> {
    settings.host_names.iter().cloned().chain(default_names(settings.https)).collect()
}

/// Opens the store of a configuration.
pub(crate) async fn open(config: &ServerConfig) -> Result<Store, Failure> {
    Store::open(&config.server.store).await.map_err(|error| of_store(&error, config))
}

pub(crate) fn policy(config: &ServerConfig) -> Policy {
    Policy {
        allowed: config.server.allowed.clone(),
        overlay: config.server.overlay.clone(),
        ..Policy::default()
    }
}

/// The embedded router is what the configuration says; everybody else sees it in the store.
pub(crate) async fn settle_embedded(engine: &Engine, config: &ServerConfig) -> Result<Uuid, Fault> {
    let (system, now) = (Actor::system(), Timestamp::now());
    let wanted = RouterSpec {
        name: config.node.name.clone(),
        kind: RouterKind::Embedded,
        comment: "In the server's own process.".to_owned(),
        client_ip_pool: config.server.client_ip_pool.clone(),
        external_clients: false,
        addresses: config.node.addresses.clone(),
        endpoint: config.server.endpoint.clone(),
        public_key: Some(config.node.private_key.public_key().to_string()),
    };
    let routers = engine.list::<RouterSpec>(&system, Filter::default(), None, u32::MAX - 1).await?;
    // Other servers on this database have routers of their own.
    let is_ours = |router: &sluice_api::RouterSpec| {
        router.kind == RouterKind::Embedded
            && (router.public_key == wanted.public_key || router.name == wanted.name)
    };
    let found = routers.items.into_iter().find(|router| is_ours(&router.spec));
    match found {
        None => Ok(engine.create(now, &system, wanted).await?.id),
        Some(router) if router.spec == wanted => Ok(router.id),
        Some(router) => {
            Ok(engine.replace(now, &system, &router.id.to_string(), router.version, wanted).await?.id)
        }
    }
}

fn of_fault(fault: &Fault) -> Failure {
    let failure = Failure::new(Exit::Configuration, "the store does not take what the configuration says");
    match fault {
        Fault::Invalid(problems) => {
            let told: Vec<_> =
                problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.detail)).collect();
            failure.because_text(told.join("; ")).remedy("Change the configuration, or what is in the store.")
        }
        Fault::Unknown { .. }
        | Fault::UnknownSession(_)
        | Fault::UnknownApproval(_)
        | Fault::Refused(_)
        | Fault::Forbidden(_)
        | Fault::Conflict(_)
        | Fault::Object(_)
        | Fault::Store(_)
        | Fault::Unstored { .. } => failure.because(fault),
    }
}

/// What is wrong with a store, and what to do.
pub(crate) fn of_store(error: &StoreError, config: &ServerConfig) -> Failure {
    Failure::new(Exit::Failed, format!("cannot open the store {}", config.server.store))
        .because(error)
        .remedy("See that it can be reached and written by this user; sluice-server init makes a new one.")
}
