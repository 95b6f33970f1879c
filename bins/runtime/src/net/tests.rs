//! Against a real kernel, in a namespace of the test's own.

use std::fs;

use super::*;
use crate::sandbox::in_namespace;
use crate::tun::{Tun, TunConfig};

fn tun(name: &str) -> Tun {
    let name = name.parse().expect("legal");
    Tun::open(&TunConfig { name, queues: 1, mtu_bytes: None, offload: true }).expect("open")
}

fn up(network: &mut HostNetwork, tun: &Tun) {
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    network.change_link(tun.index(), change).expect("up");
}

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

fn sysctl(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).expect("readable").trim().to_owned()
}

/// What `/proc/thread-self/net/<table>` says: the tables of this thread's namespace.
fn table(name: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("readable")
}

#[test]
fn addresses_and_routes_come_and_go() {
    in_namespace(|| {
        let tun = tun("srt-net");
        let mut network = HostNetwork::open().expect("open");
        up(&mut network, &tun);
        // The kernel gives the interface link-local routes at a moment of its own.
        let ours = || {
            let routes = table("ipv6_route");
            let ours: Vec<_> = routes.lines().filter(|route| route.starts_with("fd")).collect();
            (table("fib_trie"), ours.join("\n"))
        };
        let before = ours();
        for address in ["10.9.0.1/24", "fd09::1/64"] {
            network.add_address(tun.index(), net(address)).expect("added");
            network.add_address(tun.index(), net(address)).expect("there already");
        }
        for destination in ["10.77.3.4/16", "fd77::1/48"] {
            network.add_route(tun.index(), net(destination)).expect("added");
        }
        assert!(table("fib_trie").contains("10.77.0.0"));
        assert!(table("ipv6_route").contains("fd770000000000000000000000000000 30"));
        network.remove_route(tun.index(), net("10.77.3.4/16")).expect("removed");
        network.remove_route(tun.index(), net("10.77.3.4/16")).expect("gone already");
        assert!(!table("fib_trie").contains("10.77.0.0"));
        drop(network);
        assert_eq!(ours(), before);
    });
}

#[test]
fn a_route_that_somebody_else_has_is_neither_taken_nor_removed() {
    in_namespace(|| {
        let (ours, theirs) = (tun("srt-a"), tun("srt-b"));
        let mut other = HostNetwork::open().expect("open");
        let mut network = HostNetwork::open().expect("open");
        up(&mut other, &ours);
        up(&mut other, &theirs);
        other.add_route(theirs.index(), net("10.77.0.0/16")).expect("added");
        let error = network.add_route(ours.index(), net("10.77.0.0/16")).expect_err("taken");
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        drop(network);
        assert!(table("fib_trie").contains("10.77.0.0"));
    });
}

#[test]
fn proxy_neighbours_bring_their_switches_and_take_them_away_again() {
    in_namespace(|| {
        let lan = tun("srt-lan");
        let name = lan.name();
        let switches = || {
            ["ipv4/conf/srt-lan/forwarding", "ipv6/conf/srt-lan/forwarding", "ipv6/conf/srt-lan/proxy_ndp"]
                .map(sysctl)
        };
        let mut network = HostNetwork::open().expect("open");
        up(&mut network, &lan);
        assert_eq!(switches(), ["0", "0", "0"]);
        for address in ["192.0.2.7", "2001:db8::7"] {
            let address = address.parse().expect("address");
            network.add_proxy_neighbour(&name, address).expect("added");
            network.add_proxy_neighbour(&name, address).expect("added twice is added once");
            assert!(proxy::exists(&mut network.netlink, lan.index(), address));
        }
        assert_eq!(switches(), ["1", "1", "1"]);
        network.undo_all();
        assert_eq!(switches(), ["0", "0", "0"]);
        for address in ["192.0.2.7", "2001:db8::7"] {
            assert!(!proxy::exists(&mut network.netlink, lan.index(), address.parse().expect("address")));
        }
    });
}

#[test]
fn the_global_switch_is_restored_for_every_interface() {
    in_namespace(|| {
        let (one, two) = (tun("srt-one"), tun("srt-two"));
        fs::write("/proc/sys/net/ipv6/conf/srt-two/forwarding", "1").expect("written");
        let switches = || {
            ["all", "default", "lo", one.name().as_str(), two.name().as_str()]
                .map(|name| sysctl(&format!("ipv6/conf/{name}/forwarding")))
        };
        let before = switches();
        let mut network = HostNetwork::open().expect("open");
        network.forward_all_ipv6().expect("switched");
        assert_eq!(switches(), ["1", "1", "1", "1", "1"]);
        drop(network);
        assert_eq!(switches(), before);
    });
}

#[test]
fn an_interface_that_is_gone_takes_its_changes_along() {
    in_namespace(|| {
        let tun = tun("srt-gone");
        let mut network = HostNetwork::open().expect("open");
        up(&mut network, &tun);
        network.add_address(tun.index(), net("10.9.0.1/24")).expect("added");
        network.add_route(tun.index(), net("10.77.0.0/16")).expect("added");
        network.forward_from(&tun.name(), false).expect("switched");
        drop(tun);
        for change in network.changes.drain(..) {
            undo(&mut network.netlink, &change).expect("nothing to undo is undone");
        }
    });
}
