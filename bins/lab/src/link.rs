//! Cables and switches between hosts.

use anyhow::Result;

use crate::host::Host;
use crate::lab::Lab;

/// The largest packet that a link carries, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu(pub u32);

impl Mtu {
    /// Ethernet's 1500 bytes.
    pub const ETHERNET: Mtu = Mtu(1500);
}

/// One end of a cable: an interface of a host, with its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// Whose interface.
    pub host: &'a Host,
    /// The interface's name.
    pub interface: &'a str,
    /// Addresses with prefix lengths.
    pub addresses: &'a [&'a str],
}

impl<'a> Port<'a> {
    /// An interface with these addresses.
    pub fn new(host: &'a Host, interface: &'a str, addresses: &'a [&'a str]) -> Port<'a> {
        Port { host, interface, addresses }
    }

    fn bring_up(&self, mtu: Mtu) -> Result<()> {
        self.host.ip(&format!("link set {} mtu {} up", self.interface, mtu.0))?;
        self.addresses.iter().try_for_each(|address| self.host.address(self.interface, address))
    }
}

impl Lab {
    /// A cable between two hosts.
    pub fn cable(&self, a: Port<'_>, b: Port<'_>, mtu: Mtu) -> Result<()> {
        a.host.ip(&format!(
            "link add {} type veth peer name {} netns {}",
            a.interface,
            b.interface,
            b.host.namespace()
        ))?;
        a.bring_up(mtu)?;
        b.bring_up(mtu)
    }

    /// A switch with these ports. It is a host of its own, to capture on.
    pub fn switch(&self, name: &str, ports: &[Port<'_>], mtu: Mtu) -> Result<Host> {
        let switch = self.host(name)?;
        switch.ip("link add bridge type bridge")?;
        switch.ip(&format!("link set bridge mtu {} up", mtu.0))?;
        for port in ports {
            let end = format!("to-{}", port.host.name());
            self.cable(Port::new(&switch, &end, &[]), *port, mtu)?;
            switch.ip(&format!("link set {end} master bridge"))?;
        }
        Ok(switch)
    }
}
