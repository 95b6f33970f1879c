//! An IP stack in this process, around smoltcp: for services at our own addresses, and for whatever else ends here and goes
//! on by other means. It opens no socket and dials nobody. Read first: docs/adr/0009, then `receive` for the way in and
//! `flow` for TCP.
//!
//! ```text
//! worker ── receive ──┬── flow (smoltcp) ── stream ── a task     TcpListener, Taker, Stack::connect
//!    ^                ├── datagrams ─────── udp ───── a task     UdpSocket, Taker
//!    └──── door <─────┴── datagrams ─────── echo ──── a task     Taker
//! ```
//! A packet is worked on by the thread of the worker that brings it, and what follows from it lies behind that worker's
//! door when it comes back. Tasks read, write and answer from threads of their own; the worker is rung for then. Services
//! listen at our own addresses and nowhere else (RFC 1122 section 3.3.4.2, the strong host model): nothing that is sent to
//! another address reaches them.
//!
//! Everything is bounded: flows by [`StackConfig::flows_max`], TCP buffers by [`StackConfig::buffer_bytes_max`], datagrams that
//! wait by 32 MiB, packets behind a door by a mebibyte, pieces by 4 MiB.

mod budget;
mod buffers;
mod congestion;
mod connection;
mod datagrams;
mod door;
mod echo;
mod flow;
mod listener;
mod obstacle;
mod packet;
mod pending;
mod pieces;
mod receive;
mod recovery;
mod round_trip;
mod scoreboard;
mod segment;
mod sender;
mod services;
mod socket;
mod stats;
mod stream;
mod table;
mod timers;
mod udp;
mod waiting;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use router_core::packet::Protocol;
use tokio::sync::mpsc;
use wg_proto::SipHash;

pub use self::door::{Door, Full, Ring};
pub use self::echo::{EchoFlow, EchoRequest};
pub use self::flow::NoRoom;
pub use self::listener::TcpListener;
pub use self::pending::{Arrival, PendingTcp, Taker};
pub use self::stats::{Lost, StackStats};
pub use self::stream::TcpStream;
pub use self::udp::{Datagram, UdpFlow, UdpSocket};

use self::budget::Budget;
use self::buffers::Buffers;
use self::connection::Means;
use self::datagrams::{Larder, WAITING_MAX};
use self::door::From;
use self::flow::TcpFlow;
use self::pieces::Pieces;
use self::services::Services;
use self::stats::Counters;
use self::table::{Flow, Key, NotTaken, Table};
use self::timers::Timers;
use self::udp::UdpEntrance;
use self::waiting::Waiting;
use crate::tun::VirtioHeader;

// Our own choices.
/// Connections to one of our own ports that nobody has taken; one more is reset.
const BACKLOG_MAX: usize = 128;
/// Of our own connections. RFC 6335 section 6: dynamic ports.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// What a flow takes beside its buffers: its connection, its places in the table and in the timers.
const FLOW_BYTES: usize = 4096;
/// Tries to find a free one.
const PORT_TRIES: u32 = 64;

/// What a stack is made from.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Our own addresses inside the tunnels.
    pub addresses: Vec<IpAddr>,
    /// The longest packet that leaves in one piece: the tunnel's MTU.
    pub mtu_bytes: u16,
    /// All TCP buffers together.
    pub buffer_bytes_max: usize,
    /// TCP connections, UDP and echo flows together.
    pub flows_max: usize,
    /// From the system's generator; sequence numbers come from it.
    pub seed: [u8; 32],
    /// How many workers hand packets over.
    pub workers: usize,
}

/// A stack. Clones are the same one.
#[derive(Clone)]
pub struct Stack(Arc<Inner>);

struct Inner {
    addresses: Vec<IpAddr>,
    mtu_bytes: u16,
    table: Table,
    budget: Arc<Budget>,
    larder: Larder,
    pieces: Mutex<Pieces>,
    services: Services,
    foreign: OnceLock<Taker>,
    doors: Vec<Door>,
    timers: Timers,
    waiting: Waiting,
    stats: Counters,
    random: SipHash,
    drawn: AtomicU64,
    flows: AtomicU64,
    identification: AtomicU32,
}

/// Somebody serves foreign addresses already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody serves foreign addresses already")]
pub struct Taken;

