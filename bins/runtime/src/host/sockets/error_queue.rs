//! `recvmsg` with `MSG_ERRQUEUE`: what the network said of datagrams we sent. Here is all unsafe code of this way out.
//! Read first: ip(7) on IP_RECVERR, ipv6(7) on IPV6_RECVERR, cmsg(3). Called by `device_socket` and `dial`.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use router_core::packet::build::Notice;

use super::reactions;

/// An error and the start of the datagram it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    /// What is the matter; `None` if it does not concern the client.
    pub(super) notice: Option<Notice>,
    /// Who says so; `None` if our own system does.
    pub(super) offender: Option<IpAddr>,
    /// As much of what we sent as came back, without its IP and UDP headers.
    pub(super) quoted: &'a [u8],
}

/// Room for the control messages of one error: one option, which holds an extended error and the address of who sent it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);
const CONTROL_BYTES: usize = 512;

/// Has errors put into the socket's queue from now on.
///
/// # Errors
/// What the system says.
pub(super) fn enable(fd: BorrowedFd<'_>, v4: bool) -> io::Result<()> {
    match v4 {
        true => switch_on(fd, libc::IPPROTO_IP, libc::IP_RECVERR),
        false => switch_on(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    }
}

/// Has a socket that is bound to an address take its port only when it connects: one port serves many devices.
///
/// # Errors
/// What the system says.
pub(super) fn share_ports(fd: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)
}

fn switch_on(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and length describe `on`, which outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const on).cast(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the oldest error out of the queue, with what is quoted written to the start of `buffer`.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if there is none.
pub(super) fn take<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<Told<'a>> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain data, for which all zeroes (null pointers, zero lengths) is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = CONTROL_BYTES as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to one vector over an exclusively borrowed buffer and to a control buffer, both with
    // their true lengths, and both outlive the call.
    let received = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled the header's control buffer, `control`, which is still there, and its length.
    let (notice, offender) = unsafe { extended_error(&header) }.unwrap_or((None, None));
    Ok(Told { notice, offender, quoted: buffer.get(..received).unwrap_or_default() })
}

/// # Safety
/// `header` describes control messages as the kernel writes them, in memory that is there.
unsafe fn extended_error(header: &libc::msghdr) -> Option<(Option<Notice>, Option<IpAddr>)> {
    // SAFETY: promised by the caller.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points to a whole control message header inside the buffer.
        let head = unsafe { *message };
        let is_v4 = (head.cmsg_level, head.cmsg_type) == (libc::IPPROTO_IP, libc::IP_RECVERR);
        let is_v6 = (head.cmsg_level, head.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
        let (error_bytes, address_bytes) =
            (size_of::<libc::sock_extended_err>(), if is_v4 { V4_BYTES } else { V6_BYTES });
        // SAFETY: computes a length only.
        let need = unsafe { libc::CMSG_LEN((error_bytes + address_bytes) as u32) } as usize;
        if (is_v4 || is_v6) && head.cmsg_len as usize >= need {
            // SAFETY: the message is long enough for an extended error and a socket address behind it; both are plain
            // data, read without regard to alignment.
            return Some(unsafe { decode(libc::CMSG_DATA(message), is_v4) });
        }
        // SAFETY: as for the first one.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
const V6_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// # Safety
/// `data` points to an extended error with a socket address of the version behind it.
unsafe fn decode(data: *const u8, is_v4: bool) -> (Option<Notice>, Option<IpAddr>) {
    // SAFETY: promised by the caller.
    let error: libc::sock_extended_err = unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
    // SAFETY: the address lies right behind the error (SO_EE_OFFENDER).
    let offender = unsafe { offender(data.add(size_of::<libc::sock_extended_err>()), is_v4) };
    let (kind, code, info) = (error.ee_type, error.ee_code, error.ee_info);
    let notice = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => reactions::of_icmp_v4(kind, code, info),
        libc::SO_EE_ORIGIN_ICMP6 => reactions::of_icmp_v6(kind, code, info),
        libc::SO_EE_ORIGIN_LOCAL => {
            return (reactions::of_local(i32::try_from(error.ee_errno).unwrap_or(0), info), None);
        }
        _ => None,
    };
    (notice, offender)
}

/// # Safety
/// `address` points to a socket address of the version.
unsafe fn offender(address: *const u8, is_v4: bool) -> Option<IpAddr> {
    if is_v4 {
        // SAFETY: promised by the caller; plain data.
        let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
        let is_there = i32::from(v4.sin_family) == libc::AF_INET;
        return is_there.then(|| Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into());
    }
    // SAFETY: promised by the caller; plain data.
    let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
    let is_there = i32::from(v6.sin6_family) == libc::AF_INET6;
    is_there.then(|| Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use router_core::packet::build::Unreachable;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_closed_port_is_told_with_who_says_so_and_what_was_sent() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let closed = UdpSocket::bind(any).unwrap().local_addr().unwrap();
            let socket = UdpSocket::bind(any).unwrap();
            enable(socket.as_fd(), closed.is_ipv4()).unwrap();
            socket.connect(closed).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut buffer = [0; 64];
            assert_eq!(take(socket.as_fd(), &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            socket.send(b"question").unwrap();
            assert!(socket.recv(&mut buffer).is_err());
            let told = take(socket.as_fd(), &mut buffer).unwrap();
            assert_eq!(told.notice, Some(Notice::Unreachable(Unreachable::Port)));
            assert_eq!((told.offender, told.quoted), (Some(closed.ip()), &b"question"[..]));
            assert!(take(socket.as_fd(), &mut buffer).is_err());
        }
    }
}
