//! The UDP sockets of a node: one pair (IPv4, IPv6) per worker, all on one port.
//! Read first: socket(7) SO_REUSEPORT, ip(7), ipv6(7), udp(7). Called by worker and the runtime.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::sys::set_option;

// Our own choices.
/// Bytes of datagrams that may wait in each direction: some milliseconds at 10 Gbit/s.
const SOCKET_BUFFER_BYTES: usize = 7 << 20;
/// How often both families are tried on a port that the kernel chose for one of them.
const PORT_ATTEMPTS: usize = 100;

/// How to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The port; 0 lets the kernel choose.
    pub(crate) port: u16,
    /// `SO_MARK` on everything sent; 0 is none.
    pub(crate) fwmark: u32,
    /// Pairs of sockets to open.
    pub(crate) workers: usize,
    /// False turns UDP GRO off.
    pub(crate) offload: bool,
}

/// One worker's sockets. At least one family is there.
#[derive(Debug)]
pub(crate) struct SocketPair {
    v4: Option<Socket>,
    v6: Option<Socket>,
}

/// All workers' sockets and the port they share.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) port: u16,
    pub(crate) pairs: Vec<SocketPair>,
}

/// Binds all workers' sockets. A machine without IPv6 (or IPv4) gets the other family alone.
pub(crate) fn bind(binding: &Binding) -> io::Result<Bound> {
    let attempts = if binding.port == 0 { PORT_ATTEMPTS } else { 1 };
    let mut result = bind_once(binding);
    for _ in 1..attempts {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => result = bind_once(binding),
            _ => break,
        }
    }
    result
}

fn bind_once(binding: &Binding) -> io::Result<Bound> {
    let mut port = binding.port;
    let v4 = optional(bind_family(Domain::IPV4, &mut port, binding))?;
    let v6 = optional(bind_family(Domain::IPV6, &mut port, binding))?;
    if v4.is_none() && v6.is_none() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut v4 = v4.unwrap_or_default().into_iter();
    let mut v6 = v6.unwrap_or_default().into_iter();
    let pairs = (0..binding.workers).map(|_| SocketPair { v4: v4.next(), v6: v6.next() }).collect();
    Ok(Bound { port, pairs })
}

/// A family the machine does not have is no error.
fn optional(result: io::Result<Vec<Socket>>) -> io::Result<Option<Vec<Socket>>> {
    match result {
        Ok(sockets) => Ok(Some(sockets)),
        Err(error) if family_is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn family_is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// The first socket is bound alone, so that another program's use of the port is noticed; only then may
/// the other workers' sockets share it.
fn bind_family(domain: Domain, port: &mut u16, binding: &Binding) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::with_capacity(binding.workers);
    for worker in 0..binding.workers {
        let socket = open(domain, binding)?;
        if worker > 0 {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&any(domain, *port).into())?;
        if worker == 0 {
            socket.set_reuse_port(true)?;
            *port = bound_port(&socket)?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

fn any(domain: Domain, port: u16) -> SocketAddr {
    let ip = if domain == Domain::IPV4 {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    SocketAddr::new(ip, port)
}

fn bound_port(socket: &Socket) -> io::Result<u16> {
    let addr = socket.local_addr()?.as_socket();
    addr.map(|addr| addr.port()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn open(domain: Domain, binding: &Binding) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    set_buffers(&socket)?;
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    if domain == Domain::IPV4 {
        configure_v4(socket.as_fd())?
    } else {
        configure_v6(socket.as_fd())?
    };
    if binding.fwmark != 0 {
        socket.set_mark(binding.fwmark)?;
    }
    if binding.offload {
        enable_gro(socket.as_fd());
    }
    Ok(socket)
}

/// Beyond the system's limit when privileged, else up to it.
fn set_buffers(socket: &Socket) -> io::Result<()> {
    let bytes = SOCKET_BUFFER_BYTES as i32;
    if set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    if set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    Ok(())
}

/// Path MTU discovery is off, as in the kernel's WireGuard and wireguard-go: no DF on the outside, so a
/// narrow path fragments a datagram instead of swallowing it.
fn configure_v4(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    set_option(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
    set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
}

fn configure_v6(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
}

fn enable_gro(fd: BorrowedFd<'_>) {
    if let Err(error) = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1) {
        tracing::info!(%error, "the kernel has no UDP GRO; datagrams are received one by one");
    }
}

impl SocketPair {
    /// The socket that reaches this address, if the machine has that family.
    pub(crate) fn towards(&self, addr: IpAddr) -> Option<BorrowedFd<'_>> {
        let socket = if addr.is_ipv4() { &self.v4 } else { &self.v6 };
        socket.as_ref().map(Socket::as_fd)
    }

    /// Both sockets, IPv4 first.
    pub(crate) fn each(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.v4.as_ref().map(Socket::as_fd), self.v6.as_ref().map(Socket::as_fd)]
    }

    /// Changes `SO_MARK`; 0 takes it away.
    pub(crate) fn set_mark(&self, fwmark: u32) -> io::Result<()> {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            socket.set_mark(fwmark)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(port: u16, workers: usize) -> Binding {
        Binding { port, fwmark: 0, workers, offload: true }
    }

    #[test]
    fn all_workers_of_both_families_share_one_port() {
        let bound = bind(&binding(0, 3)).expect("bind");
        assert_ne!(bound.port, 0);
        assert_eq!(bound.pairs.len(), 3);
        for pair in &bound.pairs {
            for socket in [&pair.v4, &pair.v6].into_iter().flatten() {
                assert_eq!(bound_port(socket).expect("port"), bound.port);
            }
        }
    }

    #[test]
    fn a_port_in_use_is_refused_even_to_ourselves() {
        let bound = bind(&binding(0, 2)).expect("bind");
        let error = bind(&binding(bound.port, 2)).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_missing_family_is_told_from_a_taken_port() {
        for (errno, missing) in [(libc::EAFNOSUPPORT, true), (libc::EADDRINUSE, false), (libc::EACCES, false)]
        {
            assert_eq!(family_is_missing(&io::Error::from_raw_os_error(errno)), missing);
        }
    }
}
