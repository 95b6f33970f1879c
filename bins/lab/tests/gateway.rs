//! A router behind somebody else's VPN gateway: clients' packets arrive unencrypted on its TUN.

use anyhow::ensure;
use sluice_lab::services::{Direction, Nginx};
use sluice_lab::topology::{Chain, ChainConfig, Entry, Spot};
use sluice_lab::{lab_test, probe};

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
