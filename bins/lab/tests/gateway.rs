//! A router behind somebody else's VPN gateway: clients' packets arrive unencrypted on its TUN.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
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

/// What PrivX calls when a session begins and ends, with its arguments as they come, at a router that has no server.
#[test]
fn a_session_of_privx_opens_the_way_and_closes_it() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: true, entry: Entry::Gateway, by_sockets: false })?;
        let mut bare = lan.router.config.clone();
        bare.sessions.clear();
        bare.targets.clear();
        lan.router.reload(&bare)?;
        let [device, _] = Lan::TARGET;
        let [client, _] = Lan::CLIENT;
        let one = |ip: &str| json!({ "start": ip, "end": ip });
        let port = |port: u16| json!({ "start": port, "end": port });
        let network = json!({
            "src": client, "src_nat": true,
            "dst": [
                { "selector": { "ip": one(device), "proto": "tcp", "port": port(8080) },
                  "nat": { "addr": Lan::DEVICE[0], "port": 80 } },
                { "selector": { "ip": one(device), "proto": "TCP", "port": port(7000) }, "nat": { "addr": Lan::DEVICE[0] } },
            ],
        });
        let router =
            json!({ "client_ip_pool": ["10.77.0.0/24"], "parameters": "anything", "hostname": "gw" });
        let session = json!({ "session_id": "5f", "target_id": "9b", "target_name": "prod web" });
        let integration = json!({ "type": "l3rules", "source_id": "1", "source_name": "n" });
        let privx = |verb: &str, network: &serde_json::Value| {
            lan.router
                .program
                .ask(&format!("privx {verb} '{network}' '{router}' '{session}' '{integration}'"))
        };
        let page = || lan.client.sh(&format!("curl -sS --max-time 2 http://{device}:8080/"));
        ensure!(!page()?.succeeded(), "reached before the session");

        for _ in 0..2 {
            privx("add", &network)?.ok()?;
        }
        ensure!(page()?.ok()?.stdout == Nginx::greeting("device"), "no page with the session");
        let shown = lan.router.program.status()?;
        ensure!(shown.json().to_string().contains("prod_web"), "{}", shown.json());
        lan.router.reload(&bare)?;
        ensure!(page()?.succeeded(), "a reload took what was granted");
        let server = probe::accept(&lan.device, 7000)?;
        let held = probe::hold(&lan.client, device, 7000)?;

        let foreign = json!({ "src": "192.0.2.77", "dst": network["dst"] });
        let refused = privx("add", &foreign)?;
        ensure!(!refused.succeeded() && refused.stderr.contains("192.0.2.77"), "{refused}");
        let broken = lan.router.program.ask("privx add '{' '{}' '{}'")?;
        ensure!(broken.code == Some(3), "{broken}");

        for _ in 0..2 {
            privx("del", &network)?.ok()?;
        }
        for end in [&held, &server] {
            end.wait_for_log("ended: ", Duration::from_secs(10))?;
        }
        ensure!(!page()?.succeeded(), "reached after the session");
        Ok(())
    });
}
