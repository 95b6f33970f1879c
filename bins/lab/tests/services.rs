//! A client uses a device's services through router and connector, as if it stood beside it.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::peer::Implementation;
use sluice_lab::services::{Direction, Dns, Nginx};
use sluice_lab::sluice::Dial;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{Lab, lab_test, probe};

#[test]
fn page_login_name_and_throughput_work_when_the_server_dials() {
    lab_test(|lab| every_service(lab, Dial::Server));
}

#[test]
fn page_login_name_and_throughput_work_when_the_connector_dials() {
    lab_test(|lab| every_service(lab, Dial::Connector));
}

#[test]
fn a_megabyte_passes_a_hop_with_an_mtu_of_1280_in_both_directions() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { far: true, ..ChainConfig::default() })?;
        for address in Spot::Far.target(0) {
            let line = format!("curl -sS --max-time 20 http://{}/megabyte | wc -c", bracketed(&address));
            let down = chain.client.sh(&line)?.ok()?;
            ensure!(down.stdout.trim() == "1000000", "download over {address}: {down}");
            let sshd = chain.sites[0].far_sshd.as_ref().expect("the far device has an sshd");
            let up = sshd.log_in(&chain.client, &address, 22, "wc -c", &vec![b'u'; 1_000_000])?.ok()?;
            ensure!(up.stdout.trim() == "1000000", "upload over {address}: {up}");
            ensure!(up.took < Duration::from_secs(15), "upload over {address} took {:?}", up.took);
        }
        Ok(())
    });
}

#[test]
fn two_tenants_with_the_same_network_are_used_at_once_and_never_mixed_up() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { sites: 2, ..ChainConfig::default() })?;
        for round in 0..5 {
            for (site, other) in [(0, 1), (1, 0)] {
                for address in Spot::Device.target(site) {
                    let page = chain
                        .client
                        .sh(&format!("curl -sS --max-time 5 http://{}/", bracketed(&address)))?
                        .ok()?;
                    let expected = Nginx::greeting(&format!("device{site}"));
                    ensure!(page.stdout == expected, "round {round}, not site {other}: {page}");
                }
            }
        }
        let lines: Vec<String> = (0..2)
            .map(|site| {
                let [address, _] = Spot::Device.target(site);
                format!("curl -sS --max-time 20 http://{address}/megabyte | wc -c")
            })
            .collect();
        let both = chain.client.sh(&format!("{} & {}; wait", lines[0], lines[1]))?.ok()?;
        ensure!(both.stdout.split_whitespace().eq(["1000000", "1000000"]), "{both}");
        let open: Result<Vec<_>> = (0..2)
            .map(|site| {
                probe::accept(&chain.sites[site].device, 7000)?;
                probe::hold(&chain.client, &Spot::Device.target(site)[0], 7000)
            })
            .collect();
        open?.iter().try_for_each(sluice_lab::Process::check_running)
    });
}

#[test]
fn without_source_translation_the_device_sees_the_clients_own_address() {
    lab_test(|lab| {
        let config = ChainConfig { src_nat: false, connector_snat: false, ..ChainConfig::default() };
        let chain = Chain::start(lab, &config)?;
        sees(&chain, Chain::CLIENT)
    });
}

#[test]
fn with_source_translation_at_the_connector_only_the_device_sees_the_egress_address() {
    lab_test(|lab| {
        let config = ChainConfig { src_nat: false, connector_snat: true, ..ChainConfig::default() };
        let chain = Chain::start(lab, &config)?;
        sees(&chain, ["192.168.7.200", "fd07::200"])
    });
}

#[test]
fn with_source_translation_at_the_router_only_the_device_sees_the_router() {
    lab_test(|lab| {
        let config = ChainConfig { src_nat: true, connector_snat: false, ..ChainConfig::default() };
        let chain = Chain::start(lab, &config)?;
        sees(&chain, Chain::ROUTER)
    });
}

/// What ssh on the device says about where its client is, v4 and v6.
#[test]
fn super_packets_that_the_lan_sends_reach_the_connector_in_one_piece() {
    lab_test(|lab| {
        let chain =
            Chain::start(lab, &ChainConfig { client: Implementation::Sluice, ..ChainConfig::default() })?;
        let site = &chain.sites[0];
        let counted = || -> Result<[u64; 2]> {
            let status = site.connector.program.status()?;
            Ok(["worker_tun_reads", "worker_tun_segments"].map(|name| status.counter(name)))
        };
        let before = counted()?;
        site.iperf.measure(&chain.client, &Spot::Device.target(0)[0], 5201, 2, Direction::Download)?;
        let after = counted()?;
        let [reads, segments] = [0, 1].map(|which| after[which] - before[which]);
        ensure!(segments > 8 * reads, "{segments} segments were read in {reads} pieces");
        Ok(())
    });
}

fn sees(chain: &Chain, expected: [&str; 2]) -> Result<()> {
    for (address, expected) in Spot::Device.target(0).iter().zip(expected) {
        let login =
            chain.sites[0].sshd.log_in(&chain.client, address, 22, "echo $SSH_CONNECTION", b"")?.ok()?;
        let seen = login.stdout.split_whitespace().next().unwrap_or_default();
        ensure!(seen == expected, "the device sees {seen}, not {expected}");
    }
    Ok(())
}

fn every_service(lab: &Lab, dial: Dial) -> Result<()> {
    let chain = Chain::start(lab, &ChainConfig { dial, ..ChainConfig::default() })?;
    let (client, site) = (&chain.client, &chain.sites[0]);
    for address in Spot::Device.target(0) {
        let page = client.sh(&format!("curl -sS --max-time 10 http://{}/", bracketed(&address)))?.ok()?;
        ensure!(page.stdout == Nginx::greeting("device0"), "{page}");
        let login = site.sshd.log_in(client, &address, 22, "hostname > /dev/null; wc -c", b"five!")?.ok()?;
        ensure!(login.stdout.trim() == "5", "{login}");
        for (kind, expected) in [("A", Dns::ADDRESS), ("AAAA", Dns::ADDRESS_V6)] {
            let name =
                client.sh(&format!("dig +short +tries=2 +time=3 @{address} {} {kind}", Dns::NAME))?.ok()?;
            ensure!(name.stdout.trim() == expected, "{name}");
        }
        for direction in [Direction::Upload, Direction::Download] {
            let report = site.iperf.measure(client, &address, 5201, 2, direction)?;
            ensure!(report.bytes > 1_000_000, "{direction:?} to {address}: {report:?}");
        }
    }
    sees(&chain, ["192.168.7.200", "fd07::200"])
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
