//! Packets for the stack in the process, from clients that keep to the rules and from others, and what its users do with
//! what comes of them: dials that are answered, refused and given up in any order, streams read, written, finished and
//! dropped. Whatever they are, what the stack sends are right packets to who sent some, and it holds no more than it may.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use router_core::packet::build::{Notice, Unreachable};
use router_core::packet::{PacketMut, TcpFlags, Transport};
use router_core::sim::wire::{self, PieceRange, Segment};
use sluice_runtime::offload::{SuperPacket, complete_checksum};
use sluice_runtime::stack::{
    Arrival, EchoFlow, NoRoom, PendingTcp, Stack, StackConfig, TcpListener, TcpStream, UdpFlow, UdpSocket,
};
use sluice_runtime::tun::{Gso, PartialChecksum, Segmentation, VirtioHeader};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "stack_packets",
    run: stack_packets,
    outcomes: &[
        "accepted",
        "broken",
        "client gave up",
        "datagram from a flow",
        "datagram from a socket",
        "echo request",
        "end read",
        "lost checksum",
        "lost datagrams",
        "lost icmp_error",
        "lost malformed",
        "lost no_flow",
        "lost refused",
        "lost table_full",
        "no room",
        "read",
        "reset read",
        "sent Tcp",
        "sent Udp",
        "sent echo reply",
        "sent error",
        "sent reset",
        "sent super-packet",
        "written",
    ],
};

const STEPS_MAX: usize = 96;
const MTU_BYTES: u16 = 1420;
const FLOWS_MAX: usize = 8;
const BUFFER_BYTES_MAX: usize = 96 * 1024;
const SIZES: [usize; 4] = [0, 1, 100, 1300];

/// The first byte says the version of IP; then four bytes are one step: what, and three numbers.
fn stack_packets(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let tasks = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut play = Play::new(input.u8() & 1 == 0, tasks.handle());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        play.step(&mut input, tally);
        play.look(tally);
    }
    for (why, count) in play.stack.stats().lost {
        tally.add(&format!("lost {}", why.name()), count);
    }
}

/// A client's side of a connection.
#[derive(Clone, Copy, Default)]
struct Client {
    sequence: u32,
    acknowledgment: u32,
}

type Decided = Result<TcpStream, NoRoom>;

struct Play {
    is_v4: bool,
    stack: Stack,
    listener: TcpListener,
    socket: UdpSocket,
    arrivals: UnboundedReceiver<Arrival>,
    pending: Vec<PendingTcp>,
    /// Of those that were answered at once: what they have come to.
    decided: (UnboundedSender<Decided>, UnboundedReceiver<Decided>),
    streams: Vec<TcpStream>,
    udp: Vec<UdpFlow>,
    echo: Vec<EchoFlow>,
    clients: BTreeMap<(SocketAddr, SocketAddr), Client>,
    last_sent: Vec<u8>,
    senders: BTreeSet<IpAddr>,
}

