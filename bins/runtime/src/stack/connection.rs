//! One TCP connection: bytes on one side, packets on the other, and time. Around one smoltcp socket with an interface of its
//! own, since smoltcp asks every socket about every packet. Pure: time, packets and randomness come from the caller.
//! Read first: RFC 9293, smoltcp's `socket::tcp`. Called by flow, which finds it; calls socket, wire.
//!
//! What smoltcp does not do is done here: a time-out only while something is owed, several keep-alives before giving up, data
//! that stays readable however long the end is past, and why a connection ended; and in sender what is lost and how much may
//! be under way.

use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, PollResult};
use smoltcp::socket::tcp::State;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use wg_proto::Instant;

use super::buffers::Buffers;
use super::obstacle::Obstacle;
use super::segment::{Header, distance, limit_offer};
use super::socket::TcpSocket;
use super::wire::{Outgoing, Outlet, Wire};

// Of the specifications.
/// RFC 9293 section 3.8.3: R2 for data is at least 100 s.
const UNANSWERED_MAX: Duration = Duration::from_secs(120);
/// RFC 9293 section 3.8.4: no less than two hours by default.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(2 * 3600);
/// RFC 9293 section 3.7.1: of who announces none.
const DEFAULT_MSS: u16 = 536;
/// RFC 8200 section 5: what every path takes.
const MTU_MIN_V6_BYTES: u16 = 1280;

// Our own choices.
/// A lone segment is acknowledged after so long, with what is sent by then.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// Between keep-alives, once one was not answered; as Linux does.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(75);
/// So many are sent.
const KEEPALIVES: u32 = 9;
/// A connection that nobody holds any more must come nearer to its end within this time.
const ORPHAN_STANDSTILL_MAX: Duration = Duration::from_secs(60);
/// A writer is woken when this part of its buffer is free: small pieces cost as much as large ones.
const WRITER_PART: usize = 4;
/// RFC 1191 section 3: no path is narrower than 68 bytes; what says less than this is not worth believing.
const MTU_MIN_V4_BYTES: u16 = 576;
/// smoltcp waits at most a minute before it sends again. Its clock goes ahead by so much when it is to go back, and stays
/// ahead: nothing else it does is bound to ours.
const GO_BACK: Duration = Duration::from_secs(61);
/// Windows are told in units of at most so many bytes, a buffer of 2 MiB needs a shift of 6: a sender may be as far beyond a
/// window that was rounded down.
const WINDOW_UNIT_MAX: usize = 64;

/// What a connection is made from.
pub(super) struct Means {
    pub(super) buffers: Buffers,
    /// No packet is longer.
    pub(super) mtu_bytes: u16,
    /// Nobody can foretell it: sequence numbers come from it.
    pub(super) seed: u64,
}

/// A connection from its first SYN on.
pub(super) struct Connection {
    interface: Interface,
    socket: TcpSocket,
    outlet: Outlet,
    is_v4: bool,
    /// How far smoltcp's clock is ahead of ours.
    ahead: Duration,
    /// The sequence number behind the other end's SYN.
    begin: u32,
    /// The same, and behind what was read since.
    read_to: u32,
    /// Bytes written.
    written: usize,
    /// The other end's window as smoltcp was told last.
    window: Option<u16>,
    /// When the other end was last heard.
    heard: Instant,
    /// Since when it owes an answer.
    owing_since: Option<Instant>,
    /// FIN is to follow as soon as the connection stands.
    wants_finish: bool,
    /// Both ends are done since then. smoltcp's clock stands still from there, or it would forget what nobody has read.
    done_since: Option<Instant>,
    ending: Option<Ending>,
    orphan: Option<Orphan>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    watcher: Option<Waker>,
}

/// Nobody holds the stream any more.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    /// When it last came nearer to its end, and how far it was.
    since: Instant,
    was: (State, usize),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both ends were done.
    Finished,
    /// The other end broke it off.
    Reset,
    /// The other end did not answer any more.
    TimedOut,
    /// The network said that there is no way, while the connection was being opened.
    Unreachable(Obstacle),
    /// This end broke it off.
    Aborted,
}

