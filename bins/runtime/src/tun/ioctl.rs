//! The TUN and interface ioctls that tun-rs has no words for. Read first: `linux/if_tun.h`, netdevice(7).
//! The whole of this crate's unsafe code for the TUN. Called by tun.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use super::name::InterfaceName;

/// `TUNSETIFF` flags of every queue we create: L3, no packet-information header, virtio header, several queues.
pub(super) const QUEUE_FLAGS: i16 =
    (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE) as i16;

/// The queue alone: we read and write it ourselves.
pub(super) fn into_descriptor(device: tun_rs::SyncDevice) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives up the descriptor, so it is owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) }
}

/// Name and flags of the interface behind a queue that somebody else opened.
pub(super) fn interface(fd: BorrowedFd<'_>) -> io::Result<(InterfaceName, i16)> {
    let mut request = request_for(&InterfaceName::default());
    // SAFETY: TUNGETIFF writes one `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF as _, &mut request) })?;
    // SAFETY: TUNGETIFF filled the `ifru_flags` member of the union; any bit pattern is a valid i16.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((name_in(&request), flags))
}

/// Says which offloads we take (`TUN_F_*`). Fails with EINVAL for a bit the kernel does not know.
pub(super) fn set_offload(fd: BorrowedFd<'_>, offloads: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(offloads)) })
}

/// The interface's MTU; fails with ENODEV when it is gone.
pub(super) fn mtu(name: &InterfaceName) -> io::Result<u32> {
    let mut request = request_for(name);
    interface_ioctl(libc::SIOCGIFMTU as _, &mut request)?;
    // SAFETY: SIOCGIFMTU filled the `ifru_mtu` member of the union; any bit pattern is a valid i32.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

fn interface_ioctl(code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: plain system call; the descriptor it returns is owned by nobody else.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(socket)?;
    // SAFETY: `socket` was checked to be a fresh, open descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the SIOC*IF* requests used here read and write one `ifreq`, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), code as _, request) })
}

fn request_for(name: &InterfaceName) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request
}

fn name_in(request: &libc::ifreq) -> InterfaceName {
    let bytes = request.ifr_name.map(|c| c as u8);
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    InterfaceName::from_kernel(&bytes[..end])
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
