//! Addresses of an interface. Read first: rtnetlink(7), RTM_NEWADDR. Called by net.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::link::LinkIndex;
use super::netlink::{Existing, Rtnetlink};

pub(super) fn add(netlink: &mut Rtnetlink, link: LinkIndex, address: IpNet) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::NewAddress(message(link, address)), Existing::Refuse)
}

pub(super) fn remove(netlink: &mut Rtnetlink, link: LinkIndex, address: IpNet) -> io::Result<()> {
    netlink.request(RouteNetlinkMessage::DelAddress(message(link, address)), Existing::Required)
}

/// Duplicate address detection is off: nobody else can be on a point-to-point interface, and an address
/// that is tentative for a second refuses its first connections.
fn message(link: LinkIndex, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link.0;
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    if address.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
