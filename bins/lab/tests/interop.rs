//! `sluice-router wireguard` and wireguard-go as peers, in both roles: whoever dials, the other one answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_lab::capture::Capture;
use sluice_lab::peer::Implementation::{self, Sluice, WireguardGo};
use sluice_lab::services::{Direction, Iperf};
use sluice_lab::topology::{Pair, PairConfig};
use sluice_lab::{KeyPair, Lab, Mtu, lab_test, probe, retry, wait_until};

/// Who dials and who answers.
const ROLES: [(Implementation, Implementation); 2] = [(Sluice, WireguardGo), (WireguardGo, Sluice)];

#[test]
fn either_side_dials_and_both_address_families_pass() {
    for (left, right) in ROLES {
        for over_v6 in [false, true] {
            lab_test(|lab| {
                let pair = Pair::start(lab, &PairConfig { over_v6, ..PairConfig::new(left, right) })?;
                pair.wait_until_up()?;
                ensure!(
                    pair.left.tunnel.latest_handshake(&pair.right.keys.public)? > 0,
                    "no handshake is shown"
                );
                carries_data(&pair)
            });
        }
    }
}

#[test]
fn a_wrong_preshared_key_keeps_out_and_the_right_one_lets_in() {
    for (left, right) in ROLES {
        lab_test(|lab| {
            let pair = Pair::start(lab, &PairConfig { preshared_key: true, ..PairConfig::new(left, right) })?;
            let wrong = lab.file("wrong.key", KeyPair::preshared(lab)?)?;
            let use_key =
                |path: &str| pair.left.tunnel.peer(&pair.right.keys.public, &format!("preshared-key {path}"));
            use_key(&wrong.display().to_string())?;
            let ping = pair.left.host.sh("ping -n -c 2 -W 1 10.9.0.2")?;
            ensure!(!ping.succeeded(), "a tunnel with different preshared keys answers: {ping}");
            use_key(&lab.directory().join("preshared.key").display().to_string())?;
            pair.wait_until_up()
        });
    }
}

#[test]
fn a_peer_that_moves_is_followed() {
    for (left, right) in ROLES {
        lab_test(|lab| {
            let pair = Pair::start(lab, &PairConfig::new(left, right))?;
            pair.wait_until_up()?;
            // The dialler gets another address and another port, the answerer follows its packets.
            pair.left.host.ip("address del 203.0.113.1/24 dev wan0")?;
            pair.left.host.address("wan0", "203.0.113.77/24")?;
            pair.left.tunnel.set("listen-port 40123")?;
            pair.wait_until_up()?;
            let endpoints = pair.right.tunnel.show("endpoints")?.stdout;
            ensure!(endpoints.contains("203.0.113.77:40123"), "{endpoints}");
            // And now in the other direction, without a packet from the left first.
            pair.right.host.wait_for_ping("10.9.0.1".parse()?, Duration::from_secs(5))
        });
    }
}

#[test]
fn a_persistent_keepalive_keeps_an_idle_tunnel_talking() {
    for (left, right) in ROLES {
        lab_test(|lab| {
            let pair = Pair::start(lab, &PairConfig::new(left, right))?;
            // Without any packet of the user: the keepalive alone makes the handshake.
            pair.left.tunnel.peer(&pair.right.keys.public, "persistent-keepalive 1")?;
            retry("a handshake made by a keepalive", Duration::from_secs(10), || {
                Ok((pair.left.tunnel.latest_handshake(&pair.right.keys.public)? > 0).then_some(()))
            })?;
            let capture = Capture::start(&pair.right.host, "wan0", "udp")?;
            std::thread::sleep(Duration::from_secs(4));
            // 32 bytes of UDP payload towards the right: a transport message without content.
            let keepalives = capture.lines("dst port 51820 and udp[4:2] = 40")?.len();
            ensure!((3..=6).contains(&keepalives), "{keepalives} keepalives in 4 seconds");
            Ok(())
        });
    }
}

#[test]
fn a_session_is_renewed_after_two_minutes_without_a_lost_packet() {
    lab_test(|lab| {
        let labs = [lab.clone(), Lab::new()?];
        let pairs: Vec<Pair> = ROLES
            .iter()
            .zip(&labs)
            .map(|(&(left, right), lab)| Pair::start(lab, &PairConfig::new(left, right)))
            .collect::<Result<_>>()?;
        pairs.iter().try_for_each(Pair::wait_until_up)?;
        let before = handshakes(&pairs)?;
        let pings: Vec<_> = pairs
            .iter()
            .map(|pair| pair.left.host.spawn(&["ping", "-n", "-q", "-i", "0.1", "-w", "130", "10.9.0.2"]))
            .collect::<Result<_>>()?;
        let limit = Duration::from_secs(140);
        wait_until("the pings' end", limit, || Ok(pings.iter().all(|ping| !ping.is_running())))?;
        for (ping, role) in pings.iter().zip(ROLES) {
            ensure!(ping.log().contains(" 0% packet loss"), "{role:?}: {}", ping.log());
        }
        for ((before, after), role) in before.iter().zip(handshakes(&pairs)?).zip(ROLES) {
            ensure!((115..=130).contains(&(after - before)), "{role:?}: renewed after {} s", after - before);
        }
        Ok(())
    });
}

