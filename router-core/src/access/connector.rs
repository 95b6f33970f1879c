//! Connectors, and which virtual port stands for which device behind one. DESIGN decision 4.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use wg_proto::UnixTime;

use super::id::{ConnectorId, MappingId, TenantId};
use super::name::Name;
use crate::packet::Protocol;

/// How long a virtual port rests after its device was taken off it, unless configured: a client that still remembers it must
/// not meet another device.
pub const VIRTUAL_PORT_QUARANTINE: Duration = Duration::from_secs(24 * 60 * 60);

const FIRST: u16 = 40_000;

/// A node in a tenant's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Which.
    pub id: ConnectorId,
    /// Whose; `None`: the operator's own.
    pub tenant: Option<TenantId>,
    /// Where it stands. Connectors of one site reach the same devices.
    pub site: Name,
    /// What it is called.
    pub name: Name,
    /// Who opens the tunnel.
    pub dial: Dial,
}

/// Who opens the tunnel between server and connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dial {
    /// The server's side does, at the connector's endpoint.
    Server,
    /// The connector does.
    Connector,
}

/// A port of a connector that stands for a device's service: 40000 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPort(u16);

/// A port outside 40000 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("virtual ports are {FIRST} to 65535, not {0}")]
pub struct NotAVirtualPort(pub u16);

/// A device's service and the virtual port that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceMapping {
    /// Which.
    pub id: MappingId,
    /// Behind which connector.
    pub connector: ConnectorId,
    /// The device's address, in the connector's network.
    pub device: IpAddr,
    /// The service's port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// What it is known by on the connector.
    pub virtual_port: VirtualPort,
}

/// A virtual port that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantined {
    /// Which.
    pub port: VirtualPort,
    /// From when on it may be given out again.
    pub until: UnixTime,
}

/// All virtual ports of a connector are taken or rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connector has no free virtual port{}", Again(*.free_at))]
pub struct PortsExhausted {
    /// When the first of them stops resting; `None`: all are taken.
    pub free_at: Option<UnixTime>,
}

impl VirtualPort {
    /// The first one.
    pub const FIRST: VirtualPort = VirtualPort(FIRST);

    /// The virtual port of this number.
    pub const fn new(port: u16) -> Result<VirtualPort, NotAVirtualPort> {
        if port >= FIRST { Ok(VirtualPort(port)) } else { Err(NotAVirtualPort(port)) }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The one after it; `None` after 65535.
    pub fn next(self) -> Option<VirtualPort> {
        self.0.checked_add(1).map(VirtualPort)
    }
}

impl fmt::Display for VirtualPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct Again(Option<UnixTime>);

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "; one is free again at {} seconds of Unix time", at.secs),
            None => Ok(()),
        }
    }
}

/// The lowest virtual port of a connector that is neither taken nor rests. Both lists may come in any order.
///
/// Costs one bit per port, whatever the lists hold.
pub fn allocate(
    taken: impl IntoIterator<Item = VirtualPort>,
    quarantined: impl IntoIterator<Item = Quarantined>,
    at: UnixTime,
) -> Result<VirtualPort, PortsExhausted> {
    let mut used = [0_u64; USED_WORDS];
    for port in taken {
        mark(&mut used, port);
    }
    let mut free_at = None;
    for resting in quarantined.into_iter().filter(|resting| resting.until > at) {
        mark(&mut used, resting.port);
        free_at = Some(free_at.map_or(resting.until, |first: UnixTime| first.min(resting.until)));
    }
    (FIRST..=u16::MAX)
        .map(VirtualPort)
        .find(|port| !is_marked(&used, *port))
        .ok_or(PortsExhausted { free_at })
}

const USED_WORDS: usize = ((u16::MAX - FIRST) as usize + 1).div_ceil(64);

fn mark(used: &mut [u64; USED_WORDS], port: VirtualPort) {
    let bit = usize::from(port.0 - FIRST);
    used[bit / 64] |= 1 << (bit % 64);
}

fn is_marked(used: &[u64; USED_WORDS], port: VirtualPort) -> bool {
    let bit = usize::from(port.0 - FIRST);
    used[bit / 64] & 1 << (bit % 64) != 0
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn port(number: u16) -> VirtualPort {
        VirtualPort::new(number).unwrap()
    }

    fn resting(number: u16, until: u64) -> Quarantined {
        Quarantined { port: port(number), until: UnixTime::new(until, 0) }
    }

    const NOW: UnixTime = UnixTime::new(1000, 0);

    #[test]
    fn virtual_ports_start_at_40000() {
        assert_eq!(VirtualPort::new(39_999), Err(NotAVirtualPort(39_999)));
        assert_eq!(VirtualPort::new(40_000), Ok(VirtualPort::FIRST));
        assert_eq!(port(40_000).next(), Some(port(40_001)));
        assert_eq!(port(u16::MAX).next(), None);
        assert_eq!((port(40_007).number(), port(40_007).to_string().as_str()), (40_007, "40007"));
    }

    #[test]
    fn the_lowest_free_port_is_given_and_a_gap_is_filled_first() {
        assert_eq!(allocate([], [], NOW), Ok(port(40_000)));
        assert_eq!(allocate([40_001, 40_000, 40_003].map(port), [], NOW), Ok(port(40_002)));
    }

    #[test]
    fn a_port_rests_until_its_quarantine_ends() {
        assert_eq!(allocate([], [resting(40_000, 1001)], NOW), Ok(port(40_001)));
        assert_eq!(allocate([], [resting(40_000, 1000)], NOW), Ok(port(40_000)));
    }

    #[test]
    fn when_nothing_is_left_it_says_when_something_will_be() {
        let taken = || (40_002..=u16::MAX).map(port);
        let rests = [resting(40_000, 3000), resting(40_001, 2000)];
        let exhausted = allocate(taken(), rests, NOW).unwrap_err();
        assert_eq!(exhausted.free_at, Some(UnixTime::new(2000, 0)));
        assert!(exhausted.to_string().ends_with("at 2000 seconds of Unix time"));
        let exhausted = allocate((40_000..=u16::MAX).map(port), [], NOW).unwrap_err();
        assert_eq!(exhausted, PortsExhausted { free_at: None });
        assert!(exhausted.to_string().ends_with("virtual port"));
    }

    proptest! {
        #[test]
        fn what_is_given_is_free_and_nothing_below_is(
            taken in prop::collection::vec(40_000..40_020_u16, 0..25),
            rests in prop::collection::vec((40_000..40_020_u16, 995..1005_u64), 0..25),
        ) {
            let is_free = |number: u16| {
                !taken.contains(&number) && !rests.iter().any(|(rests, until)| *rests == number && *until > 1000)
            };
            let given = allocate(
                taken.iter().copied().map(port),
                rests.iter().map(|(number, until)| resting(*number, *until)),
                NOW,
            );
            let expected = (40_000..=u16::MAX).find(|number| is_free(*number)).map(port);
            prop_assert_eq!(given.ok(), expected);
        }
    }
}
