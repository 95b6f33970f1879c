//! One client's datagram socket towards one device: UDP, or an unprivileged ping socket. It is connected, so that the
//! system tells it what the network says of its datagrams, and leaves with the client's hop limit. Read first: udp(7),
//! icmp(7), `error_queue`. Called by `datagrams` and `ping`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use router_core::packet::build::Notice;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_tos, set_ip_ttl,
    set_ipv6_mtu_discover, set_ipv6_tclass, set_ipv6_unicast_hops,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;

use super::error_queue::{self, Told};
use crate::host::config::sockets::Sources;

// Of the specifications.
const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;
const UDP_HEADER_BYTES: usize = 8;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

thread_local! {
    /// Thousands of sockets share it, each for the moment in which it takes a datagram.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice());
}

/// One of the two ways to look into an error queue.
pub(super) type TakeError = fn(&DeviceSocket, &mut dyn FnMut(Told<'_>)) -> bool;

/// How a packet travels, beside where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Hops it may take from here on.
    pub(super) hop_limit: u8,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    /// Whether nobody may fragment it on its way.
    pub(super) dont_fragment: bool,
}

/// A connected socket of datagrams.
pub(super) struct DeviceSocket {
    socket: UdpSocket,
    v4: bool,
    /// What the system puts before a payload.
    header_bytes: usize,
    /// The longest payload that was not to be fragmented.
    longest_whole: usize,
    /// Of the last datagram: options are set only where they change.
    manner: Option<Manner>,
}

impl DeviceSocket {
    /// For UDP to a device's port.
    ///
    /// # Errors
    /// What the system denies.
    pub(super) fn udp(device: SocketAddr, sources: &Sources) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(device), Type::DGRAM, Some(Protocol::UDP))?;
        Self::connected(socket, device, UDP_HEADER_BYTES, sources)
    }

    /// For pings to a device.
    ///
    /// # Errors
    /// What the system denies: a refused permission is a matter of the sysctl `net.ipv4.ping_group_range`.
    pub(super) fn ping(device: IpAddr, sources: &Sources) -> io::Result<Self> {
        let device = SocketAddr::new(device, 0);
        let protocol = if device.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let socket = Socket::new(Domain::for_address(device), Type::DGRAM, Some(protocol))?;
        Self::connected(socket, device, 0, sources)
    }

    fn connected(
        socket: Socket,
        device: SocketAddr,
        transport_header_bytes: usize,
        sources: &Sources,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        error_queue::enable(socket.as_fd(), device.is_ipv4())?;
        if let Some(source) = sources.towards(device.ip()) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(&device.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let ip_header_bytes = if device.is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES };
        Ok(Self {
            socket,
            v4: device.is_ipv4(),
            header_bytes: ip_header_bytes + transport_header_bytes,
            longest_whole: 0,
            manner: None,
        })
    }

    /// Returns when there is a datagram or an error to take.
    ///
    /// # Errors
    /// If the runtime ends.
    pub(super) async fn ready(&self) -> io::Result<Ready> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await
    }

    /// Hands the next datagram to `take`; `false` if none waits.
    ///
    /// # Errors
    /// What the network said of an earlier datagram, if the error queue has not said so already.
    pub(super) fn receive(&self, take: impl FnOnce(&[u8])) -> io::Result<bool> {
        ROOM.with_borrow_mut(|room| match self.socket.try_recv(room) {
            Ok(len) => {
                take(room.get(..len).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Hands the oldest error to `take`; `false` if none waits.
    pub(super) fn take_error(&self, take: &mut dyn FnMut(Told<'_>)) -> bool {
        ROOM.with_borrow_mut(|room| {
            let take_one = || error_queue::take(self.socket.as_fd(), room).map(take);
            self.socket.try_io(Interest::ERROR, take_one).is_ok()
        })
    }

    /// The same without regard to whether an error was announced: a send that fails may be faster than the news.
    pub(super) fn take_unannounced_error(&self, take: &mut dyn FnMut(Told<'_>)) -> bool {
        ROOM.with_borrow_mut(|room| error_queue::take(self.socket.as_fd(), room).map(take)).is_ok()
    }

    /// Sends a datagram; waits while the system has no room for it.
    ///
    /// # Errors
    /// What the system says of this datagram, or the network of an earlier one.
    pub(super) async fn send(&mut self, payload: &[u8], manner: Manner) -> io::Result<()> {
        self.set_manner(manner)?;
        if manner.dont_fragment {
            self.longest_whole = self.longest_whole.max(payload.len());
        }
        self.socket.send(payload).await.map(drop)
    }

    /// What an error is about, as far as it is known: `quoted`, and where it was too long, as long as it was. An error that
    /// gives a shorter packet's length as too long is not believed (RFC 5927).
    pub(super) fn about<'a>(&self, notice: Notice, quoted: &'a [u8]) -> Cow<'a, [u8]> {
        let Notice::TooBig { mtu_bytes } = notice else { return quoted.into() };
        let was_too_long = self.longest_whole + self.header_bytes > usize::from(mtu_bytes);
        if !was_too_long || quoted.len() >= self.longest_whole {
            return quoted.into();
        }
        let mut whole = quoted.to_vec();
        whole.resize(self.longest_whole, 0);
        whole.into()
    }

    fn set_manner(&mut self, manner: Manner) -> io::Result<()> {
        let old = self.manner.replace(manner);
        let changed = |of: fn(Manner) -> u8| old.map(of) != Some(of(manner));
        let (hops, class) = (manner.hop_limit.max(1), manner.traffic_class);
        if changed(|manner| manner.hop_limit) {
            match self.v4 {
                true => set_ip_ttl(&self.socket, hops.into())?,
                false => set_ipv6_unicast_hops(&self.socket, Some(hops))?,
            }
        }
        if changed(|manner| manner.traffic_class) {
            match self.v4 {
                true => set_ip_tos(&self.socket, class)?,
                false => set_ipv6_tclass(&self.socket, class.into())?,
            }
        }
        if changed(|manner| manner.dont_fragment.into()) {
            self.set_dont_fragment(manner.dont_fragment)?;
        }
        Ok(())
    }

    fn set_dont_fragment(&self, dont: bool) -> io::Result<()> {
        match (self.v4, dont) {
            (true, true) => set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::DO)?,
            (true, false) => set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::DONT)?,
            (false, true) => set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::DO)?,
            (false, false) => set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::WANT)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use router_core::packet::build::Unreachable;

    const PLAIN: Manner = Manner { hop_limit: 64, traffic_class: 0, dont_fragment: false };

    #[tokio::test]
    async fn the_largest_datagrams_pass_in_both_directions() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let device = UdpSocket::bind(any).await.unwrap();
            let mut socket = DeviceSocket::udp(device.local_addr().unwrap(), &Sources::default()).unwrap();
            let (payload, mut room) = (vec![7; 65_507], vec![0; 65_535]);
            socket.send(&payload, PLAIN).await.unwrap();
            let (len, from) = device.recv_from(&mut room).await.unwrap();
            assert!(room[..len] == payload);
            device.send_to(&payload, from).await.unwrap();
            socket.ready().await.unwrap();
            let mut taken = Vec::new();
            assert!(socket.receive(|payload| taken = payload.to_vec()).unwrap());
            assert!(taken == payload);
            assert!(!socket.receive(|_| ()).unwrap());
        }
    }

    #[tokio::test]
    async fn what_the_network_says_wakes_and_is_told_once() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let closed = UdpSocket::bind(any).await.unwrap().local_addr().unwrap();
            let mut socket = DeviceSocket::udp(closed, &Sources::default()).unwrap();
            socket.send(b"question", PLAIN).await.unwrap();
            assert!(socket.ready().await.unwrap().is_error());
            let mut told = Vec::new();
            let mut note = |news: Told<'_>| told.push((news.notice, news.quoted.to_vec()));
            assert!(socket.take_error(&mut note));
            assert!(!socket.take_error(&mut note) && !socket.take_unannounced_error(&mut note));
            assert_eq!(told, [(Some(Notice::Unreachable(Unreachable::Port)), b"question".to_vec())]);
            // Nothing is left of it that a further datagram would suffer from.
            socket.send(b"question", PLAIN).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_too_long_is_told_as_long_as_it_was() {
        let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut socket = DeviceSocket::udp(device.local_addr().unwrap(), &Sources::default()).unwrap();
        for (dont_fragment, mtu_bytes, told) in [(false, 1280, 4), (true, 1280, 1400), (true, 1428, 4)] {
            socket.send(&[7; 1400], Manner { dont_fragment, ..PLAIN }).await.unwrap();
            let about = socket.about(Notice::TooBig { mtu_bytes }, &[7; 4]);
            assert_eq!((about.len(), &about[..4]), (told, &[7; 4][..]), "{mtu_bytes}");
        }
        let other = socket.about(Notice::Unreachable(Unreachable::Port), &[7; 4]);
        assert_eq!(*other, [7; 4]);
    }

    #[tokio::test]
    async fn a_datagram_leaves_in_the_manner_of_its_client() {
        let device = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut socket = DeviceSocket::udp(device.local_addr().unwrap(), &Sources::default()).unwrap();
        for (hop_limit, traffic_class, dont_fragment) in [(3, 0, true), (3, 0xb8, true), (64, 0xb8, false)] {
            socket.send(b"x", Manner { hop_limit, traffic_class, dont_fragment }).await.unwrap();
            let discovery = match dont_fragment {
                true => Ipv4PathMtuDiscovery::DO,
                false => Ipv4PathMtuDiscovery::DONT,
            };
            use rustix::net::sockopt::{ip_mtu_discover, ip_tos, ip_ttl};
            assert_eq!(ip_ttl(&socket.socket).unwrap(), u32::from(hop_limit));
            assert_eq!(ip_tos(&socket.socket).unwrap(), traffic_class);
            assert_eq!(ip_mtu_discover(&socket.socket).unwrap(), discovery);
        }
    }
}
