//! A router behind somebody else's VPN gateway: clients' packets arrive unencrypted on its TUN.

use anyhow::{Result, ensure};
use sluice_lab::services::{Direction, Nginx};
use sluice_lab::sluice::Program;
use sluice_lab::topology::{Chain, ChainConfig, Entry, Lan, LanConfig, Spot};
use sluice_lab::{NET_ADMIN, Privileges, lab_test, probe};

#[test]
fn clients_of_a_foreign_gateway_reach_devices_under_the_same_rules() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { entry: Entry::Gateway, ..ChainConfig::default() })?;
        let site = &chain.sites[0];
        for address in Spot::Device.target(0) {
            let url = if address.contains(':') { format!("[{address}]") } else { address.clone() };
            let page = chain.client.sh(&format!("curl -sS --max-time 5 http://{url}/"))?.ok()?;
            ensure!(page.stdout == Nginx::greeting("device0"), "{page}");
            let report = site.iperf.measure(&chain.client, &address, 5201, 1, Direction::Upload)?;
            ensure!(report.bytes > 1_000_000, "{report:?}");
            let closed = probe::udp(&chain.client, &address, 9)?;
            ensure!(closed == "error ECONNREFUSED", "closed UDP port: {closed}");
            let denied = probe::tcp(&chain.client, &address, 4444)?;
            ensure!(denied.starts_with("error E"), "denied port: {denied}");
        }
        Ok(())
    });
}

#[test]
fn clients_of_a_foreign_gateway_leave_by_the_interface_that_they_came_in_by() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: true, entry: Entry::Gateway, by_sockets: false })?;
        for (address, egress) in Lan::TARGET.into_iter().zip(Lan::EGRESS) {
            let url = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let page = lan.client.sh(&format!("curl -sS --max-time 5 http://{url}/"))?.ok()?;
            ensure!(page.stdout == Nginx::greeting("device"), "{page}");
            let seen = lan.nginx.visitors()?;
            ensure!(seen.iter().any(|visit| visit.starts_with(egress)), "the device has seen {seen:?}");
            let report = lan.iperf.measure(&lan.client, address, 5201, 1, Direction::Download)?;
            ensure!(report.bytes > 1_000_000, "{report:?}");
            let closed = probe::udp(&lan.client, address, 9)?;
            ensure!(closed == "error ECONNREFUSED", "closed UDP port: {closed}");
        }
        // Neither a stranger behind the gateway nor a client without a session is let through.
        for stranger in ["10.77.0.3/24", "fd77::3/64"] {
            lan.client.address("vpn0", stranger)?;
        }
        let before = lan.router.program.status()?.all_drops();
        for (address, stranger) in Lan::TARGET.into_iter().zip(["10.77.0.3", "fd77::3"]) {
            let url = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let page =
                lan.client.sh(&format!("curl -sS --max-time 2 --interface {stranger} http://{url}/"))?;
            ensure!(!page.succeeded(), "{page}");
        }
        let after = lan.router.program.status()?.all_drops();
        ensure!(after >= before + 2, "{before} drops before, {after} after");
        Ok(())
    });
}

/// Both have an interface, so each keeps the one capability for that; metrics come and go with a reload.
#[test]
fn router_and_connector_give_up_what_they_do_not_need_and_tell_what_they_count() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { entry: Entry::Gateway, ..ChainConfig::default() })?;
        for program in [&chain.router.program, &chain.sites[0].connector.program] {
            let left = Privileges::of(program.process().pid())?;
            ensure!(left.iter().eq([&Privileges::hardened(NET_ADMIN)]), "its threads have {left:?}");
            let first = std::fs::read_to_string(program.config())?;
            ensure!(!metrics(program)?.succeeded(), "metrics are told to whoever asks");
            program.reload(&format!("{first}\n[operations]\nmetrics = \"127.0.0.1:9586\"\n"))?;
            let page = metrics(program)?.ok()?.stdout;
            for line in [
                "sluice_peers ",
                "sluice_rules ",
                "sluice_dropped_packets_total{reason=",
                "sluice_worker_udp_datagrams_total ",
                "# EOF",
            ] {
                ensure!(page.contains(line), "{line} is not in\n{page}");
            }
            program.reload(&format!("{first}\n[operations]\nhardening = false\n"))?;
            let log = program.process().log();
            ensure!(log.contains("hardening cannot change while the node runs"), "{log}");
            ensure!(metrics(program)?.succeeded(), "a configuration that was refused changed something");
        }
        Ok(())
    });
}

fn metrics(program: &Program) -> Result<sluice_lab::Output> {
    program.host().sh("curl -sS --fail --max-time 5 http://127.0.0.1:9586/metrics")
}
