//! Proxy neighbour entries: this host answers ARP or neighbour solicitations for an address it routes
//! elsewhere. Read first: RFC 1027, RFC 4389 §4, rtnetlink(7) RTM_NEWNEIGH with NTF_PROXY. Called by net.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};

use super::address::family;
use super::link::LinkIndex;
use super::netlink::{Existing, Rtnetlink};

pub(super) fn add(netlink: &mut Rtnetlink, link: LinkIndex, address: IpAddr) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::NewNeighbour(message(link, address)), Existing::Replace)
}

pub(super) fn remove(netlink: &mut Rtnetlink, link: LinkIndex, address: IpAddr) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::DelNeighbour(message(link, address)), Existing::Required)
}

/// Whether the entry is there already (then it is somebody else's and stays).
pub(super) fn exists(netlink: &mut Rtnetlink, link: LinkIndex, address: IpAddr) -> bool {
    let mut query = message(link, address);
    query.header.state = NeighbourState::None;
    netlink.query(RouteNetlinkMessage::GetNeighbour(query)).is_ok()
}

fn message(link: LinkIndex, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link.0;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    message
}