#[test]
fn inner_packets_of_34_kib_and_more_pass_on_wide_and_on_ordinary_wires() {
    for wire_mtu in [Mtu(65_535), Mtu::ETHERNET] {
        lab_test(|lab| {
            let config = PairConfig { mtu: 40_000, wire_mtu, ..PairConfig::new(Sluice, Sluice) };
            let pair = Pair::start(lab, &config)?;
            pair.wait_until_up()?;
            for (size, address) in [(34 * 1024, "10.9.0.2"), (39_972, "10.9.0.2"), (39_952, "fd09::2")] {
                let ping =
                    pair.left.host.sh(&format!("ping -n -M do -c 3 -i 0.2 -W 2 -s {size} {address}"))?;
                ensure!(ping.succeeded(), "{ping}");
            }
            carries_data(&pair)
        });
    }
}

#[test]
fn ordinary_interfaces_of_ours_carry_data_between_each_other() {
    lab_test(|lab| {
        let pair = Pair::start(lab, &PairConfig::new(Sluice, Sluice))?;
        pair.wait_until_up()?;
        carries_data(&pair)
    });
}

#[test]
fn wg_quick_brings_an_interface_up_and_takes_it_down() {
    lab_test(|lab| {
        let pair = Pair::start(lab, &PairConfig::new(WireguardGo, WireguardGo))?;
        let (name, keys) = (lab.interface('q'), KeyPair::generate(lab)?);
        pair.right.tunnel.peer(&keys.public, "allowed-ips 10.9.0.3/32")?;
        let config = lab.file(
            &format!("{name}.conf"),
            format!(
                "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.3/32\nMTU = 1400\n\
                 [Peer]\nPublicKey = {}\nEndpoint = 203.0.113.2:51820\nAllowedIPs = 10.9.0.2/32\n",
                keys.private, pair.right.keys.public
            ),
        )?;
        let program = sluice_lab::binaries::sluice("sluice-router")?;
        let host = lab.host("quick")?;
        connect(lab, &pair, &host)?;
        // wg-quick calls the program with the interface's name alone; under this name it takes just that.
        let wrapper = lab.directory().join("sluice-wireguard");
        std::os::unix::fs::symlink(&program, &wrapper)?;
        let quick = |verb: &str| {
            let line = format!(
                "WG_QUICK_USERSPACE_IMPLEMENTATION={} wg-quick {verb} {}",
                wrapper.display(),
                config.display()
            );
            host.sh(&line)?.ok()
        };
        quick("up")?;
        host.wait_for_ping("10.9.0.2".parse()?, Duration::from_secs(10))?;
        let shown = host.sh(&format!("ip link show {name}"))?.ok()?.stdout;
        ensure!(shown.contains("mtu 1400"), "{shown}");
        quick("down")?;
        ensure!(!host.sh(&format!("ip link show {name}"))?.succeeded(), "{name} is still there");
        wait_until("the daemon's end", Duration::from_secs(5), || Ok(host.processes()?.is_empty()))
    });
}

#[test]
fn under_a_flood_of_initiations_cookies_are_sent_and_a_peer_that_returns_one_gets_in() {
    for (left, right) in ROLES {
        lab_test(|lab| {
            let pair = Pair::start(lab, &PairConfig::new(left, right))?;
            let flooder = lab.host("flooder")?;
            connect(lab, &pair, &flooder)?;
            let replies = Capture::start(&pair.right.host, "wan0", "udp src port 51820 and udp[4:2] = 72")?;
            let flood = probe::flood(&flooder, "203.0.113.2:51820", &pair.right.keys.public, 60_000, 20)?;
            std::thread::sleep(Duration::from_secs(2));
            pair.left.host.wait_for_ping("10.9.0.2".parse()?, Duration::from_secs(17))?;
            flood.check_running().context("the peer got in only after the flood")?;
            let cookies = replies.lines("dst host 203.0.113.1")?;
            ensure!(!cookies.is_empty(), "{left:?} got in without a cookie: {right:?} was not under load");
            Ok(())
        });
    }
}

/// A third host on a cable of its own to the right side, whose endpoint it uses.
fn connect(lab: &Lab, pair: &Pair, host: &sluice_lab::Host) -> Result<()> {
    use sluice_lab::Port;
    lab.cable(
        Port::new(host, "wan0", &["198.51.100.2/24"]),
        Port::new(&pair.right.host, "wan1", &["198.51.100.1/24"]),
        Mtu::ETHERNET,
    )?;
    host.route("203.0.113.0/24", "198.51.100.1")
}

fn handshakes(pairs: &[Pair]) -> Result<Vec<u64>> {
    pairs.iter().map(|pair| pair.left.tunnel.latest_handshake(&pair.right.keys.public)).collect()
}

/// One second of TCP each way over each family.
fn carries_data(pair: &Pair) -> Result<()> {
    let iperf = Iperf::start(&pair.right.host)?;
    for address in Pair::RIGHT {
        for direction in [Direction::Upload, Direction::Download] {
            let started = Instant::now();
            let report = iperf
                .measure(&pair.left.host, address, 5201, 1, direction)
                .with_context(|| format!("{direction:?} to {address} after {:?}", started.elapsed()))?;
            ensure!(report.bytes > 1_000_000, "{direction:?} to {address}: {report:?}");
        }
    }
    Ok(())
}
