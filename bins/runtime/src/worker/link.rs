//! Changes of the TUN that others make: its MTU, its end. Read first: rtnetlink(7) RTMGRP_LINK.
//! Called by worker; the first worker watches for all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// `RTMGRP_LINK`.
const LINK_GROUP: u32 = 1;

/// A subscription to changes of interfaces in this namespace.
pub(super) struct LinkWatch(OwnedFd);

impl LinkWatch {
    pub(super) fn open() -> io::Result<LinkWatch> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Protocol 0 of this family is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
        Ok(LinkWatch(socket))
    }

    /// Throws the messages away: what matters is read from the interface itself, which also makes an
    /// overflow of this socket harmless.
    pub(super) fn drain(&self) {
        let mut buffer = [0; 8192];
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|bytes| bytes > 0) {}
    }
}

impl AsFd for LinkWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
