//! One TCP connection: bytes on one side, packets on the other, and time. Around one smoltcp socket with an interface of its
//! own, since smoltcp asks every socket about every packet. Pure: time, packets and randomness come from the caller.
//! Read first: RFC 9293. Called by flow, which finds it; calls wire.

use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use wg_proto::Instant;

use super::closed_window;
use super::wire::{Outgoing, Wire};

// Of the specifications.
/// RFC 9293 section 3.8.3: R2 for data is at least 100 s.
const UNANSWERED_MAX: Duration = Duration::from_secs(120);
/// RFC 9293 section 3.8.4: no less than two hours by default.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2 * 3600);

/// How large a connection's two buffers are together, and how long its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) buffer_bytes: usize,
    pub(super) mtu_bytes: u16,
}

/// A connection from its first SYN on.
pub(super) struct Connection {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    local: SocketAddr,
    seed: u64,
    mtu_bytes: u16,
    /// When the other end said something last, whatever it was.
    last_heard: Instant,
    /// Since when something is on its way to it that it has not acknowledged.
    waiting_since: Option<Instant>,
    /// What we have acknowledged last: where the other end goes on.
    acknowledged: Option<u32>,
    /// Both ends have said that they are done; what follows is no break.
    has_both_ends: bool,
}

/// Why nothing more can be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The other end is done sending.
    Finished,
    /// It was broken off, by whichever end.
    Broken,
}

impl Connection {
    /// A connection that answers the SYN it is given next. `seed` must be unpredictable: sequence numbers come from it.
    pub(super) fn passive(now: Instant, local: SocketAddr, size: Size, seed: u64) -> Connection {
        let mut connection = Connection::new(now, local, size, seed);
        let listening = connection.tcp().listen(local);
        debug_assert_eq!(listening, Ok(()), "a fresh socket listens on any port but 0");
        connection
    }

    /// A connection that sends a SYN when it is next polled.
    pub(super) fn active(
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        size: Size,
        seed: u64,
    ) -> Connection {
        let mut connection = Connection::new(now, local, size, seed);
        let Connection { interface, sockets, socket, .. } = &mut connection;
        let tcp = sockets.get_mut::<tcp::Socket<'_>>(*socket);
        let connecting = tcp.connect(interface.context(), remote, local);
        debug_assert_eq!(connecting, Ok(()), "a fresh socket connects between two addresses with ports");
        connection
    }

    fn new(now: Instant, local: SocketAddr, size: Size, seed: u64) -> Connection {
        let half = size.buffer_bytes / 2;
        let buffer = || tcp::SocketBuffer::new(vec![0; half]);
        let mut tcp = tcp::Socket::new(buffer(), buffer());
        tcp.set_congestion_control(tcp::CongestionControl::Cubic);
        // Whoever writes has held back already what is to be held back.
        tcp.set_nagle_enabled(false);
        // What came in one batch came merged, and is acknowledged once. To wait for more would stall senders whose window a
        // batch is: smoltcp counts segments as they come, and opens a window by one for each acknowledgement.
        tcp.set_ack_delay(None);
        // Smoltcp's own timeout counts idle time as well.
        tcp.set_timeout(None);
        tcp.set_keep_alive(Some(KEEPALIVE_EVERY.into()));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(tcp);
        let interface = interface(now, local, size.mtu_bytes, seed);
        Connection {
            interface,
            sockets,
            socket,
            local,
            seed,
            mtu_bytes: size.mtu_bytes,
            last_heard: now,
            waiting_since: None,
            acknowledged: None,
            has_both_ends: false,
        }
    }

    /// Takes a packet whose checksums are known to be right, and says what follows from it in `out`.
    pub(super) fn receive(&mut self, now: Instant, packet: &[u8], out: &mut Outgoing) {
        if self.is_window_closed()
            && let Some(acknowledgment) =
                self.acknowledged.and_then(|sequence| closed_window::bare(packet, sequence))
        {
            self.work(now, Some(&acknowledgment), out);
        }
        self.work(now, Some(packet), out);
    }

    /// Whether there is so little room that the window may have been rounded down to none.
    fn is_window_closed(&self) -> bool {
        let tcp = self.sockets.get::<tcp::Socket<'_>>(self.socket);
        tcp.recv_capacity() - tcp.recv_queue() < closed_window::WINDOW_UNIT_MAX as usize
    }

