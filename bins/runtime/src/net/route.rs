//! Routes into an interface, in the main table. Read first: rtnetlink(7), RTM_NEWROUTE. Called by net.

use std::io;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::address::family;
use super::link::LinkIndex;
use super::netlink::{Existing, Rtnetlink};

pub(super) fn add(netlink: &mut Rtnetlink, link: LinkIndex, destination: IpNet) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::NewRoute(message(link, destination)), Existing::Refuse)
}

pub(super) fn remove(netlink: &mut Rtnetlink, link: LinkIndex, destination: IpNet) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::DelRoute(message(link, destination)), Existing::Required)
}

fn message(link: LinkIndex, destination: IpNet) -> RouteMessage {
    let destination = destination.trunc();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(destination.addr()),
        destination_prefix_length: destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if destination.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes =
        vec![RouteAttribute::Destination(destination.addr().into()), RouteAttribute::Oif(link.0)];
    message
}
