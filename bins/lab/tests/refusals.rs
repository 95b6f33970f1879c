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

/// Nothing arrives behind the connector, nothing comes back, the router counts one more drop, for `reason` if it is given.
fn silently_dropped(chain: &Chain, reason: &str, send: impl FnOnce(&Host) -> Result<()>) -> Result<()> {
    // Hosts say which multicast groups they want whenever they like; that is not what we look for.
    let silence = "not arp and not icmp6 and not ip6 multicast";
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
