//! What no rule allows: the configured refusal where the sender is known, silence where it is not, a counter always.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::capture::Capture;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{Host, lab_test, probe, retry};

#[test]
fn denied_traffic_gets_the_configured_refusal_and_a_counter() {
    for (deny_signal, udp, tcp) in [
        ("prohibited", "error EHOSTUNREACH", "error EHOSTUNREACH"),
        ("reset", "error EHOSTUNREACH", "error ECONNREFUSED"),
        ("silent", "silence", "silence"),
    ] {
        lab_test(|lab| {
            let chain = Chain::start(lab, &ChainConfig { deny_signal, ..ChainConfig::default() })?;
            for address in Spot::Device.target(0) {
                // The v6 stack has its own name for the same refusal.
                let expected = |outcome: &str| match outcome {
                    "error EHOSTUNREACH" if address.contains(':') => "error EACCES".to_owned(),
                    other => other.to_owned(),
                };
                let before = chain.router.program.status()?.all_drops();
                let seen = probe::udp(&chain.client, &address, 4444)?;
                ensure!(seen == expected(udp), "{deny_signal}, UDP to {address}: {seen}");
                let seen = probe::tcp(&chain.client, &address, 4444)?;
                ensure!(seen == expected(tcp), "{deny_signal}, TCP to {address}: {seen}");
                let after = chain.router.program.status()?.all_drops();
                ensure!(after >= before + 2, "{deny_signal}: {before} drops before, {after} after");
            }
            Ok(())
        });
    }
}

#[test]
fn a_spoofed_inner_source_gets_nothing_and_a_counter() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for (address, other) in Spot::Device.target(0).iter().zip(["10.77.0.99", "fd77::99"]) {
            silently_dropped(&chain, "source_not_assigned", |client| {
                probe::inject(client, "udp", other, address, 53).map(drop)
            })?;
        }
        Ok(())
    });
}

#[test]
fn a_reply_without_a_flow_gets_nothing_and_a_counter() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for (address, own) in Spot::Device.target(0).iter().zip(Chain::CLIENT) {
            for kind in ["tcp-ack", "tcp-syn-ack", "echo-reply"] {
                silently_dropped(&chain, "", |client| {
                    probe::inject(client, kind, own, address, 80).map(drop)
                })?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_fragment_without_its_first_piece_gets_nothing_and_a_counter() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for (address, own) in Spot::Device.target(0).iter().zip(Chain::CLIENT) {
            silently_dropped(&chain, "", |client| {
                probe::inject(client, "fragment", own, address, 53).map(drop)
            })?;
        }
        Ok(())
    });
}

#[test]
fn p33_overlay_addresses_answer_in_their_tunnel_and_nowhere_else() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for address in Chain::ROUTER {
            chain.client.wait_for_ping(address.parse()?, Duration::from_secs(5))?;
        }
        let (connector, device) = (&chain.sites[0].connector.program, &chain.sites[0].device);
        // Both hosts are wrong, on purpose: they think that the way there is the connector's interface.
        for (overlay, next) in [("10.99.0.0/24", "192.168.7.1"), ("fd99::/64", "fd07::1")] {
            device.route(overlay, next)?;
            let family = if overlay.contains(':') { "-6" } else { "-4" };
            connector.host().ip(&format!("{family} route add {overlay} dev sluice0"))?;
        }
        for (number, address) in (0..).zip(["10.99.0.2", "fd99::2"]) {
            let reason = "overlay_address_outside_tunnel";
            let before = connector.status()?.drops(reason);
            for host in [device, connector.host()] {
                let virtual_port = 40_000 + 1000 * number;
                let outcome = probe::tcp(host, address, virtual_port)?;
                ensure!(outcome == "silence", "{} reaches {address}: {outcome}", host.name());
                let ping = host.sh(&format!("ping -n -c 1 -W 1 {address}"))?;
                ensure!(!ping.succeeded(), "{ping}");
            }
            let after = connector.status()?.drops(reason);
            ensure!(after >= before + 4, "{before} drops before, {after} after");
        }
        // Nor can anybody in the LAN speak as the router.
        for (router, egress) in Chain::ROUTER.iter().zip(["192.168.7.200", "fd07::200"]) {
            let back = Capture::start(device, "lan0", "udp or icmp")?;
            let before = connector.status()?.all_drops();
            probe::inject(device, "udp", router, egress, 40_002)?;
            retry("one more counted drop", Duration::from_secs(5), || {
                Ok((connector.status()?.all_drops() > before).then_some(()))
            })?;
            let answers = back.lines(&format!("dst host {router}"))?;
            ensure!(answers.is_empty(), "answered: {answers:?}");
            back.stop()?;
        }
        ensure!(
            probe::tcp(&chain.client, &Spot::Device.target(0)[0], 80)? == "connected",
            "the client's way"
        );
        Ok(())
    });
}

/// Nothing arrives behind the connector, nothing comes back, the router counts one more drop, for `reason` if it is given.
fn silently_dropped(chain: &Chain, reason: &str, send: impl FnOnce(&Host) -> Result<()>) -> Result<()> {
    // Hosts say which multicast groups they want whenever they like; that is not what we look for.
    let silence = "not arp and not igmp and not icmp6 and not ip6 multicast";
    let behind = Capture::start(&chain.sites[0].device, "lan0", silence)?;
    let back = Capture::start(&chain.client, chain.tunnel.name(), "inbound")?;
    let before = chain.router.program.status()?;
    send(&chain.client)?;
    let (passed, answers) = (behind.lines("")?, back.lines("")?);
    ensure!(passed.is_empty(), "passed: {passed:?}");
    ensure!(answers.is_empty(), "answered: {answers:?}");
    // An early fragment is parked for 15 seconds before it is given up.
    retry("one more counted drop", Duration::from_secs(20), || {
        Ok((chain.router.program.status()?.all_drops() > before.all_drops()).then_some(()))
    })?;
    let after = chain.router.program.status()?;
    if !reason.is_empty() {
        ensure!(after.drops(reason) > before.drops(reason), "not counted as {reason}: {}", after.json());
    }
    behind.stop()?;
    back.stop()
}
