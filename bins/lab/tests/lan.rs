//! A router with `tun` egress into a network, without a connector.

use anyhow::{Result, ensure};
use sluice_lab::lab_test;
use sluice_lab::services::{Direction, Nginx};
use sluice_lab::topology::{Entry, Lan, LanConfig};

#[test]
fn with_source_translation_the_network_sees_the_egress_address_and_nothing_stays_behind() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: true, entry: Entry::Tunnel, by_sockets: false })?;
        pages(&lan, Lan::EGRESS)?;
        let host = lan.router.program.host();
        let proxies = || -> Result<String> {
            let v4 = host.sh("ip -4 neigh show proxy")?.stdout;
            Ok(v4 + &host.sh("ip -6 neigh show proxy")?.stdout)
        };
        for address in Lan::EGRESS {
            ensure!(
                proxies()?.contains(&format!("{address} dev lan0")),
                "{address} is not answered for: {}",
                proxies()?
            );
        }
        lan.router.program.stop()?;
        ensure!(proxies()?.is_empty(), "left behind: {}", proxies()?);
        ensure!(!host.sh("ip link show sluice0")?.succeeded(), "the TUN interface is still there");
        Ok(())
    });
}

#[test]
fn without_source_translation_ping_and_traceroute_behave_as_through_an_ordinary_router() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: false, entry: Entry::Tunnel, by_sockets: false })?;
        pages(&lan, Lan::CLIENT)?;
        for (family, far, hops) in [
            ("-4", Lan::FAR[0], ["10.99.0.1", "192.168.7.1", "192.168.7.254", "192.168.9.10"]),
            ("-6", Lan::FAR[1], ["fd99::1", "fd07::1", "fd07::254", "fd09::10"]),
        ] {
            let ping = lan.client.sh(&format!("ping {family} -n -c 3 -i 0.2 -W 2 {far}"))?.ok()?;
            ensure!(ping.stdout.contains(" 0% packet loss"), "{ping}");
            let trace = lan.client.sh(&format!("traceroute {family} -n -q 1 -w 2 -m 8 {far}"))?.ok()?;
            let seen: Vec<&str> =
                trace.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            ensure!(seen.first() == hops.first() && seen.last() == hops.last(), "{trace}");
            ensure!(seen.contains(&hops[2]) && !seen.contains(&"*"), "{trace}");
        }
        let path = lan.client.sh(&format!("tracepath -n {}", Lan::FAR[0]))?.ok()?;
        ensure!(path.stdout.contains("reached"), "{path}");
        Ok(())
    });
}

/// Fetches a page over both families; the device has seen `visitors`.
fn pages(lan: &Lan, visitors: [&str; 2]) -> Result<()> {
    for (address, visitor) in Lan::DEVICE.iter().zip(visitors) {
        let url = if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
        let page = lan
            .client
            .sh(&format!("curl -sS --max-time 5 http://{url}/{visitor}; curl -sS http://{url}/"))?
            .ok()?;
        ensure!(page.stdout.ends_with(&Nginx::greeting("device")), "{page}");
        let seen = lan.nginx.visitors()?;
        ensure!(seen.contains(&format!("{visitor} /{visitor}")), "the device has seen {seen:?}");
        let report = lan.iperf.measure(&lan.client, address, 5201, 1, Direction::Download)?;
        ensure!(report.bytes > 1_000_000, "{report:?}");
    }
    Ok(())
}
