//! ICMP errors reach the client's own stack through both translations, for selectors that name only TCP or UDP.

use anyhow::ensure;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{lab_test, probe};

#[test]
fn a_closed_udp_port_refuses_the_clients_socket() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for address in Spot::Device.target(0) {
            let outcome = probe::udp(&chain.client, &address, 9)?;
            ensure!(outcome == "error ECONNREFUSED", "closed UDP port at {address}: {outcome}");
        }
        Ok(())
    });
}

#[test]
fn a_closed_tcp_port_refuses_the_clients_socket() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for address in Spot::Device.target(0) {
            let outcome = probe::tcp(&chain.client, &address, 81)?;
            ensure!(outcome == "error ECONNREFUSED", "closed TCP port at {address}: {outcome}");
        }
        Ok(())
    });
}

#[test]
fn a_dead_host_is_reported_as_unreachable() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for (family, address) in ["-4", "-6"].into_iter().zip(Spot::Dead.target(0)) {
            let tcp = probe::tcp(&chain.client, &address, 80)?;
            ensure!(tcp == "error EHOSTUNREACH", "TCP to the dead host {address}: {tcp}");
            // A UDP socket is told of this error only if it asks for it; traceroute does.
            let line = format!("traceroute {family} -n -q 1 -w 5 -f 5 -m 5 -U -p 9 {address}");
            let udp = chain.client.sh(&line)?.ok()?;
            ensure!(udp.stdout.contains("!H"), "UDP to the dead host: {udp}");
        }
        Ok(())
    });
}

#[test]
fn errors_come_from_the_address_that_the_client_asked() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        let capture =
            sluice_lab::capture::Capture::start(&chain.client, chain.tunnel.name(), "icmp or icmp6")?;
        for address in Spot::Device.target(0) {
            probe::udp(&chain.client, &address, 9)?;
        }
        let text = capture.lines("")?.join("\n");
        for (address, client) in Spot::Device.target(0).iter().zip(Chain::CLIENT) {
            ensure!(text.contains(&format!("{address} > {client}: ")), "no error from {address}:\n{text}");
        }
        ensure!(!text.contains("192.168.7.") && !text.contains("fd07::"), "an inner address shows:\n{text}");
        Ok(())
    });
}

#[test]
fn traceroute_shows_router_connector_and_the_hops_behind() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { far: true, ..ChainConfig::default() })?;
        for (family, address, router) in [
            ("-4", &Spot::Far.target(0)[0], Chain::ROUTER[0]),
            ("-6", &Spot::Far.target(0)[1], Chain::ROUTER[1]),
        ] {
            let trace =
                chain.client.sh(&format!("traceroute {family} -n -q 1 -w 2 -m 8 -U -p 9 {address}"))?.ok()?;
            let hops: Vec<&str> =
                trace.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            // Router, connector, the connector host's kernel, two hops, the device itself.
            ensure!(hops.first() == Some(&router), "the first hop is the router: {trace}");
            ensure!(hops.last() == Some(&address.as_str()), "the last hop is the target: {trace}");
            ensure!((5..=6).contains(&hops.len()) && !hops.contains(&"*"), "every hop answers: {trace}");
        }
        Ok(())
    });
}

#[test]
fn the_path_mtu_behind_the_connector_reaches_the_client() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { far: true, ..ChainConfig::default() })?;
        for (family, address) in ["-4", "-6"].into_iter().zip(Spot::Far.target(0)) {
            let trace = chain
                .client
                .sh(&format!("traceroute {family} -n -q 1 -w 2 -m 8 --mtu -U -p 9 {address}"))?
                .ok()?;
            ensure!(trace.stdout.contains("F=1280"), "{trace}");
            let route = chain.client.sh(&format!("ip {family} route get {address}"))?.ok()?;
            ensure!(route.stdout.contains("mtu 1280"), "the client's stack has not learnt it: {route}");
        }
        Ok(())
    });
}