/// Why nobody can listen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Somebody does.
    #[error("somebody listens at {0} already")]
    InUse(SocketAddr),
    /// It is none of our addresses.
    #[error("{0} is none of our addresses inside the tunnels")]
    NotOurs(IpAddr),
}

impl Stack {
    /// A stack whose timers run on `tasks`.
    pub fn new(config: StackConfig, tasks: &tokio::runtime::Handle) -> Stack {
        let [first, second] = halves(&config.seed);
        let identification = SipHash::new(&second).hash(b"identification");
        let inner = Arc::new(Inner {
            addresses: config.addresses,
            mtu_bytes: config.mtu_bytes,
            table: Table::new(config.flows_max),
            budget: Arc::new(Budget::new(config.buffer_bytes_max)),
            larder: Larder::default(),
            pieces: Mutex::default(),
            services: Services::default(),
            foreign: OnceLock::new(),
            doors: (0..config.workers.max(1)).map(|_| Door::default()).collect(),
            timers: Timers::default(),
            waiting: Waiting::default(),
            stats: Counters::default(),
            random: SipHash::new(&first),
            drawn: AtomicU64::new(0),
            flows: AtomicU64::new(0),
            identification: AtomicU32::new(identification as u32),
        });
        let running = Arc::clone(&inner);
        tasks.spawn(async move { running.timers.run().await });
        Stack(inner)
    }

    /// Has somebody take the flows to addresses that are none of ours, as long as the stack lives. Until then they are
    /// refused.
    ///
    /// # Errors
    /// If somebody does.
    pub fn set_foreign(&self, taker: Taker) -> Result<(), Taken> {
        self.0.foreign.set(taker).map_err(|_| Taken)
    }

    /// Takes connections at one of our own addresses.
    ///
    /// # Errors
    /// If it is none, or somebody does.
    pub fn listen(&self, local: SocketAddr) -> Result<TcpListener, ListenError> {
        self.check_ours(local)?;
        let (sender, backlog) = mpsc::channel(BACKLOG_MAX);
        self.0.services.open_tcp(local, sender).map_err(|_| ListenError::InUse(local))?;
        Ok(TcpListener::new(Arc::clone(&self.0), local, backlog))
    }

    /// Takes datagrams at one of our own addresses.
    ///
    /// # Errors
    /// If it is none, or somebody does.
    pub fn bind_udp(&self, local: SocketAddr) -> Result<UdpSocket, ListenError> {
        self.check_ours(local)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let worker = Arc::default();
        let entrance = UdpEntrance { sender, worker: Arc::clone(&worker) };
        self.0.services.open_udp(local, entrance).map_err(|_| ListenError::InUse(local))?;
        Ok(UdpSocket::new(Arc::clone(&self.0), local, receiver, worker))
    }

    /// A UDP socket at one of our addresses, at a port that nobody uses.
    ///
    /// # Errors
    /// If it is none of our addresses, or no port is found.
    pub fn bind_udp_anywhere(&self, address: IpAddr) -> Result<UdpSocket, ListenError> {
        let mut bound = Err(ListenError::NotOurs(address));
        for _ in 0..PORT_TRIES {
            bound = self.bind_udp(SocketAddr::new(address, self.0.ephemeral_port()));
            if !matches!(bound, Err(ListenError::InUse(_))) {
                break;
            }
        }
        bound
    }

    /// Opens a connection from one of our addresses, through the node.
    ///
    /// # Errors
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if it is none of ours or no port is free,
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory) without room for buffers,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the other end says no,
    /// [`HostUnreachable`](io::ErrorKind::HostUnreachable), [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable) or
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the network does,
    /// [`TimedOut`](io::ErrorKind::TimedOut) if nobody says anything for two minutes.
    pub async fn connect(&self, from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
        if !self.0.addresses.contains(&from) || from.is_ipv4() != to.is_ipv4() || to.port() == 0 {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let stream = TcpStream::new(self.0.open(from, to)?);
        stream.established().await?;
        Ok(stream)
    }

    /// What it holds, and what it lost.
    pub fn stats(&self) -> StackStats {
        StackStats {
            flows: self.0.table.used(),
            buffer_bytes: self.0.budget.used(),
            datagram_bytes: self.0.larder.used(),
            lost: self.0.stats.read(),
        }
    }

    /// What a stack of this configuration takes at most, in bytes: buffers, what a flow takes beside them, datagrams and
    /// pieces that wait, and what waits behind each door. Streams whose connections are over count until they are dropped.
    pub fn memory_bytes_max(config: &StackConfig) -> usize {
        config.buffer_bytes_max
            + config.flows_max * FLOW_BYTES
            + datagrams::BYTES_MAX
            + pieces::BYTES_MAX
            + config.workers.max(1) * door::MEMORY_BYTES_MAX
    }

    /// Where a worker finds what is to be sent.
    pub fn door(&self, worker: usize) -> &Door {
        self.0.door(worker)
    }

    fn check_ours(&self, local: SocketAddr) -> Result<(), ListenError> {
        let is_ours = self.0.addresses.contains(&local.ip());
        if is_ours { Ok(()) } else { Err(ListenError::NotOurs(local.ip())) }
    }
}

