//! Changes to the host's network that a node needs: addresses, routes, proxy neighbours, forwarding.
//! Everything is recorded and undone, newest first. Read first: rtnetlink(7), ip-sysctl.
//! Called by the binaries and tun.

mod address;
mod link;
mod netlink;
mod proxy;
mod route;
mod sysctl;

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

pub use self::link::{LinkChange, LinkIndex, index_of};
use self::netlink::Rtnetlink;
use self::sysctl::Sysctl;
use crate::tun::InterfaceName;

/// The host's network as we found it, plus the list of what we changed.
///
/// Objects that were there before are left alone, now and at the end. Dropping it undoes all changes.
#[derive(Debug)]
pub struct HostNetwork {
    netlink: Rtnetlink,
    changes: Vec<Change>,
}

/// A change, with what it takes to undo it.
#[derive(Debug)]
enum Change {
    Address { link: LinkIndex, address: IpNet },
    Route { link: LinkIndex, destination: IpNet },
    Proxy { link: LinkIndex, address: IpAddr },
    Switch { sysctl: Sysctl, before: String },
}

impl HostNetwork {
    /// Opens the routing tables of the calling thread's network namespace.
    pub fn open() -> io::Result<HostNetwork> {
        Ok(HostNetwork { netlink: Rtnetlink::open()?, changes: Vec::new() })
    }

    /// Changes MTU, queue length, segmentation limit or state of an interface. Not undone: meant for our TUN.
    pub fn change_link(&mut self, link: LinkIndex, change: LinkChange) -> io::Result<()> {
        link::change(&mut self.netlink, link, change)
    }

    /// Removes an interface, with all that hangs on it.
    pub fn remove_link(&mut self, link: LinkIndex) -> io::Result<()> {
        link::remove(&mut self.netlink, link)
    }

    /// Gives an interface an address.
    pub fn add_address(&mut self, link: LinkIndex, address: IpNet) -> io::Result<()> {
        if created(address::add(&mut self.netlink, link, address))? {
            self.changes.push(Change::Address { link, address });
        }
        Ok(())
    }

    /// Routes a prefix into an interface. Fails when the prefix is routed already, wherever to.
    pub fn add_route(&mut self, link: LinkIndex, destination: IpNet) -> io::Result<()> {
        route::add(&mut self.netlink, link, destination)?;
        self.changes.push(Change::Route { link, destination });
        Ok(())
    }

    /// Removes a route this object added before. A route that is gone already is no error.
    pub fn remove_route(&mut self, link: LinkIndex, destination: IpNet) -> io::Result<()> {
        let ours = |change: &Change| matches!(change, Change::Route { link: l, destination: d } if *l == link && *d == destination);
        if let Some(position) = self.changes.iter().position(ours) {
            let change = self.changes.remove(position);
            undo(&mut self.netlink, &change)?;
        }
        Ok(())
    }

    /// Answers ARP or neighbour solicitations for `address` on the link `name`, and switches on what the
    /// kernel wants for that: forwarding on that link and, for IPv6, `proxy_ndp`.
    pub fn add_proxy_neighbour(&mut self, name: &InterfaceName, address: IpAddr) -> io::Result<()> {
        let link = index_of(name)?;
        self.forward_from(name, address.is_ipv6())?;
        if address.is_ipv6() {
            self.switch(Sysctl::of_link("ipv6", name, "proxy_ndp"), "1")?;
        }
        if !proxy::exists(&mut self.netlink, link, address) {
            proxy::add(&mut self.netlink, link, address)?;
            self.changes.push(Change::Proxy { link, address });
        }
        Ok(())
    }

    /// Lets the kernel forward what arrives on the link `name`.
    ///
    /// IPv4 has a switch per interface. IPv6 forwards by one switch for all; kernels since 6.17 have
    /// `force_forwarding` per interface, which is used where it exists because the global switch also stops
    /// every interface from listening to router advertisements.
    pub fn forward_from(&mut self, name: &InterfaceName, ipv6: bool) -> io::Result<()> {
        if !ipv6 {
            return self.switch(Sysctl::of_link("ipv4", name, "forwarding"), "1");
        }
        self.keep_router_advertisements(name)?;
        self.switch(Sysctl::of_link("ipv6", name, "forwarding"), "1")?;
        let own = Sysctl::of_link("ipv6", name, "force_forwarding");
        if own.exists() { self.switch(own, "1") } else { self.forward_all_ipv6() }
    }

    /// Undoes every change, newest first. What fails is reported and does not stop the rest.
    pub fn undo_all(&mut self) {
        while let Some(change) = self.changes.pop() {
            if let Err(error) = undo(&mut self.netlink, &change) {
                tracing::warn!(?change, %error, "a change to the host's network could not be undone");
            }
        }
    }

    /// The kernel stops accepting router advertisements on a forwarding link unless told `2`.
    fn keep_router_advertisements(&mut self, name: &InterfaceName) -> io::Result<()> {
        let accept = Sysctl::of_link("ipv6", name, "accept_ra");
        if accept.read()? == "1" { self.switch(accept, "2") } else { Ok(()) }
    }

    /// The global switch overwrites the switch of every interface, so each one's value is recorded first.
    fn forward_all_ipv6(&mut self) -> io::Result<()> {
        let all: InterfaceName = InterfaceName::from_kernel(b"all");
        let global = Sysctl::of_link("ipv6", &all, "forwarding");
        if global.read()? == "1" {
            return Ok(());
        }
        for entry in std::fs::read_dir("/proc/sys/net/ipv6/conf")? {
            let name = InterfaceName::from_kernel(entry?.file_name().as_encoded_bytes());
            let sysctl = Sysctl::of_link("ipv6", &name, "forwarding");
            if name != all {
                let before = sysctl.read()?;
                self.changes.push(Change::Switch { sysctl, before });
            }
        }
        self.switch(global, "1")
    }

    fn switch(&mut self, sysctl: Sysctl, value: &str) -> io::Result<()> {
        if let Some(before) = sysctl.set(value)? {
            self.changes.push(Change::Switch { sysctl, before });
        }
        Ok(())
    }
}

impl Drop for HostNetwork {
    fn drop(&mut self) {
        self.undo_all();
    }
}

fn undo(netlink: &mut Rtnetlink, change: &Change) -> io::Result<()> {
    let done = match change {
        Change::Address { link, address } => address::remove(netlink, *link, *address),
        Change::Route { link, destination } => route::remove(netlink, *link, *destination),
        Change::Proxy { link, address } => proxy::remove(netlink, *link, *address),
        Change::Switch { sysctl, before } => sysctl.set(before).map(drop),
    };
    already_gone(done)
}

/// The interface took its addresses, routes and switches with it.
fn already_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if gone(&error) => Ok(()),
        other => other,
    }
}

fn gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    error.kind() == io::ErrorKind::NotFound
        || [libc::ENODEV, libc::ESRCH, libc::ENOENT, libc::EADDRNOTAVAIL].iter().any(|e| errno == Some(*e))
}

/// False for an object that was there before.
fn created(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
