//! Changes of the TUN that others make: its MTU, its end. Read first: rtnetlink(7) RTMGRP_LINK.
//! Called by worker; the first worker watches for all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::{Failure, Worker};
use crate::tun::mtu_of;

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

impl Worker {
    /// The interface's MTU may have changed, or the interface may be gone.
    pub(super) fn follow_link(&mut self) -> Result<(), Failure> {
        let (Some(link), Some(queue)) = (&self.link, &self.tun) else { return Ok(()) };
        link.drain();
        let name = queue.name().map_err(|error| self.tun_failure(&error))?;
        let mtu_bytes = mtu_of(&name).map_err(|error| self.tun_failure(&error))?;
        if mtu_bytes != self.tun_mtu_bytes {
            tracing::info!(interface = %name, mtu_bytes, "MTU changed");
            self.tun_mtu_bytes = mtu_bytes;
            if self.shared.follow_mtu {
                self.shared.mtu_bytes.store(mtu_bytes, Ordering::Relaxed);
                self.shared.lock_anyway().device_mut().set_mtu_bytes(mtu_bytes);
            }
        }
        Ok(())
    }

    pub(super) fn tun_failure(&self, error: &io::Error) -> Failure {
        let name = self.shared.tun.map_or_else(String::new, |name| name.to_string());
        Failure::TunGone(format!("{name} ({error})"))
    }
}
