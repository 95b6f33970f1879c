//! One queue of a TUN interface: one packet in, one packet out, each behind its virtio header.
//! Read first: tuntap in the kernel's documentation, virtio. Called by worker.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ioctl;
use super::name::InterfaceName;
use super::virtio::{VIRTIO_HEADER_BYTES, VirtioHeader};

/// The largest packet a queue hands over: a super-packet's IP length is a 16-bit field.
pub const PACKET_BYTES_MAX: usize = 65_535;

/// A queue: a worker owns exactly one.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
    virtio: bool,
}

/// A packet as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunRead {
    /// What the kernel left for us to do.
    pub header: VirtioHeader,
    /// Bytes of the IP packet.
    pub len: usize,
}

impl TunQueue {
    pub(super) fn new(fd: OwnedFd, virtio: bool) -> TunQueue {
        TunQueue { fd, virtio }
    }

    /// Reads one packet into `packet`; `None` when nothing waits. `packet` has room for
    /// [`PACKET_BYTES_MAX`], or the rest of the packet is lost.
    pub fn read(&self, packet: &mut [u8]) -> io::Result<Option<TunRead>> {
        let mut header = [0; VIRTIO_HEADER_BYTES];
        let result = if self.virtio {
            rustix::io::readv(&self.fd, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(packet)])
                .map(|n| n.saturating_sub(VIRTIO_HEADER_BYTES))
        } else {
            rustix::io::read(&self.fd, packet)
        };
        match result {
            Ok(len) => Ok(Some(TunRead { header: decode(&header)?, len })),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one packet. `parts[0]` is its encoded [`VirtioHeader`], the packet lies in the other parts.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let parts = if self.virtio { parts } else { parts.get(1..).unwrap_or_default() };
        rustix::io::writev(&self.fd, parts)?;
        Ok(())
    }

    /// The interface's name now: somebody may have changed it. `EBADFD` when the interface is gone.
    pub fn name(&self) -> io::Result<InterfaceName> {
        Ok(ioctl::interface(self.fd.as_fd())?.0)
    }

    /// Whether packets carry a virtio header; without one there are no offloads.
    pub fn has_virtio(&self) -> bool {
        self.virtio
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn decode(header: &[u8; VIRTIO_HEADER_BYTES]) -> io::Result<VirtioHeader> {
    VirtioHeader::decode(header).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
