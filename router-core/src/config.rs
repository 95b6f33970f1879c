//! What a node is made from.

use alloc::vec::Vec;
use core::net::IpAddr;

use wg_proto::IpNet;

use crate::rules::session_bytes;
use crate::verdict::Refusal;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A plain WireGuard interface: cryptokey routing between the peers and the TUN, and nothing else. No rules, no
    /// translation, no hop.
    Interface,
    /// A router or a connector: nothing passes but what a rule allows.
    Router,
}

/// What a node is made from.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What it is. Of what is below, only `has_sockets` matters to an interface.
    pub mode: Mode,
    /// Our own addresses inside the tunnels: they answer pings, and send our ICMP errors.
    pub overlay_addresses: Vec<IpAddr>,
    /// The largest packet that fits into a tunnel.
    pub tunnel_mtu_bytes: u16,
    /// The largest packet that the TUN takes; `None`: there is no TUN.
    pub tun_mtu_bytes: Option<u16>,
    /// Client addresses that arrive on the TUN, unencrypted, because a foreign gateway ends their tunnels.
    pub tun_clients: Vec<IpNet>,
    /// Whether there is a stack in this process to hand packets to. In an interface without a TUN it stands in the TUN's
    /// place.
    pub has_sockets: bool,
    /// The most flows of IPv4. Memory is reserved for all of them.
    pub flows_max_v4: u32,
    /// The most flows of IPv6.
    pub flows_max_v6: u32,
    /// The most sessions.
    pub sessions_max: u32,
    /// How traffic of senders without any session is refused.
    pub refusal: Refusal,
}

// Our own choices.

/// Inside a WireGuard tunnel over IPv6 and Ethernet: 1500 - 80.
const TUNNEL_MTU_BYTES: u16 = 1420;
/// 8 MiB for IPv4 and 3 MiB for IPv6.
const FLOWS_MAX_V4: u32 = 65_536;
const FLOWS_MAX_V6: u32 = 16_384;
/// Some 60 MB when all are open.
const SESSIONS_MAX: u32 = 131_072;

// What tables are built for: see `flow`.

/// Bytes of memory that a flow of IPv4 takes, everything included.
pub const FLOW_V4_BYTES: usize = 128;
/// Bytes of memory that a flow of IPv6 takes, everything included.
pub const FLOW_V6_BYTES: usize = 192;

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            mode: Mode::Router,
            overlay_addresses: Vec::new(),
            tunnel_mtu_bytes: TUNNEL_MTU_BYTES,
            tun_mtu_bytes: None,
            tun_clients: Vec::new(),
            has_sockets: false,
            flows_max_v4: FLOWS_MAX_V4,
            flows_max_v6: FLOWS_MAX_V6,
            sessions_max: SESSIONS_MAX,
            refusal: Refusal::default(),
        }
    }
}

impl NodeConfig {
    /// Bytes of memory for flows and sessions when all are in use, the sessions having `destinations` destinations each. What
    /// peers take on top: [`wg_proto::constants::PEER_BYTES`]. Fragments and packets of our own: 17 MiB at most.
    pub const fn memory_bytes_max(&self, destinations: usize) -> usize {
        self.flow_bytes_max() + self.sessions_max as usize * session_bytes(destinations)
    }

    /// Bytes of memory for flows when all are in use.
    pub const fn flow_bytes_max(&self) -> usize {
        self.flows_max_v4 as usize * FLOW_V4_BYTES + self.flows_max_v6 as usize * FLOW_V6_BYTES
    }

    /// A plain WireGuard interface. It keeps no flows, so it takes no memory for them.
    pub fn interface() -> NodeConfig {
        let nothing =
            NodeConfig { flows_max_v4: 0, flows_max_v6: 0, sessions_max: 0, ..NodeConfig::default() };
        NodeConfig { mode: Mode::Interface, ..nothing }
    }
}