    /// Does what is due by now, and sends what may be sent.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Outgoing) {
        self.work(now, None, out);
    }

    /// When it wants to be polled, if nothing happens before.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(stack_instant(now), &self.sockets)?;
        let at = Instant::from_nanos(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000));
        Some(at.min(self.given_up_at()))
    }

    /// When the other end counts as gone, unless it says something before.
    fn given_up_at(&self) -> Instant {
        let idle = self.last_heard.saturating_add(KEEPALIVE_EVERY + UNANSWERED_MAX);
        match self.waiting_since {
            Some(since) => idle.min(since.max(self.last_heard).saturating_add(UNANSWERED_MAX)),
            None => idle,
        }
    }

    /// Reads what lies in one piece, at most all of it, by telling how much of it was taken. `Ok(None)`: nothing lies there.
    pub(super) fn read<R: PartialEq>(
        &mut self,
        take: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Result<Option<R>, Over> {
        let tcp = self.tcp();
        if tcp.can_recv() {
            return tcp.recv(|bytes: &mut [u8]| take(bytes)).map(Some).map_err(over);
        }
        if is_early(tcp.state()) {
            return Ok(None);
        }
        // Nothing is there; whether anything will come says the error.
        let nothing = tcp.recv(|_| (0, ())).map(|()| None).map_err(over);
        if nothing == Err(Over::Broken) && self.has_both_ends { Err(Over::Finished) } else { nothing }
    }

    /// Writes into room that lies in one piece, by telling how much was put there. `Ok(None)`: there is no room.
    pub(super) fn write<R>(&mut self, put: impl FnOnce(&mut [u8]) -> (usize, R)) -> Result<Option<R>, Over> {
        let tcp = self.tcp();
        if tcp.can_send() {
            return tcp.send(put).map(Some).map_err(|_| Over::Broken);
        }
        if tcp.may_send() || is_early(tcp.state()) { Ok(None) } else { Err(Over::Broken) }
    }

    /// Nothing more will be written: FIN behind what was.
    pub(super) fn finish(&mut self) {
        self.tcp().close();
    }

    /// Breaks it off: RST.
    pub(super) fn abort(&mut self) {
        self.tcp().abort();
    }

    /// Wakes when there is something to read, or nothing will come any more.
    pub(super) fn wake_reader(&mut self, waker: &Waker) {
        self.tcp().register_recv_waker(waker);
    }

    /// Wakes when there is room to write, or nothing will be taken any more.
    pub(super) fn wake_writer(&mut self, waker: &Waker) {
        self.tcp().register_send_waker(waker);
    }

    /// Whether both ends have said that they are there.
    pub(super) fn is_established(&self) -> bool {
        !is_early(self.state()) && !self.is_closed()
    }

    /// Whether it was broken off, or is over.
    pub(super) fn is_closed(&self) -> bool {
        self.state() == tcp::State::Closed
    }

    /// Whether an end broke it off before both were done.
    pub(super) fn is_broken(&self) -> bool {
        self.is_closed() && !self.has_both_ends
    }

    /// Whether both ends are done, and only a lost acknowledgement might still have to be repeated.
    pub(super) fn is_waiting_out(&self) -> bool {
        self.state() == tcp::State::TimeWait
    }

    /// Bytes that nobody has read.
    pub(super) fn unread(&self) -> usize {
        self.sockets.get::<tcp::Socket<'_>>(self.socket).recv_queue()
    }

    /// No packet is longer from now on (RFC 1191, RFC 8201).
    pub(super) fn lower_mtu(&mut self, now: Instant, mtu_bytes: u16) {
        if mtu_bytes < self.mtu_bytes {
            self.mtu_bytes = mtu_bytes;
            self.interface = interface(now, self.local, mtu_bytes, self.seed.rotate_left(17));
        }
    }

    fn work(&mut self, now: Instant, packet: Option<&[u8]>, out: &mut Outgoing) {
        if packet.is_some() {
            self.last_heard = now;
        } else if now >= self.given_up_at() {
            self.abort();
        }
        let sent_before = out.len();
        let mut wire = Wire::new(packet, self.mtu_bytes, out);
        // The result says whether sockets may have changed; wakers say it better.
        let _ = self.interface.poll(stack_instant(now), &mut wire, &mut self.sockets);
        if out.len() > sent_before {
            self.acknowledged = out.last().and_then(closed_window::acknowledged).or(self.acknowledged);
        }
        self.waiting_since = if self.is_waiting() { self.waiting_since.or(Some(now)) } else { None };
        self.has_both_ends |=
            matches!(self.state(), tcp::State::LastAck | tcp::State::Closing | tcp::State::TimeWait);
    }

    /// Whether something is to be acknowledged: bytes, SYN or FIN.
    fn is_waiting(&self) -> bool {
        let tcp = self.sockets.get::<tcp::Socket<'_>>(self.socket);
        match tcp.state() {
            tcp::State::SynSent
            | tcp::State::SynReceived
            | tcp::State::FinWait1
            | tcp::State::Closing
            | tcp::State::LastAck => true,
            tcp::State::Established | tcp::State::CloseWait => tcp.send_queue() > 0,
            tcp::State::Listen | tcp::State::FinWait2 | tcp::State::TimeWait | tcp::State::Closed => false,
        }
    }

    fn tcp(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    fn state(&self) -> tcp::State {
        self.sockets.get::<tcp::Socket<'_>>(self.socket).state()
    }
}

/// Whether it is too early for bytes.
fn is_early(state: tcp::State) -> bool {
    matches!(state, tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived)
}

/// An interface with this one address.
fn interface(now: Instant, local: SocketAddr, mtu_bytes: u16, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut nowhere = Outgoing::default();
    let mut wire = Wire::new(None, mtu_bytes, &mut nowhere);
    let mut interface = Interface::new(config, &mut wire, stack_instant(now));
    let address = IpAddress::from(local.ip());
    let length = if local.is_ipv4() { 32 } else { 128 };
    interface.update_ip_addrs(|addresses| {
        let taken = addresses.push(IpCidr::new(address, length));
        debug_assert_eq!(taken, Ok(()), "there is room for one address");
    });
    // Everybody is reached by the same way out, so that it does not matter by whom.
    let routed = match local {
        SocketAddr::V4(local) => interface.routes_mut().add_default_ipv4_route(*local.ip()).is_ok(),
        SocketAddr::V6(local) => interface.routes_mut().add_default_ipv6_route(*local.ip()).is_ok(),
    };
    debug_assert!(routed, "there is room for one route");
    interface
}

fn stack_instant(now: Instant) -> StackInstant {
    StackInstant::from_micros((now.as_nanos() / 1000) as i64)
}

fn over(error: tcp::RecvError) -> Over {
    match error {
        tcp::RecvError::Finished => Over::Finished,
        tcp::RecvError::InvalidState => Over::Broken,
    }
}
