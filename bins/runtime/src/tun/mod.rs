//! TUN interfaces: create or attach, several queues, offloads. Read first: tuntap in the kernel's
//! documentation, `linux/if_tun.h`. Called by the binaries (which open one) and worker (which owns queues).

mod ioctl;
mod name;
mod queue;
mod virtio;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

pub use self::name::{BadInterfaceName, InterfaceName};
pub use self::queue::{PACKET_BYTES_MAX, TunQueue, TunRead};
pub use self::virtio::{
    Gso, PartialChecksum, Segmentation, UnknownSegmentation, VIRTIO_HEADER_BYTES, VirtioHeader,
};
use crate::net::{HostNetwork, LinkChange, LinkIndex, index_of};

// Linux ABI, `linux/if_tun.h`: what we are able to take over from the kernel.
const TUN_F_CSUM: u32 = 0x01;
const TUN_F_TSO4: u32 = 0x02;
const TUN_F_TSO6: u32 = 0x04;
const TUN_F_TSO_ECN: u32 = 0x08;
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

// Our own choices.
/// Packets that may wait per queue. The kernel's own WireGuard uses 1000; TUN's default of 500 drops
/// under a burst of several streams.
const QUEUE_PACKETS: u32 = 1000;
/// An interface nobody configured: an outer path of 1500 bytes less IPv6, UDP and WireGuard headers.
pub const DEFAULT_MTU_BYTES: u16 = 1420;

/// How to open a TUN.
#[derive(Clone, Debug)]
pub struct TunConfig {
    /// The interface's name; attaches to a persistent interface of this name if there is one.
    pub name: InterfaceName,
    /// Queues to open, one per worker. At least 1.
    pub queues: u16,
    /// MTU to set; `None` leaves an existing interface's MTU and gives a new one [`DEFAULT_MTU_BYTES`].
    pub mtu_bytes: Option<u16>,
    /// False forces TSO, USO and checksum offload off.
    pub offload: bool,
}