/// Why nothing more can be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The end that would send is done.
    Finished,
    /// It was broken off.
    Broken(Ending),
}

/// Tasks to wake, once no lock is held.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Wakes([Option<Waker>; 3]);

impl Wakes {
    pub(super) fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Connection {
    /// What is allocated beside the buffers, by smoltcp and after losses.
    #[cfg(test)]
    pub(super) const BYTES_BESIDE: usize =
        TcpSocket::BYTES + super::scoreboard::Scoreboard::BYTES_MAX + super::recovery::Recovery::BYTES_MAX;

    /// A connection that answers the SYN it is given next.
    pub(super) fn passive(now: Instant, local: SocketAddr, means: Means) -> Connection {
        let mut connection = Connection::new(now, local, means);
        let listening = connection.socket.with(|tcp| tcp.listen(local));
        debug_assert_eq!(listening, Ok(()), "a fresh socket listens on any port but 0");
        connection
    }

    /// A connection that sends a SYN when it is next polled.
    pub(super) fn active(now: Instant, local: SocketAddr, remote: SocketAddr, means: Means) -> Connection {
        let mut connection = Connection::new(now, local, means);
        let Connection { interface, socket, .. } = &mut connection;
        let connecting = socket.with(|tcp| tcp.connect(interface.context(), remote, local));
        debug_assert_eq!(connecting, Ok(()), "a fresh socket connects between two addresses with ports");
        connection
    }

    fn new(now: Instant, local: SocketAddr, means: Means) -> Connection {
        let Means { buffers, mtu_bytes, seed } = means;
        let mut socket = TcpSocket::new(buffers);
        socket.with(|tcp| {
            // Whoever writes has held back already what is to be held back.
            tcp.set_nagle_enabled(false);
            tcp.set_keep_alive(Some(KEEPALIVE_AFTER.into()));
        });
        let is_v4 = local.is_ipv4();
        let header_bytes = if is_v4 { 40 } else { 60 };
        let mss = mtu_bytes.saturating_sub(header_bytes).max(1);
        let mut outlet = Outlet::new(mss, header_bytes);
        let interface = interface(now, local, &mut outlet, seed);
        Connection {
            interface,
            socket,
            outlet,
            is_v4,
            ahead: Duration::ZERO,
            begin: 0,
            read_to: 0,
            written: 0,
            window: None,
            heard: now,
            owing_since: None,
            wants_finish: false,
            done_since: None,
            ending: None,
            orphan: None,
            reader: None,
            writer: None,
            watcher: None,
        }
    }

    /// Takes a packet whose checksums are known to be right, and says what follows from it in `out`. The packet is changed.
    pub(super) fn receive(&mut self, now: Instant, packet: &mut [u8], out: &mut Outgoing) {
        let Some(header) = Header::read(packet) else { return };
        // RFC 1337: a reset must not end TIME-WAIT.
        if header.flags.rst() && self.done_since.is_some() {
            return;
        }
        self.heard = now;
        let before = self.socket.state();
        self.set_keep_alive(KEEPALIVE_AFTER);
        if header.flags.syn() && self.is_offer(&header) {
            self.learn_offer(packet, &header);
        } else if header.flags.rst() {
            self.hear_reset(packet, &header);
        } else if header.flags.ack() && !self.hear(now, packet, &header, out) {
            return self.poll(now, out);
        }
        self.set_ack_delay(&header);
        self.note_received(&header);
        self.take(now, packet, out);
        self.note_ending(before, header.flags.rst());
        self.poll(now, out);
    }

    /// Does what is due by now, and sends what may be sent.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Outgoing) {
        if self.wants_finish && !self.is_early() {
            self.wants_finish = false;
            self.socket.with(|tcp| tcp.close());
        }
        if self.ending.is_none() && self.overdue().is_some_and(|at| at <= now) {
            self.end(Ending::TimedOut);
        }
        self.outlet.sender.note_time(now);
        if now >= self.heard.saturating_add(KEEPALIVE_AFTER) {
            self.set_keep_alive(KEEPALIVE_AGAIN);
        }
        self.give(now, out);
        if self.socket.state() == State::TimeWait {
            self.done_since.get_or_insert(now);
        }
        self.owing_since = if self.is_owed() { self.owing_since.or(Some(now)) } else { None };
        self.note_progress(now);
    }

