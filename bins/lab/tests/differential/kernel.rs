//! The kernel's half: a namespace between two TUN interfaces, with nftables rules that say the same as our router's.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sluice_lab::{Host, Lab};
use tun_rs::{DeviceBuilder, SyncDevice};

use router_core::sim::border::{
    Heard, INSIDE_MTU, Net, OUTSIDE_MTU, PORTS, RuleSet, Side, TRANSLATED_PORTS, V4, V6,
};

const INSIDE: &str = "in0";
const OUTSIDE: &str = "out0";
/// No packet here is longer, and none is answered by more than this many.
const PACKET_MAX: usize = 65_535;
const PACKETS_MAX: usize = 64;

/// What makes the kernel as strict as it can be, and as talkative as we are.
const SETTINGS: &[(&str, &str)] = &[
    ("net.netfilter.nf_conntrack_tcp_loose", "0"),
    ("net.netfilter.nf_conntrack_tcp_be_liberal", "0"),
    // A corrupt packet is to stay corrupt: with the check on, the kernel drops it before it is translated.
    ("net.netfilter.nf_conntrack_checksum", "0"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.in0.send_redirects", "0"),
    ("net.ipv4.conf.out0.send_redirects", "0"),
    ("net.ipv4.icmp_ratemask", "0"),
    // The kernel is not to complain about missing pieces of one sequence in the middle of a later one.
    ("net.ipv4.ipfrag_time", "600"),
    ("net.netfilter.nf_conntrack_frag6_timeout", "600"),
    ("net.ipv6.conf.all.accept_redirects", "0"),
];

/// The kernel between two TUN interfaces. Lives on the thread that made it, which is in the namespace.
pub(crate) struct KernelWorld {
    inside: SyncDevice,
    outside: SyncDevice,
    buffer: Vec<u8>,
    next_id: u16,
}

impl KernelWorld {
    /// Moves this thread into a new namespace and sets that up.
    pub(crate) fn new(lab: &Lab, name: &str, rules: RuleSet) -> Result<KernelWorld> {
        let host = lab.host(name)?;
        let namespace = File::open(format!("/run/netns/{}", host.namespace()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let inside = open(INSIDE, INSIDE_MTU)?;
        let outside = open(OUTSIDE, OUTSIDE_MTU)?;
        prepare(&host)?;
        let written = host.exec_with_input(&["nft", "-f", "-"], script(rules).as_bytes())?;
        written.ok()?;
        // These exist only once something tracks connections.
        host.sysctl(SETTINGS)?;
        Ok(KernelWorld { inside, outside, buffer: vec![0; PACKET_MAX], next_id: 1 })
    }

    /// Forgets all flows.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.take_all(&mut Heard::default())?;
        let done = Command::new("conntrack").arg("-F").output().context("conntrack")?;
        ensure!(done.status.success(), "conntrack -F: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// The first of as many identifications as a sequence has steps; no others of them are in use here.
    pub(crate) fn fresh_ids(&mut self) -> u16 {
        let first = self.next_id;
        self.next_id = first.wrapping_add(crate::generate::STEPS_MAX as u16);
        first
    }

    /// Hands a packet in, and takes everything out that comes of it. Forwarding is done when the write returns.
    pub(crate) fn hand_in(&mut self, side: Side, packet: &[u8]) -> Result<Heard> {
        let device = match side {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        };
        let mut heard = Heard::default();
        match write(device, packet) {
            Ok(_) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error).context("write to a TUN"),
        }
        self.take_all(&mut heard)?;
        Ok(heard)
    }

    fn take_all(&mut self, heard: &mut Heard) -> Result<()> {
        for (side, device) in [(Side::Inside, &self.inside), (Side::Outside, &self.outside)] {
            for _ in 0..PACKETS_MAX {
                match read(device, &mut self.buffer[..]) {
                    Ok(len) => heard.packets.push((side, self.buffer[..len].to_vec())),
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error).context("read from a TUN"),
                }
            }
        }
        // The kernel's own: who is out there, who listens to which group.
        heard.packets.retain(|(_, packet)| !is_chatter(packet));
        Ok(())
    }
}

fn open(name: &str, mtu: u16) -> Result<SyncDevice> {
    let device =
        DeviceBuilder::new().name(name).mtu(mtu).build_sync().with_context(|| format!("TUN {name}"))?;
    ioctl_fionbio(&device, true)?;
    Ok(device)
}

fn prepare(host: &Host) -> Result<()> {
    host.forward()?;
    for (interface, addresses) in [(INSIDE, [V4.ours, V6.ours]), (OUTSIDE, [V4.external, V6.external])] {
        host.sysctl(&[(&format!("net.ipv6.conf.{interface}.addr_gen_mode"), "1")])?;
        host.ip(&format!("link set {interface} up"))?;
        for address in addresses {
            let length = if address.contains(':') { 128 } else { 32 };
            host.address(interface, &format!("{address}/{length}"))?;
        }
    }
    for net in [V4, V6] {
        host.ip(&format!("route add default dev {OUTSIDE} src {}", net.external))
            .or_else(|_| host.ip(&format!("-6 route add default dev {OUTSIDE}")))?;
        for client in net.clients {
            let length = if client.contains(':') { 128 } else { 32 };
            host.ip(&format!("route add {client}/{length} dev {INSIDE}"))?;
        }
    }
    Ok(())
}

fn script(rules: RuleSet) -> String {
    let (mut dnat, mut snat, mut accept, mut refuse) =
        (String::new(), String::new(), String::new(), String::new());
    for (family, net, ping) in [("ip", V4, "icmp"), ("ip6", V6, "icmpv6")] {
        if rules.dnat {
            dnat += &translations(family, net, ping);
        }
        if rules.snat {
            snat += &format!("oifname {OUTSIDE} meta mark 1 snat {family} to {}\n", net.external);
        }
        let (asked, (first, last)) = (rules.asked(net), PORTS);
        for what in [
            format!("tcp dport {first}-{last}"),
            format!("udp dport {first}-{last}"),
            format!("{ping} type echo-request"),
            "meta l4proto 253".to_owned(),
        ] {
            accept += &format!("iifname {INSIDE} {family} daddr {asked} {what} meta mark set 1\n");
        }
        let clients = net.clients.join(", ");
        refuse += &format!("iifname {INSIDE} {family} saddr != {{ {clients} }} drop\n");
    }
    format!(
        "table inet differential {{
           chain sources {{ type filter hook prerouting priority -450; policy accept;
             {refuse} }}
           chain marks {{ type filter hook prerouting priority mangle; policy accept;
             {accept} }}
           chain destinations {{ type nat hook prerouting priority dstnat; policy accept;
             {dnat} }}
           chain forwards {{ type filter hook forward priority filter; policy drop;
             tcp flags syn tcp option maxseg size set rt mtu
             ct state established,related accept
             ct state invalid drop
             iifname {INSIDE} meta mark 1 accept
             iifname {INSIDE} reject with icmpx admin-prohibited
           }}
           chain arrivals {{ type filter hook input priority filter; policy drop;
             iifname {INSIDE} ip daddr {} icmp type echo-request accept
             iifname {INSIDE} ip6 daddr {} icmpv6 type echo-request accept
           }}
           chain sources_out {{ type nat hook postrouting priority srcnat; policy accept;
             {snat} }}
         }}",
        V4.ours, V6.ours
    )
}

fn translations(family: &str, net: Net, ping: &str) -> String {
    let pairs: Vec<String> =
        (PORTS.0..=PORTS.1).zip(TRANSLATED_PORTS.0..).map(|(from, to)| format!("{from} : {to}")).collect();
    let (map, from, to) = (pairs.join(", "), net.target, net.server);
    let mut text = String::new();
    for protocol in ["tcp", "udp"] {
        text += &format!(
            "meta mark 1 {family} daddr {from} meta l4proto {protocol} dnat {family} to {to} : {protocol} dport map {{ {map} }}\n"
        );
    }
    text + &format!(
        "meta mark 1 {family} daddr {from} meta l4proto {{ {ping}, 253 }} dnat {family} to {to}\n"
    )
}

/// Multicast listener reports and router solicitations, to a group; redirects, which cannot be switched off for IPv6.
fn is_chatter(packet: &[u8]) -> bool {
    let is_redirect = packet.get(6) == Some(&58) && packet.get(40) == Some(&137);
    packet[0] >> 4 == 6 && (packet.get(24) == Some(&0xff) || is_redirect)
}