/// Why a TUN could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// `/dev/net/tun` is missing or not ours to open.
    #[error("cannot open /dev/net/tun: {0}")]
    NoDevice(#[source] io::Error),
    /// The kernel refused the interface: no privilege, taken, or of another kind.
    #[error("cannot create or attach to interface {name}: {source}")]
    Refused {
        /// The interface asked for.
        name: InterfaceName,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The interface is there but could not be configured.
    #[error("cannot configure interface {name}: {source}")]
    Configure {
        /// The interface.
        name: InterfaceName,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// What the kernel leaves for us to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunOffloads {
    /// TCP segmentation and checksums, both directions.
    pub tcp: bool,
    /// UDP segmentation, both directions. Kernels since 6.2.
    pub udp: bool,
}

/// An open interface, not yet handed to workers.
#[derive(Debug)]
pub struct Tun {
    name: InterfaceName,
    index: LinkIndex,
    offloads: TunOffloads,
    queues: Vec<TunQueue>,
}

impl Tun {
    /// Creates the interface, or attaches to it, and configures queues, offloads and MTU.
    pub fn open(config: &TunConfig) -> Result<Tun, TunError> {
        let (first, name, flags) = open_first(&config.name)?;
        let mut descriptors = vec![first];
        if flags == ioctl::QUEUE_FLAGS {
            for _ in 1..config.queues {
                descriptors.push(open_queue(&name, flags)?.0);
            }
        }
        Tun::from_queues(name, descriptors, true, config)
            .map_err(|source| TunError::Configure { name, source })
    }

    /// Takes over a queue that another process opened and configured as it liked. Without a virtio header
    /// on it there are no offloads.
    pub fn from_descriptor(fd: OwnedFd, config: &TunConfig) -> Result<Tun, TunError> {
        let (name, flags) =
            ioctl::interface(fd.as_fd()).map_err(|source| TunError::Refused { name: config.name, source })?;
        let virtio = i32::from(flags) & libc::IFF_VNET_HDR != 0;
        set_nonblocking(&fd)
            .and_then(|()| Tun::from_queues(name, vec![fd], virtio, config))
            .map_err(|source| TunError::Configure { name, source })
    }

    fn from_queues(
        name: InterfaceName,
        descriptors: Vec<OwnedFd>,
        virtio: bool,
        config: &TunConfig,
    ) -> io::Result<Tun> {
        let index = index_of(&name)?;
        let mut offloads = TunOffloads::default();
        for fd in &descriptors {
            offloads = negotiate(fd, virtio && config.offload);
        }
        let queues = descriptors.into_iter().map(|fd| TunQueue::new(fd, virtio)).collect();
        let tun = Tun { name, index, offloads, queues };
        tun.configure(config.mtu_bytes)?;
        Ok(tun)
    }

    /// The interface's name.
    pub fn name(&self) -> InterfaceName {
        self.name
    }

    /// The interface's number.
    pub fn index(&self) -> LinkIndex {
        self.index
    }

    /// The offloads the kernel agreed to.
    pub fn offloads(&self) -> TunOffloads {
        self.offloads
    }

    /// Queues opened.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// The queues, one for each worker.
    pub(crate) fn into_queues(self) -> Vec<TunQueue> {
        self.queues
    }

    /// The kernel's limit of segments per super-packet (`gso_max_segs`) stays as it is, although the longest super-packets
    /// need two UDP sends: a forwarded super-packet above an interface's limit is not cut to fit but into single packets.
    fn configure(&self, mtu_bytes: Option<u16>) -> io::Result<()> {
        let mut network = HostNetwork::open()?;
        let current = mtu_of(&self.name)?;
        let fresh = if current == 1500 { DEFAULT_MTU_BYTES } else { current };
        let mtu = mtu_bytes.unwrap_or(fresh);
        let change =
            LinkChange { mtu_bytes: Some(mtu), queue_packets: Some(QUEUE_PACKETS), ..LinkChange::default() };
        network.change_link(self.index, change)
    }
}

/// The MTU of an interface. `ENODEV` when it is gone.
pub fn mtu_of(name: &InterfaceName) -> io::Result<u16> {
    Ok(u16::try_from(ioctl::mtu(name)?).unwrap_or(u16::MAX))
}

/// A persistent interface that somebody made with a single queue refuses `IFF_MULTI_QUEUE` and gets one queue.
fn open_first(name: &InterfaceName) -> Result<(OwnedFd, InterfaceName, i16), TunError> {
    let single = ioctl::QUEUE_FLAGS & !(libc::IFF_MULTI_QUEUE as i16);
    match open_queue(name, ioctl::QUEUE_FLAGS) {
        Err(TunError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            open_queue(name, single).map(|(fd, name)| (fd, name, single))
        }
        other => other.map(|(fd, name)| (fd, name, ioctl::QUEUE_FLAGS)),
    }
}

/// Creating is tun-rs's job. What it does with offloads does not matter: [`negotiate`] has the last word.
fn open_queue(name: &InterfaceName, flags: i16) -> Result<(OwnedFd, InterfaceName), TunError> {
    File::options().read(true).write(true).open("/dev/net/tun").map_err(TunError::NoDevice)?;
    let refused = |source| TunError::Refused { name: *name, source };
    let has = |flag| i32::from(flags) & flag != 0;
    let device = tun_rs::DeviceBuilder::new()
        .name(name.to_string())
        .offload(has(libc::IFF_VNET_HDR))
        .multi_queue(has(libc::IFF_MULTI_QUEUE))
        .inherit_enable_state()
        .build_sync()
        .map_err(refused)?;
    let fd = ioctl::into_descriptor(device);
    let (name, _) = ioctl::interface(fd.as_fd()).map_err(refused)?;
    set_nonblocking(&fd).map_err(refused)?;
    Ok((fd, name))
}

/// Asks for everything we can do, then for less, until the kernel agrees.
fn negotiate(fd: &OwnedFd, wanted: bool) -> TunOffloads {
    let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    let attempts = [
        (tcp | TUN_F_USO4 | TUN_F_USO6, TunOffloads { tcp: true, udp: true }),
        (tcp, TunOffloads { tcp: true, udp: false }),
    ];
    let attempts = if wanted { &attempts[..] } else { &[] };
    for (bits, offloads) in attempts {
        if ioctl::set_offload(fd.as_fd(), *bits).is_ok() {
            return *offloads;
        }
    }
    // A queue of an older owner may have offloads on. Without a virtio header there is nothing to turn off.
    if let Err(error) = ioctl::set_offload(fd.as_fd(), 0) {
        tracing::debug!(%error, "offloads cannot be changed on this queue");
    }
    TunOffloads::default()
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests;