    /// When it wants to be polled, if nothing happens before.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.ending.is_some() {
            return None;
        }
        let smoltcp = match self.done_since {
            Some(_) => None,
            None => {
                let at = self.smoltcp_time(now);
                self.socket.with_set(|set| self.interface.poll_at(at, set))
            }
        };
        let ahead = self.ahead.as_micros() as i64;
        let nanos = |micros: i64| u64::try_from(micros - ahead).unwrap_or(0).saturating_mul(1000);
        let smoltcp = smoltcp.map(|at| Instant::from_nanos(nanos(at.total_micros())));
        smoltcp.into_iter().chain(self.overdue()).chain(self.outlet.sender.deadline()).min()
    }

    /// Reads what lies in one piece, at most all of it, by telling how much of it was taken. `Ok(None)`: nothing lies there.
    pub(super) fn read<R>(&mut self, take: impl FnOnce(&[u8]) -> (usize, R)) -> Result<Option<R>, Over> {
        let before = self.unread();
        if before > 0 {
            let taken = self.socket.with(|tcp| tcp.recv(|bytes| take(bytes)));
            let read = before - self.unread();
            self.read_to = self.read_to.wrapping_add(read as u32);
            return taken.map(Some).map_err(|_| Over::Finished);
        }
        if let Some(broken) = self.ending.filter(|ending| *ending != Ending::Finished) {
            return Err(Over::Broken(broken));
        }
        let may_come = self.is_early() || self.socket.look(|tcp| tcp.may_recv());
        if may_come { Ok(None) } else { Err(Over::Finished) }
    }

    /// Writes into room that lies in one piece, by telling how much was put there. `Ok(None)`: there is no room.
    pub(super) fn write<R>(&mut self, put: impl FnOnce(&mut [u8]) -> (usize, R)) -> Result<Option<R>, Over> {
        if let Some(ending) = self.ending {
            return Err(Over::Broken(ending));
        }
        if self.wants_finish {
            return Err(Over::Finished);
        }
        if self.socket.look(|tcp| tcp.can_send()) {
            let before = self.queued();
            let put = self.socket.with(|tcp| tcp.send(put));
            self.written = self.written.saturating_add(self.queued() - before);
            self.socket.note_written(self.written);
            return put.map(Some).map_err(|_| Over::Finished);
        }
        let may_go = self.is_early() || self.socket.look(|tcp| tcp.may_send());
        if may_go { Ok(None) } else { Err(Over::Finished) }
    }

    /// Nothing more will be written: FIN behind what was.
    pub(super) fn finish(&mut self) {
        // smoltcp takes the acknowledgement of a SYN for that of a FIN, if it is closed in between.
        self.wants_finish = self.ending.is_none();
    }

    /// Breaks it off: RST.
    pub(super) fn abort(&mut self) {
        self.end(Ending::Aborted);
    }

    /// Nobody will read or write any more. Without FIN, or with unread data, it is broken off; else it may come to its end.
    pub(super) fn let_go(&mut self, now: Instant) {
        let is_finishing = self.wants_finish || self.is_closing();
        if !is_finishing || self.unread() > 0 {
            self.abort();
        }
        self.orphan = Some(Orphan { since: now, was: self.progress() });
    }

    /// There is no way to the other end. Believed only while the connection is being opened (RFC 5461, RFC 5927): it is
    /// over then, else nothing happens.
    pub(super) fn unreachable(&mut self, why: Obstacle) {
        if self.socket.state() == State::SynSent {
            self.end(Ending::Unreachable(why));
        }
    }

    /// No packet is longer from now on (RFC 1191, RFC 8201).
    pub(super) fn lower_mtu(&mut self, mtu_bytes: u16) {
        let least = if self.is_v4 { MTU_MIN_V4_BYTES } else { MTU_MIN_V6_BYTES };
        let segment_bytes = mtu_bytes.max(least) - self.outlet.header_bytes;
        self.outlet.segment_bytes = self.outlet.segment_bytes.min(segment_bytes);
        self.outlet.sender.set_segment_bytes(self.outlet.segment_bytes);
    }

    /// Wakes when there is something to read, or nothing will come any more.
    pub(super) fn wake_reader(&mut self, waker: &Waker) {
        register(&mut self.reader, waker);
    }

    /// Wakes when there is room to write, or nothing will be taken any more.
    pub(super) fn wake_writer(&mut self, waker: &Waker) {
        register(&mut self.writer, waker);
    }

    /// Wakes when the connection is over.
    pub(super) fn wake_watcher(&mut self, waker: &Waker) {
        register(&mut self.watcher, waker);
    }

    /// Those to wake for what has happened.
    pub(super) fn take_wakes(&mut self) -> Wakes {
        if self.reader.is_none() && self.writer.is_none() && self.watcher.is_none() {
            return Wakes::default();
        }
        let (is_over, is_early) = (self.ending.is_some(), self.is_early());
        let (is_readable, is_writable) = self.socket.look(|tcp| {
            let is_readable = is_over || tcp.can_recv() || !(is_early || tcp.may_recv());
            let room = tcp.send_capacity() - tcp.send_queue();
            let is_writable =
                is_over || !is_early && (!tcp.may_send() || room >= tcp.send_capacity() / WRITER_PART);
            (is_readable, is_writable)
        });
        Wakes([
            self.reader.take_if(|_| is_readable),
            self.writer.take_if(|_| is_writable),
            self.watcher.take_if(|_| is_over),
        ])
    }

    /// Whether both ends have said that they are there.
    pub(super) fn is_established(&self) -> bool {
        !self.is_early() && self.ending.is_none()
    }

    /// Why it is over, if it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Whether both ends are done, and only a lost acknowledgement might still have to be repeated.
    pub(super) fn is_waiting_out(&self) -> bool {
        self.done_since.is_some()
    }

    /// Whether nobody holds the stream any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.orphan.is_some()
    }

    /// Bytes that nobody has read.
    pub(super) fn unread(&self) -> usize {
        self.socket.look(|tcp| tcp.recv_queue())
    }

    /// Bytes that the other end has not acknowledged.
    fn queued(&self) -> usize {
        self.socket.look(|tcp| tcp.send_queue())
    }

    fn take(&mut self, now: Instant, packet: &[u8], out: &mut Outgoing) {
        let at = self.smoltcp_time(now);
        let mut wire = Wire::new(Some(packet), &mut self.outlet, out);
        // The result says whether sockets may have changed; their states say it better.
        let _ = self.socket.with_set(|set| self.interface.poll_ingress_single(at, &mut wire, set));
    }

    fn give(&mut self, now: Instant, out: &mut Outgoing) {
        if self.outlet.sender.must_go_back() {
            self.ahead += GO_BACK;
        }
        let at = self.smoltcp_time(now);
        let mut wire = Wire::new(None, &mut self.outlet, out);
        self.socket.with_set(|set| {
            while self.interface.poll_egress(at, &mut wire, set) == PollResult::SocketStateChanged {}
        });
        self.outlet.sender.settle(now);
    }

    /// Whether a SYN says something: the first does, and the same one again. smoltcp takes no other.
    fn is_offer(&self, header: &Header) -> bool {
        let is_first = matches!(self.socket.state(), State::Listen | State::SynSent);
        is_first || self.is_early() && header.sequence.wrapping_add(1) == self.begin
    }

    /// Which segments fit both ends, and how the other end counts its window. Nothing is known of the path yet, so smoltcp
    /// sees no more of the window than that.
    fn learn_offer(&mut self, syn: &mut [u8], header: &Header) {
        let offer = limit_offer(syn, self.outlet.mss);
        // smoltcp has the same floor.
        let mss = offer.mss.filter(|mss| *mss != 0).map_or(DEFAULT_MSS, |mss| mss.max(48));
        let segment_bytes = self.outlet.segment_bytes.min(mss);
        self.outlet.segment_bytes = segment_bytes;
        self.begin = header.sequence.wrapping_add(1);
        self.read_to = self.begin;
        let window =
            self.outlet.sender.learn(segment_bytes, offer.window_shift, offer.is_selective, header.window);
        header.put_window(syn, window);
    }

    /// What the other end says of what it got. smoltcp sees the window that the sender allows. Says whether there is something
    /// in it for smoltcp: it takes repeated acknowledgments for a sign to send again, which is the sender's to decide.
    fn hear(&mut self, now: Instant, packet: &mut [u8], header: &Header, out: &mut Outgoing) -> bool {
        if matches!(self.socket.state(), State::Listen | State::SynSent) {
            return true;
        }
        let unacknowledged = self.unacknowledged();
        let sender = &mut self.outlet.sender;
        let Some(news) = sender.news(header.acknowledgment).filter(|news| *news <= unacknowledged) else {
            return true;
        };
        let window = sender.hear(now, header, header.held(packet));
        header.put_window(packet, window);
        let is_new = news > 0 || self.window.replace(window) != Some(window);
        let expected = self.expected();
        let ahead = distance(header.sequence, expected);
        // Nothing it carries could be taken now: neither data nor, ahead of its place, FIN.
        let is_empty = header.payload_bytes == 0 && if header.flags.fin() { ahead > 0 } else { ahead >= 0 };
        if is_empty && !is_new && unacknowledged > 0 {
            return false;
        }
        // RFC 9293 section 3.10.7.4 wants valid acknowledgments taken even where the window is closed. smoltcp takes none of a
        // segment that lies outside of its window, and would be behind the sender.
        if is_new
            && (ahead != 0 || self.is_window_closed())
            && let Some(bare) = header.bare(packet, expected, header.acknowledgment)
        {
            self.take(now, bare.bytes(), out);
        }
        true
    }

    /// smoltcp takes no reset that does not begin right at a closed window, and so an end that has probed the window could not
    /// break off.
    fn hear_reset(&mut self, packet: &mut [u8], header: &Header) {
        let expected = self.outlet.expected;
        let ahead = distance(header.sequence, expected);
        if self.is_window_closed() && (0..=WINDOW_UNIT_MAX as i32).contains(&ahead) {
            header.put_sequence(packet, expected);
        }
    }

    fn is_window_closed(&self) -> bool {
        self.socket.look(|tcp| tcp.recv_capacity() - tcp.recv_queue() < WINDOW_UNIT_MAX)
    }

    /// How much of the other end's stream may come to lie in the buffer. What is negative here is old, or the stream is
    /// so long that all of the buffer was written.
    fn note_received(&self, header: &Header) {
        if header.payload_bytes > 0 {
            let bytes = distance(header.end(), self.begin);
            self.socket.note_received(usize::try_from(bytes).unwrap_or(0));
        }
    }

    /// Where the other end's next byte belongs.
    fn expected(&self) -> u32 {
        let is_finished = match self.socket.state() {
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait => true,
            State::Closed | State::Listen | State::SynSent | State::SynReceived => false,
            State::Established | State::FinWait1 | State::FinWait2 => false,
        };
        self.read_to.wrapping_add(self.unread() as u32).wrapping_add(is_finished.into())
    }

    /// What the other end may acknowledge: bytes, and FIN.
    fn unacknowledged(&self) -> usize {
        let has_finished = match self.socket.state() {
            State::FinWait1 | State::Closing | State::LastAck => true,
            State::Closed | State::Listen | State::SynSent | State::SynReceived => false,
            State::Established | State::FinWait2 | State::CloseWait | State::TimeWait => false,
        };
        self.queued() + usize::from(has_finished)
    }

    /// Merged segments are acknowledged at once, as two of them would be (RFC 9293 section 3.8.6.3); so is the last one.
    fn set_ack_delay(&mut self, header: &Header) {
        let is_many = header.payload_bytes > usize::from(self.outlet.segment_bytes);
        let delay = if is_many || header.flags.fin() { Duration::ZERO } else { ACK_DELAY };
        self.socket.with(|tcp| tcp.set_ack_delay(Some(delay.into())));
    }

    fn set_keep_alive(&mut self, interval: Duration) {
        self.socket.with(|tcp| tcp.set_keep_alive(Some(interval.into())));
    }

    /// What the other end has done to the connection with a packet.
    fn note_ending(&mut self, before: State, is_reset: bool) {
        let after = self.socket.state();
        // A socket that was listening goes back to that; this one is for one connection.
        let is_over = after == State::Closed || after == State::Listen && before == State::SynReceived;
        if is_over && before != State::Closed {
            self.end(if is_reset { Ending::Reset } else { Ending::Finished });
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ending.is_none() {
            self.ending = Some(ending);
            self.socket.with(|tcp| tcp.abort());
        }
    }

    /// Whether the other end has something to acknowledge.
    fn is_owed(&self) -> bool {
        match self.socket.state() {
            State::SynSent | State::SynReceived | State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => self.queued() > 0,
            State::Closed | State::Listen | State::FinWait2 | State::TimeWait => false,
        }
    }

    /// When the other end has been silent for too long.
    fn overdue(&self) -> Option<Instant> {
        if self.done_since.is_some() {
            return None;
        }
        let unanswered = match self.owing_since {
            Some(since) => since.max(self.heard).saturating_add(UNANSWERED_MAX),
            None => self.heard.saturating_add(KEEPALIVE_AFTER + KEEPALIVES * KEEPALIVE_AGAIN),
        };
        let standstill = self.orphan.map(|orphan| orphan.since.saturating_add(ORPHAN_STANDSTILL_MAX));
        standstill.into_iter().chain([unanswered]).min()
    }

    fn note_progress(&mut self, now: Instant) {
        let (progress, unread) = (self.progress(), self.unread());
        if let Some(orphan) = &mut self.orphan {
            if orphan.was != progress {
                *orphan = Orphan { since: now, was: progress };
            }
            if unread > 0 {
                // RFC 9293 section 3.10.4: nobody will read it, so the other end must know.
                self.abort();
            }
        }
    }

    fn progress(&self) -> (State, usize) {
        (self.socket.state(), self.queued())
    }

    /// Whether it is too early for bytes.
    fn is_early(&self) -> bool {
        self.ending.is_none()
            && matches!(self.socket.state(), State::Listen | State::SynSent | State::SynReceived)
    }

    /// Whether FIN was sent, or is to be sent behind what waits.
    fn is_closing(&self) -> bool {
        match self.socket.state() {
            State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait | State::LastAck => true,
            State::Closed | State::Listen | State::SynSent | State::SynReceived => false,
            State::Established | State::CloseWait => false,
        }
    }

    fn smoltcp_time(&self, now: Instant) -> StackInstant {
        stack_instant(self.done_since.unwrap_or(now).saturating_add(self.ahead))
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) => known.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

/// An interface with this one address.
fn interface(now: Instant, local: SocketAddr, outlet: &mut Outlet, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut nowhere = Outgoing::default();
    let mut wire = Wire::new(None, outlet, &mut nowhere);
    let mut interface = Interface::new(config, &mut wire, stack_instant(now));
    let address = IpAddress::from(local.ip());
    let length = if local.is_ipv4() { 32 } else { 128 };
    interface.update_ip_addrs(|addresses| {
        let taken = addresses.push(IpCidr::new(address, length));
        debug_assert_eq!(taken, Ok(()), "there is room for one address");
    });
    interface
}

fn stack_instant(now: Instant) -> StackInstant {
    StackInstant::from_micros((now.as_nanos() / 1000) as i64)
}
