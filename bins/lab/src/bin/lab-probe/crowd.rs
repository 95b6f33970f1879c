//! Many WireGuard peers in one process, each with a key, a socket, and addresses of its own.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wg_proto::{
    Decapsulated, Device, DeviceConfig, Encapsulated, MessageKind, PeerConfig, PeerIndex, PrivateKey,
    PublicKey, QueueLoad, UnixTime, classify,
};

use crate::craft;

/// Bounds of a crowd: its members' sockets, and its addresses.
const MEMBERS_MAX: u32 = 4096;
const NUMBER_MAX: u32 = 65_535;
const SECONDS_MAX: u32 = 120;
/// How fast members join: a steady crowd, not a flood.
const JOIN_PER_SECOND: f64 = 500.0;
/// An unanswered ping is repeated.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
const TURN_INTERVAL: Duration = Duration::from_millis(1);
const OUTSIDE_PORT: u16 = 51820;
/// Before the first member's addresses: 198.18.0.0 and 10.64.0.0.
const OUTSIDE: u32 = 0xc612_0000;
const INSIDE: u32 = 0x0a40_0000;

struct Member {
    device: Device,
    hub: PeerIndex,
    socket: UdpSocket,
    question: Vec<u8>,
    asked: Option<Duration>,
    answered: bool,
}

/// What all members share at one moment.
struct Moment {
    elapsed: Duration,
    now: wg_proto::Instant,
    unix: UnixTime,
    hub: SocketAddr,
}

/// Configuration for the far end.
pub(crate) fn peers(first: u32, count: u32) -> Result<String> {
    let mut text = String::new();
    for number in numbers(first, count)? {
        let (key, inside) = (key(number).public_key(), address(INSIDE, number));
        write!(text, "[Peer]\nPublicKey = {key}\nAllowedIPs = {inside}/32\n")?;
    }
    Ok(text)
}

/// Lets the members in one after the other until all have an answer from `gateway` or the time is over.
pub(crate) fn run(
    hub: SocketAddr,
    key: &str,
    gateway: Ipv4Addr,
    first: u32,
    count: u32,
    seconds: u32,
) -> Result<String> {
    ensure!(
        count <= MEMBERS_MAX && seconds <= SECONDS_MAX,
        "at most {MEMBERS_MAX} for {SECONDS_MAX} seconds"
    );
    allow_sockets()?;
    let key: PublicKey = key.parse()?;
    let mut members: Vec<Member> = numbers(first, count)?
        .map(|number| Member::new(number, hub, key, gateway).with_context(|| format!("member {number}")))
        .collect::<Result<_>>()?;
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds.into()));
    while started.elapsed() < limit && !members.iter().all(|member| member.answered) {
        let moment = Moment::new(started, hub)?;
        let joined = (moment.elapsed.as_secs_f64() * JOIN_PER_SECOND) as usize + 1;
        members.iter_mut().take(joined).try_for_each(|member| member.turn(&moment))?;
        sleep(TURN_INTERVAL);
    }
    let now = Moment::new(started, hub)?.now;
    let sessions = members.iter().filter(|member| member.has_session(now)).count();
    let answered = members.iter().filter(|member| member.answered).count();
    Ok(format!("{{\"sessions\":{sessions},\"answered\":{answered}}}"))
}

impl Member {
    fn new(number: u32, endpoint: SocketAddr, hub: PublicKey, gateway: Ipv4Addr) -> Result<Member> {
        let config = DeviceConfig { private_key: Some(key(number)), mtu_bytes: 1420 };
        let mut seed = [0x5e; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let mut device = Device::new(config, seed);
        let mut peer = PeerConfig::new(hub);
        peer.endpoint = Some(endpoint.into());
        peer.allowed_ips.push(format!("{gateway}/32").parse()?);
        let hub = device.add_peer(wg_proto::Instant::from_nanos(0), peer)?;
        let socket = UdpSocket::bind((address(OUTSIDE, number), OUTSIDE_PORT))?;
        socket.set_nonblocking(true)?;
        socket.connect(endpoint)?;
        let inside = IpAddr::V4(address(INSIDE, number));
        let question = craft::packet("echo-request", inside, IpAddr::V4(gateway), number as u16)?;
        Ok(Member { device, hub, socket, question, asked: None, answered: false })
    }

    fn has_session(&self, now: wg_proto::Instant) -> bool {
        self.device.peer(self.hub).is_some_and(|hub| hub.has_session(now))
    }

    /// Reads what came, asks if that is due, sends what the device wants sent.
    fn turn(&mut self, moment: &Moment) -> Result<()> {
        let mut buffer = [0; 2048];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.receive(moment, &mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What the network said of an earlier datagram; it is sent again when its time comes.
                Err(_) => {}
            }
        }
        self.device.handle_timeout(moment.now);
        if !self.answered && self.asked.is_none_or(|asked| moment.elapsed >= asked + ASK_INTERVAL) {
            self.asked = Some(moment.elapsed);
            let asked = self.device.encapsulate(moment.now, self.hub, &self.question, 1420, &mut buffer)?;
            if let Encapsulated::Sent(sent) = asked {
                self.send(&buffer[..sent.len]);
            }
        }
        while let Some(sent) = self.device.poll_transmit(moment.now, moment.unix, &mut buffer) {
            self.send(&buffer[..sent.len]);
        }
        while self.device.poll_event().is_some() {}
        Ok(())
    }

    /// A datagram that the kernel refuses counts as lost.
    fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram);
    }

    /// What is refused is not for us; the device counts it.
    fn receive(&mut self, moment: &Moment, datagram: &mut [u8]) {
        let (now, unix, from) = (moment.now, moment.unix, moment.hub.into());
        if !matches!(classify(datagram), Ok(MessageKind::Transport { .. })) {
            let _ = self.device.handle_control(now, unix, from, datagram, QueueLoad::IDLE);
            return;
        }
        if let Ok(Decapsulated::Packet { range, .. }) = self.device.decapsulate(now, unix, from, datagram) {
            self.answered |= answers(&datagram[range], &self.question);
        }
    }
}

impl Moment {
    fn new(started: Instant, hub: SocketAddr) -> Result<Moment> {
        let (elapsed, since) = (started.elapsed(), SystemTime::now().duration_since(UNIX_EPOCH)?);
        let now = wg_proto::Instant::from_nanos(elapsed.as_nanos() as u64);
        Ok(Moment { elapsed, now, unix: UnixTime::new(since.as_secs(), since.subsec_nanos()), hub })
    }
}

/// An echo reply from where the question went to where it came from, with its identifier.
fn answers(packet: &[u8], question: &[u8]) -> bool {
    packet.len() == question.len()
        && packet[12..16] == question[16..20]
        && packet[16..20] == question[12..16]
        && packet[20] == 0
        && packet[24..26] == question[24..26]
}

fn numbers(first: u32, count: u32) -> Result<std::ops::Range<u32>> {
    let end = first.checked_add(count).filter(|end| *end <= NUMBER_MAX);
    Ok(first..end.with_context(|| format!("no member has a number above {NUMBER_MAX}"))?)
}

fn key(number: u32) -> PrivateKey {
    let mut bytes = [0x77; 32];
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    PrivateKey::from_bytes(bytes)
}

fn address(base: u32, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(base + number + 1)
}

/// One socket each is more than most shells allow at first.
pub(crate) fn allow_sockets() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
