//! Many peers of one plain interface of ours, configured by `wg` as anybody would.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::peer::{Implementation, InterfaceConfig, WireguardInterface};
use sluice_lab::probe::{self, Crowd};
use sluice_lab::{Host, KeyPair, Lab, Mtu, Port, lab_test};

/// Thousands of peers are one command for `wg`, on a machine that does other things beside.
const CONFIGURE_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_thousand_peers_get_in_and_each_is_answered_in_its_own_tunnel() {
    lab_test(|lab| {
        let place = Place::new(lab)?;
        place.configure("setconf", 1000)?;
        ensure!(place.listed("peers")?.len() == 1000, "not all peers are listed");
        let all = Crowd { sessions: 1000, answered: 1000 };
        let seen = place.crowd((0, 1000), 60)?;
        ensure!(seen == all, "{seen:?}");
        ensure!(place.sessions()? == 1000, "{} handshakes are shown", place.sessions()?);
        let mut endpoints: Vec<String> = place.listed("endpoints")?.into_iter().map(|line| line.1).collect();
        endpoints.sort();
        endpoints.dedup();
        ensure!(endpoints.len() == 1000, "{} different endpoints are shown", endpoints.len());

        // One command takes half of them away. The others keep their sessions.
        place.configure("syncconf", 500)?;
        ensure!(place.listed("peers")?.len() == 500 && place.sessions()? == 500, "other peers than wanted");
        let stayed = place.crowd((400, 100), 30)?;
        ensure!(stayed == Crowd { sessions: 100, answered: 100 }, "{stayed:?}");
        let gone = place.crowd((500, 100), 2)?;
        ensure!(gone == Crowd { sessions: 0, answered: 0 }, "{gone:?}");
        Ok(())
    });
}

#[test]
fn ten_thousand_peers_are_configured_and_listed_and_any_of_them_get_in() {
    lab_test(|lab| {
        let place = Place::new(lab)?;
        place.configure("setconf", 10_000)?;
        ensure!(place.listed("allowed-ips")?.len() == 10_000, "not all peers are listed");
        for first in [0, 5_000, 9_900] {
            let seen = place.crowd((first, 100), 30)?;
            ensure!(seen == Crowd { sessions: 100, answered: 100 }, "from {first} on: {seen:?}");
        }
        // The same configuration again changes nothing.
        place.configure("syncconf", 10_000)?;
        ensure!(place.listed("peers")?.len() == 10_000 && place.sessions()? == 300, "something has changed");
        Ok(())
    });
}

/// An interface of ours, and a host with room for a crowd.
struct Place {
    hub: Host,
    outside: Host,
    tunnel: WireguardInterface,
    keys: KeyPair,
}

impl Place {
    const GATEWAY: &str = "10.9.0.1";
    const PORT: u16 = 51820;

    fn new(lab: &Lab) -> Result<Place> {
        let (hub, outside) = (lab.host("hub")?, lab.host("outside")?);
        lab.cable(
            Port::new(&hub, "wan0", &["203.0.113.1/24"]),
            Port::new(&outside, "wan0", &["203.0.113.2/24"]),
            Mtu::ETHERNET,
        )?;
        // A whole prefix of addresses of its own, without adding each.
        outside.ip(&format!("route add local {} dev lo", probe::CROWD_OUTSIDE))?;
        hub.route(probe::CROWD_OUTSIDE, "203.0.113.2")?;
        let (keys, name) = (KeyPair::generate(lab)?, lab.interface('h'));
        let config = InterfaceConfig {
            name: &name,
            keys: &keys,
            listen_port: Place::PORT,
            addresses: &["10.9.0.1/24"],
            mtu: 1420,
        };
        let tunnel = WireguardInterface::start(&hub, Implementation::Sluice, &config)?;
        tunnel.route(probe::CROWD_INSIDE)?;
        Ok(Place { hub, outside, tunnel, keys })
    }

    /// `wg setconf` or `wg syncconf` with the first `peers` members.
    fn configure(&self, how: &str, peers: u32) -> Result<()> {
        let interface =
            format!("[Interface]\nPrivateKey = {}\nListenPort = {}\n", self.keys.private, Place::PORT);
        let text = interface + &probe::crowd_peers(&self.hub, 0, peers)?;
        let file = self.hub.lab().file("crowd.conf", text)?;
        let line = format!("wg {how} {} {}", self.tunnel.name(), file.display());
        self.hub.sh_within(&line, CONFIGURE_LIMIT)?.ok().map(drop)
    }

    fn crowd(&self, members: (u32, u32), seconds: u32) -> Result<Crowd> {
        let endpoint = format!("203.0.113.1:{}", Place::PORT);
        probe::crowd(&self.outside, &endpoint, &self.keys.public, Place::GATEWAY, members, seconds)
    }

    /// `wg show INTERFACE WHAT`: each peer's key and what is said of it.
    fn listed(&self, what: &str) -> Result<Vec<(String, String)>> {
        let text = self.tunnel.show(what)?.stdout;
        let split = |line: &str| {
            let (key, rest) = line.split_once('\t').unwrap_or((line, ""));
            (key.to_owned(), rest.to_owned())
        };
        Ok(text.lines().map(split).collect())
    }

    /// Peers with whom a handshake is shown.
    fn sessions(&self) -> Result<usize> {
        Ok(self.listed("latest-handshakes")?.iter().filter(|(_, at)| at != "0").count())
    }
}
