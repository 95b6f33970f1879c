//! `setsockopt`, `recvmmsg`, `sendmmsg`: the whole of this crate's unsafe code for UDP.
//! Read first: recvmmsg(2), sendmmsg(2). Called by udp::socket, udp::receive, udp::send.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::ControlBuffer;

/// Messages in one system call.
pub(super) const MESSAGES_MAX: usize = 64;

/// Sets an `int` option.
pub(super) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What came with one received message. Its bytes are in the chunk of the same position.
#[derive(Clone, Copy)]
pub(super) struct Incoming {
    pub(super) name: Name,
    pub(super) control: ControlBuffer,
    /// Bytes received.
    pub(super) len: usize,
    /// The datagram did not fit.
    pub(super) truncated: bool,
}

/// One message to send: a range of the arena and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) name: Name,
    pub(super) control: ControlBuffer,
}

/// Room for a socket address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    pub(super) fn empty() -> Name {
        // SAFETY: socket addresses are plain data, for which all zeroes is a valid value.
        unsafe { std::mem::zeroed() }
    }

    pub(super) fn new(addr: SocketAddr) -> Name {
        let mut name = Name::empty();
        match addr {
            SocketAddr::V4(addr) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.ip().octets()) },
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V6(addr) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                    sin6_scope_id: addr.scope_id(),
                };
            }
        }
        name
    }

    pub(super) fn to_address(self) -> Option<SocketAddr> {
        // SAFETY: every member of the union begins with the family and any bit pattern is a valid integer.
        let family = unsafe { self.family };
        match i32::from(family) {
            libc::AF_INET => {
                // SAFETY: the union is as large as its largest member and was zeroed or filled by the
                // kernel; `sockaddr_in` is plain data.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: as above; `sockaddr_in6` is plain data.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)))
            }
            _ => None,
        }
    }

    fn len(&self) -> libc::socklen_t {
        // SAFETY: every member of the union begins with the family and any bit pattern is a valid integer.
        let bytes = match i32::from(unsafe { self.family }) {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            _ => size_of::<libc::sockaddr_in6>(),
        };
        bytes as libc::socklen_t
    }
}

/// Receives what waits without blocking: one datagram (or GRO run) per entry of `messages`, each into its
/// chunk of `storage`. Returns how many.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    storage: &mut [u8],
    chunk_bytes: usize,
    messages: &mut [Incoming],
) -> io::Result<usize> {
    let mut vectors = [EMPTY_VECTOR; MESSAGES_MAX];
    let mut headers = [empty_header(); MESSAGES_MAX];
    let mut count = 0;
    let entries = messages.iter_mut().zip(storage.chunks_exact_mut(chunk_bytes));
    for ((message, buffer), (vector, header)) in entries.zip(vectors.iter_mut().zip(&mut headers)) {
        vector.iov_base = buffer.as_mut_ptr().cast();
        vector.iov_len = buffer.len();
        let control = message.control.room();
        header.msg_hdr.msg_name = (&raw mut message.name).cast();
        header.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = control.len() as _;
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers point to a name, one vector over an exclusively borrowed chunk and
    // a control buffer each, all with their true lengths, and all of them outlive the call.
    let result = unsafe {
        libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, std::ptr::null_mut())
    };
    let received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    for (message, header) in messages.iter_mut().zip(&headers).take(received) {
        message.len = header.msg_len as usize;
        message.truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        message.control.set_len(header.msg_hdr.msg_controllen);
    }
    Ok(received)
}

/// Sends without blocking. Returns how many messages left; an error means the first one did not.
pub(super) fn send(fd: BorrowedFd<'_>, arena: &[u8], messages: &[Outgoing]) -> io::Result<usize> {
    let mut vectors = [EMPTY_VECTOR; MESSAGES_MAX];
    let mut headers = [empty_header(); MESSAGES_MAX];
    let mut count = 0;
    for (message, (vector, header)) in messages.iter().zip(vectors.iter_mut().zip(&mut headers)) {
        let bytes = &arena[message.start..message.start + message.len];
        vector.iov_base = bytes.as_ptr().cast_mut().cast();
        vector.iov_len = bytes.len();
        let control = message.control.as_bytes();
        header.msg_hdr.msg_name = (&raw const message.name).cast_mut().cast();
        header.msg_hdr.msg_namelen = message.name.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        if !control.is_empty() {
            header.msg_hdr.msg_control = control.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_controllen = control.len() as _;
        }
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers point to a name, one vector over a borrowed range of the arena and
    // a control buffer each, all with their true lengths; sendmmsg only reads through them, and they
    // outlive the call.
    let result = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

const EMPTY_VECTOR: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain data, for which all zeroes (null pointers, zero lengths) is a valid value.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_socket_form() {
        for text in ["192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%3]:65535"] {
            let addr: SocketAddr = text.parse().expect("address");
            assert_eq!(Name::new(addr).to_address(), Some(addr));
        }
        assert_eq!(Name::empty().to_address(), None);
    }
}
