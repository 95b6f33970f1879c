//! Local ports, each with what it leads to. Called by `connect`.

use std::io;
use std::sync::Arc;

use sluice_runtime::host::failure::{Exit, Failure};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

use super::datagrams::DatagramServer;
use super::dial::Dial;
use super::dialer::Dialer;
use super::listener::{self, Listener};
use super::place::{Bind, Forward, Place};
use super::tunnel::Tunnel;
use super::{pump, socks};
use crate::command_line::ConnectOptions;
use crate::target::Target;
use crate::terminal::{Mark, Terminal};

/// Local connections at the same time, over all ports. More wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;

/// What a local port is.
#[derive(Clone, Debug)]
enum Service {
    /// `-L`
    Forward(Target),
    /// `--socks`
    Socks,
}

/// Bound ports that nobody serves yet.
pub(super) struct Ports {
    connections: Vec<(Listener, Bind, Service)>,
    datagrams: Vec<(Vec<UdpSocket>, Place, Target)>,
}

impl Ports {
    /// Binds all that is asked for.
    ///
    /// # Errors
    /// Which one cannot be had.
    pub(super) fn bind(options: &ConnectOptions) -> Result<Self, Failure> {
        let forwards = options.forwards.iter();
        let forwards = forwards.map(|forward| (forward.place, Service::Forward(forward.target.clone())));
        let socks = options.socks.iter().map(|place| (*place, Service::Socks));
        let connections = forwards.chain(socks).map(|(place, service)| {
            let listener = Listener::bind(&place).map_err(|error| refused(&place, &error))?;
            Ok((listener, place.bind, service))
        });
        let datagrams = options.udp_forwards.iter().map(|Forward { place, target }| {
            let (sockets, port) = listener::bind_udp(place).map_err(|error| refused(place, &error))?;
            Ok((sockets, Place { port, ..*place }, target.clone()))
        });
        Ok(Self {
            connections: connections.collect::<Result<_, Failure>>()?,
            datagrams: datagrams.collect::<Result<_, Failure>>()?,
        })
    }

    /// Serves them all through the tunnel, and says where. What is returned ends it.
    pub(super) fn serve(self, terminal: &Terminal, tunnel: &Tunnel) -> Serving {
        let (serving, over) = watch::channel(());
        let (dialer, room) = (tunnel.dialer(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        for (listener, bind, service) in self.connections {
            let place = Place { bind, port: listener.port() };
            announce(terminal, &place, &service.in_words(&dialer));
            let server = Server {
                terminal: *terminal,
                place,
                service: Arc::new(service),
                dialer: dialer.clone(),
                room: Arc::clone(&room),
                over: over.clone(),
            };
            tokio::spawn(server.run(listener));
        }
        for (sockets, place, target) in self.datagrams {
            announce(terminal, &place, &format!("→ {target}, UDP"));
            for socket in sockets {
                tokio::spawn(DatagramServer::new(socket, dialer.clone(), target.clone()).run());
            }
        }
        Serving(serving)
    }
}

/// Ports that are served.
pub(super) struct Serving(watch::Sender<()>);

impl Serving {
    /// Breaks off all connections.
    pub(super) fn end(self) {
        drop(self.0);
    }
}

impl Service {
    fn in_words(&self, dialer: &Dialer) -> String {
        match self {
            Self::Forward(target) => format!("→ {target}"),
            Self::Socks => format!("SOCKS5 proxy; names are looked up by {}", dialer.names_in_words()),
        }
    }
}

fn refused(place: &Place, error: &io::Error) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cannot listen on {place}")).because(error);
    if error.kind() == io::ErrorKind::AddrInUse {
        return failure.remedy("Choose another port, 0 for any, or end the program that has it: ss -ltnp");
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return failure.remedy("Ports below 1024 need a privilege: choose a higher one.");
    }
    failure
}

fn announce(terminal: &Terminal, place: &Place, leads_to: &str) {
    terminal.step(Mark::Good, &place.to_string(), leads_to, None);
    if place.bind.is_open() {
        terminal.note("Everybody who reaches this machine can use it.");
    }
}

/// One local port for connections.
struct Server {
    terminal: Terminal,
    place: Place,
    service: Arc<Service>,
    dialer: Dialer,
    room: Arc<Semaphore>,
    /// Closed when all is over.
    over: watch::Receiver<()>,
}

impl Server {
    async fn run(self, listener: Listener) {
        let room = Arc::clone(&self.room);
        let take = |stream| {
            let (terminal, place) = (self.terminal, self.place);
            let (service, dialer) = (Arc::clone(&self.service), self.dialer.clone());
            let mut over = self.over.clone();
            async move {
                let outcome = tokio::select! {
                    _ = over.changed() => Ok(()),
                    outcome = serve(stream, &service, &dialer) => outcome,
                };
                if let Err(why) = outcome {
                    terminal.step(Mark::Bad, &place.to_string(), &why, None);
                }
            }
        };
        listener.run(&room, take).await;
    }
}

/// Serves one connection to its end. What is returned is for people: the program was told in its own way.
async fn serve<D: Dial>(local: TcpStream, service: &Service, dial: &D) -> Result<(), String> {
    match service {
        Service::Socks => socks::serve(local, dial).await.map_err(|fault| fault.to_string()),
        Service::Forward(target) => match dial.dial(target).await {
            Ok(far) => {
                // Both ends were told how it ended.
                let _ = pump::pump(local, far).await;
                Ok(())
            }
            Err(fault) => {
                pump::reset(local);
                Err(format!("→ {target}: {fault}"))
            }
        },
    }
}
