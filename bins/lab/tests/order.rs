//! Several workers share the work of one program; what belongs to one flow stays in order.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use sluice_lab::lab_test;
use sluice_lab::peer::Implementation;
use sluice_lab::probe::{self, Counted};
use sluice_lab::topology::{Chain, ChainConfig, Spot};

/// More than a test machine has cores, so that workers are interrupted by others.
const WORKERS: u16 = 4;
/// To each of two sites, IPv4 to one and IPv6 to the other.
const FLOWS: u32 = 8;
/// Of each flow, there and back.
const DATAGRAMS: u32 = 12_800;

#[test]
fn no_datagram_overtakes_another_of_its_flow_on_its_way_there_and_back() {
    lab_test(|lab| {
        lab.quiet();
        let client = Implementation::Sluice;
        let config = ChainConfig { sites: 2, workers: WORKERS, client, ..ChainConfig::default() };
        let chain = Chain::start(lab, &config)?;
        for counted in at_once(&chain) {
            let Counted { received, reordered, .. } = counted?;
            ensure!(received >= u64::from(FLOWS * DATAGRAMS), "only {received} came back");
            ensure!(reordered == 0, "{reordered} of {received} came after a later one");
        }
        Ok(())
    });
}

/// To both sites at the same time.
fn at_once(chain: &Chain) -> [Result<Counted>; 2] {
    thread::scope(|scope| {
        let sites = [0, 1].map(|site| scope.spawn(move || to_site(chain, site)));
        sites.map(|thread| thread.join().map_err(|_| anyhow!("a site's thread panicked"))?)
    })
}

fn to_site(chain: &Chain, site: usize) -> Result<Counted> {
    let echo = probe::echo(&chain.sites[site].device, 5201)?;
    let counted = probe::order(&chain.client, &Spot::Device.target(site)[site], 5201, FLOWS, DATAGRAMS)?;
    echo.stop()?;
    Ok(counted)
}
