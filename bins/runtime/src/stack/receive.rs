//! What becomes of a packet that a worker hands over. Every branch is here; flows, listeners and the table do what they are
//! told. Called by the parent, on a worker's thread.

use std::cell::RefCell;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use router_core::packet::build::{self, BUILT_BYTES_MAX, Notice, Unreachable};
use router_core::packet::{Echo, IcmpError, PacketMut, Transport};

use super::datagrams::{self, Parcel};
use super::door::From;
use super::echo::EchoFlow;
use super::flow::TcpFlow;
use super::obstacle::Obstacle;
use super::packet::is_intact;
use super::pending::{Arrival, PendingTcp};
use super::segment::Header;
use super::stats::Lost;
use super::table::{Flow, Key, NotTaken};
use super::udp::UdpFlow;
use super::{Inner, Stack};
use crate::clock;
use crate::tun::VirtioHeader;

thread_local! {
    static PACKET: RefCell<Vec<u8>> = RefCell::default();
}

/// A packet on its way in.
struct Incoming<'a, 'p> {
    stack: &'a Arc<Inner>,
    worker: usize,
    packet: PacketMut<'p>,
    key: Key,
    /// Whether its sender had cut it, so that it may be cut again.
    was_cut: bool,
}

impl Stack {
    /// Takes a packet or super-packet from a worker and does what follows from it. A checksum that the header leaves open was
    /// verified, or is this host's own.
    pub fn receive(&self, worker: usize, header: VirtioHeader, parts: &[IoSlice<'_>]) {
        PACKET.with_borrow_mut(|bytes| {
            bytes.clear();
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            self.0.take(worker, header.checksum.is_some(), false, bytes);
        });
    }
}

impl Inner {
    fn take(self: &Arc<Self>, worker: usize, is_verified: bool, was_cut: bool, bytes: &mut [u8]) {
        let Ok(packet) = PacketMut::parse(bytes) else { return self.stats.lose(Lost::Malformed) };
        if let Some(piece) = packet.piece() {
            let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
            let whole = pieces.put(clock::now(), &piece, packet.bytes());
            drop(pieces);
            if let Some(mut whole) = whole {
                self.take(worker, false, true, &mut whole);
            }
            return;
        }
        let has_checksum = match packet.transport() {
            Transport::Tcp(_)
            | Transport::Udp
            | Transport::IcmpEcho { .. }
            | Transport::IcmpError(_)
            | Transport::IcmpOther { .. } => true,
            Transport::Other | Transport::LaterPiece => false,
        };
        if has_checksum && !is_verified && !is_intact(&packet) {
            return self.stats.lose(Lost::Checksum);
        }
        let ends = packet.ends();
        let key = Key {
            protocol: packet.protocol(),
            remote: SocketAddr::new(ends.addresses.source(), ends.ports.source),
            local: SocketAddr::new(ends.addresses.destination(), ends.ports.destination),
        };
        let transport = packet.transport();
        let mut incoming = Incoming { stack: self, worker, packet, key, was_cut };
        match transport {
            Transport::Tcp(_) => incoming.tcp(),
            Transport::Udp => incoming.udp(),
            Transport::IcmpEcho { echo: Echo::Request, sequence } => incoming.echo(sequence),
            Transport::IcmpError(error) => incoming.error(error),
            Transport::IcmpEcho { echo: Echo::Reply, .. }
            | Transport::IcmpOther { .. }
            | Transport::Other
            | Transport::LaterPiece => incoming.refuse(PROHIBITED),
        }
    }
}

const PORT: Notice = Notice::Unreachable(Unreachable::Port);
const PROHIBITED: Notice = Notice::Unreachable(Unreachable::AdminProhibited);

impl Incoming<'_, '_> {
    fn tcp(mut self) {
        let Some(header) = Header::read(self.packet.bytes()) else {
            return self.stack.stats.lose(Lost::Malformed);
        };
        match self.stack.table.get(&self.key) {
            Some(Flow::Tcp(flow)) => {
                let Incoming { stack, worker, packet, key, was_cut } = self;
                let segment = packet.into_bytes();
                if flow.receive(worker, segment, &header)
                    && let Ok(packet) = PacketMut::parse(segment)
                {
                    Incoming { stack, worker, packet, key, was_cut }.open_tcp();
                }
            }
            Some(Flow::Datagrams(_)) => self.stack.stats.lose(Lost::NoFlow),
            None if header.is_opening() => self.open_tcp(),
            None => self.reset(),
        }
    }

    fn open_tcp(&mut self) {
        let (stack, key, worker) = (self.stack, self.key, self.worker);
        if !is_host(&key.remote) || !is_host(&key.local) {
            return stack.stats.lose(Lost::Malformed);
        }
        let is_ours = stack.is_ours(&key);
        let listener = stack.services.tcp(&key.local);
        if is_ours && listener.is_none() {
            return self.reset();
        }
        let syn = self.packet.bytes();
        let inserted = stack.insert(key, || {
            let flow = TcpFlow::pending(stack, key, worker, syn);
            (Flow::Tcp(Arc::clone(&flow)), flow)
        });
        let flow = match inserted {
            Ok(flow) => flow,
            Err(NotTaken::Full) => return self.refuse_full(),
            // Another worker was first; this is a retransmission.
            Err(NotTaken::Exists) => return,
        };
        let pending = PendingTcp::new(Arc::clone(stack), flow);
        match listener {
            Some(listener) => {
                if let Err(error) = listener.try_send(pending) {
                    stack.stats.lose(Lost::Backlog);
                    drop(error);
                }
            }
            None => self.arrive(Arrival::Tcp(pending)),
        }
    }