impl Play {
    fn new(is_v4: bool, tasks: &tokio::runtime::Handle) -> Play {
        let own = at(is_v4, 2, 80);
        let config = StackConfig {
            addresses: vec![own.ip()],
            mtu_bytes: MTU_BYTES,
            buffer_bytes_max: BUFFER_BYTES_MAX,
            flows_max: FLOWS_MAX,
            seed: [7; 32],
            workers: 1,
        };
        let stack = Stack::new(config, tasks);
        let (sender, arrivals) = unbounded_channel();
        let taker = Box::new(move |arrival| drop(sender.send(arrival)));
        stack.set_foreign(taker).expect("nobody else takes them");
        Play {
            is_v4,
            listener: stack.listen(own).expect("our own address"),
            socket: stack.bind_udp(own).expect("our own address"),
            arrivals,
            stack,
            pending: Vec::new(),
            decided: unbounded_channel(),
            streams: Vec::new(),
            udp: Vec::new(),
            echo: Vec::new(),
            clients: BTreeMap::new(),
            last_sent: Vec::new(),
            senders: BTreeSet::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>, tally: &mut Tally) {
        let [what, a, b, c] = input.array();
        match what % 16 {
            0..6 => self.segment(a, b, c, false),
            6 => self.datagram(a, b, c),
            7 => {
                let (from, to) = self.ends(a);
                let addresses = wire::addresses(from.ip(), to.ip());
                let ping = wire::ping(&addresses, (b & 1).into(), b.into(), &vec![c; usize::from(c)]);
                self.receive(VirtioHeader::default(), &ping);
            }
            8 => self.error(b, c),
            9 => {
                let bytes = input.take(a.into());
                self.receive(VirtioHeader::default(), bytes);
            }
            10 => self.segment(a, b, c, true),
            11 => match poll(self.listener.accept()) {
                Poll::Ready(Some((stream, _))) => self.streams.push(stream),
                Poll::Ready(None) | Poll::Pending => {}
            },
            12 => match poll(self.arrivals.recv()) {
                Poll::Ready(Some(Arrival::Tcp(pending))) => self.pending.push(pending),
                Poll::Ready(Some(Arrival::Udp(flow))) => self.udp.push(flow),
                Poll::Ready(Some(Arrival::Echo(flow))) => self.echo.push(flow),
                Poll::Ready(None) | Poll::Pending => {}
            },
            13 => self.answer(a, b, tally),
            14 => self.use_stream(a, b, c, tally),
            _ => self.use_datagrams(a, b, c, tally),
        }
    }

    /// A segment of a client: most as it should be, others beside it.
    fn segment(&mut self, a: u8, b: u8, c: u8, is_merged: bool) {
        let (from, to) = self.ends(a);
        let client = self.clients.entry((from, to)).or_default();
        let flags = TcpFlags(if b & 0x40 == 0 { b & 0x3f } else { TcpFlags::ACK.0 });
        let payload = vec![c; if is_merged { 5000 } else { SIZES[usize::from(c & 3)] }];
        let ahead = [0, u32::MAX, 1400, 0x8000_0000][usize::from(c >> 2 & 3)];
        let header = Segment {
            flags,
            sequence: client.sequence.wrapping_add(ahead),
            acknowledgment: [client.acknowledgment, client.acknowledgment.wrapping_sub(1), 100_000, 0]
                [usize::from(c >> 4 & 3)],
            window: [65_535, 0, 100, 1][usize::from(c >> 6)],
            mss: flags.syn().then_some([1460, 0, 1, 536][usize::from(b >> 6)]),
        };
        if ahead == 0 {
            let control = u32::from(flags.syn()) + u32::from(flags.fin());
            client.sequence = client.sequence.wrapping_add(payload.len() as u32 + control);
        }
        let packet = wire::tcp(&wire::ends(from, to), &header, &payload);
        let header_bytes = (packet.len() - payload.len()) as u16;
        let start = if self.is_v4 { 20 } else { 40 };
        let merged = VirtioHeader {
            checksum: Some(PartialChecksum { start, offset: 16 }),
            gso: Some(Gso {
                kind: if self.is_v4 { Segmentation::Tcp4 } else { Segmentation::Tcp6 },
                segment_bytes: 1300,
                header_bytes,
            }),
        };
        self.receive(if is_merged { merged } else { VirtioHeader::default() }, &packet);
    }

    fn datagram(&mut self, a: u8, b: u8, c: u8) {
        let (from, to) = self.ends(a);
        let whole = wire::udp(&wire::ends(from, to), &vec![b; usize::from(b) * 16]);
        if c & 1 == 0 {
            let packet = if c & 2 == 0 { whole } else { wire::corrupted(&whole) };
            return self.receive(VirtioHeader::default(), &packet);
        }
        let len = (whole.len() - if self.is_v4 { 20 } else { 40 }) as u16;
        let middle = len / 16 * 8;
        let pieces = [
            PieceRange { start: 0, end: middle, is_last: false },
            PieceRange { start: middle, end: len, is_last: true },
        ];
        for (number, range) in pieces.into_iter().enumerate() {
            if middle > 0 && c >> (number + 1) & 1 == 1 {
                let piece = wire::piece(&whole, range, (c >> 4).into());
                self.receive(VirtioHeader::default(), &piece);
            }
        }
    }

    /// An ICMP error about what the stack sent last.
    fn error(&mut self, b: u8, c: u8) {
        if self.last_sent.is_empty() {
            return;
        }
        let addresses = wire::addresses(at(self.is_v4, 9, 0).ip(), at(self.is_v4, 2, 0).ip());
        let quote = &self.last_sent[..self.last_sent.len().min(120)];
        let mtu = (u32::from(c) * 8).to_be_bytes();
        let (kind, code) = match (self.is_v4, b & 1 == 0) {
            (true, true) => (3, 4),
            (true, false) => (3, 1),
            (false, true) => (2, 0),
            (false, false) => (1, 0),
        };
        let error = wire::icmp(&addresses, kind, code, mtu, quote);
        self.receive(VirtioHeader::default(), &error);
    }

    /// The dial has come to something.
    fn answer(&mut self, a: u8, b: u8, tally: &mut Tally) {
        if self.pending.is_empty() {
            return;
        }
        let pending = self.pending.swap_remove(usize::from(a) % self.pending.len());
        if poll(pending.gone()).is_ready() {
            tally.count("client gave up");
        }
        match b % 5 {
            0 => self.decide(pending.accept(), tally),
            1 => {
                let decided = self.decided.0.clone();
                pending.accept_at_once(move |connection| drop(decided.send(connection)));
            }
            2 => pending.reset(),
            3 => pending.unreachable(Notice::Unreachable(Unreachable::Host), None),
            _ => self.pending.push(pending),
        }
    }

    fn decide(&mut self, connection: Decided, tally: &mut Tally) {
        match connection {
            Ok(stream) => {
                tally.count("accepted");
                self.streams.push(stream);
            }
            Err(NoRoom) => tally.count("no room"),
        }
    }

    fn use_stream(&mut self, a: u8, b: u8, c: u8, tally: &mut Tally) {
        if self.streams.is_empty() {
            return;
        }
        let number = usize::from(a) % self.streams.len();
        let stream = &mut self.streams[number];
        let mut context = Context::from_waker(Waker::noop());
        match b % 6 {
            0 => match stream.poll_read_with(&mut context, |bytes| bytes.len().min(usize::from(c) * 8 + 1)) {
                Poll::Ready(Ok(0)) => tally.count("end read"),
                Poll::Ready(Ok(_)) => tally.count("read"),
                Poll::Ready(Err(_)) => tally.count("reset read"),
                Poll::Pending => {}
            },
            1 => {
                let bytes = vec![c; usize::from(c) * 64];
                if let Poll::Ready(Ok(_)) = pin!(stream).poll_write(&mut context, &bytes) {
                    tally.count("written");
                }
            }
            2 => drop(poll(stream.shutdown())),
            3 => self.streams.swap_remove(number).abort(),
            4 => drop(self.streams.swap_remove(number)),
            _ => {
                if stream.poll_broken(&mut context).is_ready() {
                    tally.count("broken");
                }
            }
        }
    }

    fn use_datagrams(&mut self, a: u8, b: u8, c: u8, tally: &mut Tally) {
        let payload = vec![c; usize::from(c) * 16];
        if let Poll::Ready(Ok((_, from))) = poll(self.socket.recv_from()) {
            tally.count("datagram from a socket");
            // What the door does not take is lost.
            let _ = self.socket.send_to(&payload, from);
        }
        if !self.udp.is_empty() {
            let number = usize::from(a) % self.udp.len();
            let flow = &mut self.udp[number];
            if let Poll::Ready(Some(_)) = poll(flow.recv()) {
                tally.count("datagram from a flow");
            }
            match b % 4 {
                0 => _ = flow.send(&payload),
                1 => flow.report(Notice::TooBig { mtu_bytes: 1300 }, None, &payload),
                2 => drop(self.udp.swap_remove(number)),
                _ => {}
            }
        }
        if !self.echo.is_empty() {
            let number = usize::from(a) % self.echo.len();
            let flow = &mut self.echo[number];
            if let Poll::Ready(Some(request)) = poll(flow.recv()) {
                tally.count("echo request");
                match b % 4 {
                    0 => _ = flow.reply(request.sequence, &request.payload),
                    1 => flow.report(Notice::HopLimitExceeded, None, request.sequence, &request.payload),
                    2 => drop(self.echo.swap_remove(number)),
                    _ => {}
                }
            }
        }
    }

    fn receive(&mut self, header: VirtioHeader, packet: &[u8]) {
        if let Ok(packet) = PacketMut::parse(&mut packet.to_vec()) {
            self.senders.insert(packet.addresses().source());
        }
        let (first, second) = packet.split_at(packet.len() / 2);
        self.stack.receive(0, header, &[IoSlice::new(first), IoSlice::new(second)]);
    }

    /// What the stack sends, and what it holds.
    fn look(&mut self, tally: &mut Tally) {
        let mut room = vec![0; 65_535];
        while let Some((len, header)) = self.stack.door(0).read(&mut room) {
            let packet = &mut room[..len];
            match (header.gso, header.checksum) {
                (Some(gso), checksum) => {
                    let parts = SuperPacket::parse(packet, gso, checksum).expect("a super-packet");
                    assert!(parts.longest() <= usize::from(MTU_BYTES), "segments fit the tunnel");
                    tally.count("sent super-packet");
                }
                (None, Some(partial)) => complete_checksum(packet, partial).expect("a partial checksum"),
                (None, None) => {}
            }
            self.last_sent = packet.to_vec();
            self.check(header, packet, tally);
        }
        self.stack.door(0).end_turn();
        while let Ok(connection) = self.decided.1.try_recv() {
            self.decide(connection, tally);
        }
        let stats = self.stack.stats();
        assert!(stats.flows <= FLOWS_MAX && stats.buffer_bytes <= BUFFER_BYTES_MAX, "{stats:?}");
    }

    fn check(&mut self, header: VirtioHeader, packet: &mut [u8], tally: &mut Tally) {
        let len = packet.len();
        if header.gso.is_none() {
            assert!(wire::checksums_are_right(packet), "checksums of {packet:02x?}");
        }
        let packet = PacketMut::parse(packet).expect("a packet");
        assert_eq!(packet.total_len(), len);
        let may_be_long = header.gso.is_some() || self.is_v4 && !packet.dont_fragment();
        assert!(may_be_long || len <= usize::from(MTU_BYTES), "{len} bytes");
        let ends = packet.ends();
        let to = ends.addresses.destination();
        assert!(self.senders.contains(&to), "{to} has sent nothing");
        match packet.transport() {
            Transport::Tcp(segment) => {
                tally.count(if segment.flags.rst() { "sent reset" } else { "sent Tcp" });
                let from = SocketAddr::new(ends.addresses.source(), ends.ports.source);
                let client =
                    self.clients.entry((SocketAddr::new(to, ends.ports.destination), from)).or_default();
                client.acknowledgment = segment.sequence.wrapping_add(segment.sequence_len());
            }
            Transport::Udp | Transport::LaterPiece => tally.count("sent Udp"),
            Transport::IcmpEcho { .. } => tally.count("sent echo reply"),
            Transport::IcmpError(_) => tally.count("sent error"),
            Transport::IcmpOther { .. } | Transport::Other => panic!("the stack does not send {packet:?}"),
        }
    }

    /// One of two ports of the client, and one of the places it speaks to.
    fn ends(&self, a: u8) -> (SocketAddr, SocketAddr) {
        let to = [(2, 80), (2, 81), (3, 22), (4, 22)][usize::from(a >> 1 & 3)];
        (at(self.is_v4, 1, 1000 + u16::from(a & 1) + u16::from(a >> 3)), at(self.is_v4, to.0, to.1))
    }
}

fn at(is_v4: bool, number: u8, port: u16) -> SocketAddr {
    match is_v4 {
        true => ([10, 0, 0, number], port).into(),
        false => ([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)], port).into(),
    }
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
