//! Interfaces: index, MTU, queue length, segmentation limits, up. Read first: rtnetlink(7).
//! Called by net, tun.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::netlink::{Existing, Rtnetlink};
use crate::tun::InterfaceName;

/// The kernel's number for an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkIndex(pub u32);

/// The number of the interface of this name in this thread's namespace.
pub fn index_of(name: &InterfaceName) -> io::Result<LinkIndex> {
    Ok(LinkIndex(rustix_index(name.as_str())?))
}

fn rustix_index(name: &str) -> io::Result<u32> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// What to change about an interface; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Bytes of the largest IP packet.
    pub mtu_bytes: Option<u16>,
    /// Packets that may wait for us to read them, per queue.
    pub queue_packets: Option<u32>,
    /// Administratively up.
    pub up: Option<bool>,
}

pub(super) fn change(netlink: &mut Rtnetlink, link: LinkIndex, change: LinkChange) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link.0;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    let attributes = [
        change.mtu_bytes.map(|mtu| LinkAttribute::Mtu(u32::from(mtu))),
        change.queue_packets.map(LinkAttribute::TxQueueLen),
    ];
    message.attributes = attributes.into_iter().flatten().collect();
    netlink.request(RouteNetlinkMessage::SetLink(message), Existing::Required)
}

pub(super) fn remove(netlink: &mut Rtnetlink, link: LinkIndex) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link.0;
    netlink.request(RouteNetlinkMessage::DelLink(message), Existing::Required)
}