impl Inner {
    fn door(&self, worker: usize) -> &Door {
        &self.doors[worker % self.doors.len()]
    }

    fn is_ours(&self, key: &Key) -> bool {
        self.addresses.contains(&key.local.ip())
    }

    /// Takes a flow in, for which the oldest of those gives way that are over.
    fn insert<T>(&self, key: Key, make: impl FnOnce() -> (Flow, T)) -> Result<T, NotTaken> {
        if self.table.is_full() {
            self.waiting.shorten();
        }
        self.table.insert(key, make)
    }

    /// Of flows, to tell them apart.
    fn flow_number(&self) -> u64 {
        self.flows.fetch_add(1, Ordering::Relaxed)
    }

    /// Nobody can foretell it.
    fn connection_seed(&self) -> u64 {
        self.random.hash(&self.drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes())
    }

    fn means(&self, buffers: Buffers) -> Means {
        Means { buffers, mtu_bytes: self.mtu_bytes, seed: self.connection_seed() }
    }

    fn ephemeral_port(&self) -> u16 {
        let ports = u64::from(EPHEMERAL_PORTS.end() - EPHEMERAL_PORTS.start()) + 1;
        EPHEMERAL_PORTS.start() + (self.connection_seed() % ports) as u16
    }

    fn open(self: &Arc<Self>, from: IpAddr, to: SocketAddr) -> io::Result<Arc<TcpFlow>> {
        for _ in 0..PORT_TRIES {
            let local = SocketAddr::new(from, self.ephemeral_port());
            let key = Key { protocol: Protocol::TCP, remote: to, local };
            let buffers = self.budget.grant().ok_or(io::ErrorKind::OutOfMemory)?;
            let inserted = self.insert(key, || {
                let flow = TcpFlow::active(self, key, buffers);
                (Flow::Tcp(Arc::clone(&flow)), flow)
            });
            match inserted {
                Ok(flow) => {
                    flow.poll(From::Task);
                    return Ok(flow);
                }
                Err(NotTaken::Exists) => {}
                Err(NotTaken::Full) => return Err(io::ErrorKind::OutOfMemory.into()),
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// Puts a whole packet behind a worker's door.
    fn send(&self, worker: usize, packet: &[u8], from: From) -> Result<(), Full> {
        self.door(worker).push(packet, VirtioHeader::default(), from)
    }

    /// The same, where no worker has heard of the flow yet, or it does not matter.
    fn send_anywhere(&self, packet: &[u8], from: From) {
        // Whoever asked for it asks again.
        let _ = self.send(0, packet, from);
    }

    /// Sends a packet that may be longer than the tunnel takes.
    fn send_in_pieces(&self, worker: usize, packet: &[u8], from: From) -> Result<(), Full> {
        if packet.len() <= usize::from(self.mtu_bytes) {
            return self.send(worker, packet, from);
        }
        let identification = self.identification.fetch_add(1, Ordering::Relaxed);
        if packet[0] >> 4 == 4 {
            let mut packet = packet.to_vec();
            pieces::allow_cutting(&mut packet, identification as u16);
            return self.send(worker, &packet, from);
        }
        pieces::cut_v6(packet, self.mtu_bytes, identification)
            .try_for_each(|piece| self.send(worker, &piece, from))
    }
}

fn halves(seed: &[u8; 32]) -> [[u8; 16]; 2] {
    let (halves, _) = seed.as_chunks::<16>();
    [halves[0], halves[1]]
}