    fn udp(&mut self) {
        let Some(parcel) = self.parcel(0) else { return };
        if let Some(socket) = self.stack.services.udp(&self.key.local) {
            if !socket.deliver(self.worker, self.key.remote, parcel) {
                self.stack.stats.lose(Lost::Datagrams);
            }
        } else if self.stack.is_ours(&self.key) {
            self.refuse(PORT);
        } else {
            self.datagram(parcel, |stack, key, door, queue| {
                Arrival::Udp(UdpFlow::new(stack, key, door, queue))
            });
        }
    }

    /// Pings of our own addresses are answered by the node.
    fn echo(&mut self, sequence: u16) {
        if self.stack.is_ours(&self.key) {
            return self.stack.stats.lose(Lost::NoFlow);
        }
        let Some(parcel) = self.parcel(sequence) else { return };
        self.datagram(parcel, |stack, key, door, queue| {
            Arrival::Echo(EchoFlow::new(stack, key, door, queue))
        });
    }

    /// To the flow's task, or to whoever takes new flows.
    fn datagram(
        &mut self,
        parcel: Parcel,
        arrival: impl FnOnce(Arc<Inner>, Key, datagrams::DatagramDoor, datagrams::DatagramQueue) -> Arrival,
    ) {
        let (stack, key) = (self.stack, self.key);
        let door = match stack.table.get(&key) {
            Some(Flow::Datagrams(door)) => door,
            Some(Flow::Tcp(_)) => return stack.stats.lose(Lost::NoFlow),
            None => {
                let inserted = stack.insert(key, || {
                    let (door, queue) = datagrams::flow(self.worker);
                    (Flow::Datagrams(door.clone()), (door, queue))
                });
                match inserted {
                    Ok((door, queue)) => {
                        let delivered = door.deliver(self.worker, parcel);
                        debug_assert!(delivered, "a new queue is empty");
                        return self.arrive(arrival(Arc::clone(stack), key, door, queue));
                    }
                    Err(NotTaken::Full) => return self.refuse_full(),
                    Err(NotTaken::Exists) => return stack.stats.lose(Lost::Datagrams),
                }
            }
        };
        if !door.deliver(self.worker, parcel) {
            stack.stats.lose(Lost::Datagrams);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match self.stack.foreign.get() {
            Some(take) => take(arrival),
            None => {
                arrival.forget();
                self.refuse(PROHIBITED);
            }
        }
    }

    /// Believed is what concerns the length of a connection's packets, and what ends a connection before it began (RFC 5927,
    /// RFC 8201).
    fn error(&mut self, error: IcmpError) {
        let flow = self.quoted_key().and_then(|key| self.stack.table.get(&key));
        match (error, flow) {
            (IcmpError::TooBig { mtu_bytes }, Some(Flow::Tcp(flow))) => {
                let mtu_bytes = u16::try_from(mtu_bytes).unwrap_or(u16::MAX);
                flow.with(|connection| connection.lower_mtu(mtu_bytes));
            }
            (IcmpError::Unreachable { code }, Some(Flow::Tcp(flow))) => {
                let why = Obstacle::of_code(code, flow.key.local.is_ipv4());
                flow.with(|connection| connection.unreachable(why));
            }
            _ => self.stack.stats.lose(Lost::IcmpError),
        }
    }

    /// Our packet stands in the quote, so its source is our end.
    fn quoted_key(&mut self) -> Option<Key> {
        let quote = self.packet.quote().ok()?;
        let (ends, protocol) = (quote.ends(), quote.protocol());
        Some(Key {
            protocol,
            remote: SocketAddr::new(ends.addresses.destination(), ends.ports.destination),
            local: SocketAddr::new(ends.addresses.source(), ends.ports.source),
        })
    }

    fn parcel(&self, sequence: u16) -> Option<Parcel> {
        let payload = &self.packet.bytes()[self.packet.headers_len()..];
        let Some(held) = self.stack.larder.hold(payload.len()) else {
            self.stack.stats.lose(Lost::Datagrams);
            return None;
        };
        Some(Parcel {
            payload: payload.into(),
            sequence,
            hop_limit: self.packet.hop_limit(),
            traffic_class: self.packet.traffic_class(),
            dont_fragment: self.packet.dont_fragment() && !self.was_cut,
            held,
        })
    }

    fn refuse_full(&mut self) {
        self.stack.stats.lose(Lost::TableFull);
        self.refuse(PROHIBITED);
    }

    fn reset(&mut self) {
        let mut answer = [0; BUILT_BYTES_MAX];
        if let Ok(len) = build::reset_answering(&self.packet, &mut answer) {
            self.answer(&answer[..len]);
        }
    }

    fn refuse(&mut self, notice: Notice) {
        let mut answer = [0; BUILT_BYTES_MAX];
        if let Ok(len) = build::icmp_error(&self.packet, self.key.local.ip(), notice, &mut answer) {
            self.answer(&answer[..len]);
        }
    }

    fn answer(&self, packet: &[u8]) {
        self.stack.stats.lose(Lost::Refused);
        // Refusals may be lost.
        let _ = self.stack.send(self.worker, packet, From::Worker);
    }
}

/// Whether one host can have a connection there.
fn is_host(at: &SocketAddr) -> bool {
    let is_unicast = match at.ip() {
        IpAddr::V4(address) => address.octets()[0] < 224 && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    };
    is_unicast && at.port() != 0
}

impl Arrival {
    /// Leaves it without an answer.
    fn forget(self) {
        match self {
            Arrival::Tcp(pending) => pending.forget(),
            Arrival::Udp(_) | Arrival::Echo(_) => {}
        }
    }
}
