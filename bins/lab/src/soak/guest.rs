//! Somebody who may come in now and then: a second tunnel on the client's machine, with routes of its own.

use anyhow::Result;

use crate::keys::KeyPair;
use crate::peer::{Implementation, InterfaceConfig, WireguardInterface};
use crate::sluice::{Client, RouterConfig, Session};
use crate::topology::{Chain, Spot};

const ADDRESS: &str = "10.77.0.9";
/// The routing table for packets from [`ADDRESS`].
const TABLE: u32 = 9;
/// The guest may still hold the session of its last visit, which the router has forgotten: it notices after
/// KEEPALIVE_TIMEOUT + REKEY_TIMEOUT (paper §6.2, §6.5), 15 s. And packets may get lost.
const VISIT_SECONDS: u32 = 25;
/// Enough to be let in by mistake with the session of a minute ago.
const INTRUSION_SECONDS: u32 = 2;

#[derive(Debug)]
pub(crate) struct Guest {
    keys: KeyPair,
    tunnel: WireguardInterface,
}

impl Guest {
    pub(crate) fn arrive(chain: &Chain) -> Result<Guest> {
        let (lab, keys) = (chain.client.lab(), KeyPair::generate(chain.client.lab())?);
        let config = InterfaceConfig {
            name: &lab.interface('q'),
            keys: &keys,
            listen_port: 0,
            addresses: &[&format!("{ADDRESS}/32")],
            mtu: 1420,
        };
        let tunnel = WireguardInterface::start(&chain.client, Implementation::WireguardGo, &config)?;
        tunnel.peer(chain.router_key(), "endpoint 203.0.113.1:51820 allowed-ips 10.20.0.0/15")?;
        chain.client.ip(&format!("rule add from {ADDRESS} lookup {TABLE}"))?;
        chain.client.ip(&format!("route add 10.20.0.0/15 dev {} table {TABLE}", tunnel.name()))?;
        Ok(Guest { keys, tunnel })
    }

    /// Puts its peer and its session into a router's configuration.
    pub(crate) fn invite(&self, config: &mut RouterConfig) {
        config.clients.push(Client {
            name: "guest".into(),
            public_key: self.keys.public.clone(),
            addresses: vec![ADDRESS.into()],
        });
        config.sessions.push(Session { client_ip: ADDRESS.into(), target: "site0".into() });
    }

    /// Asks for a page as one who is invited; true if it gets it.
    pub(crate) fn visit(&self) -> Result<bool> {
        self.asks_within(VISIT_SECONDS)
    }

    /// Asks for a page as one who is not; true if it gets it all the same.
    pub(crate) fn intrude(&self) -> Result<bool> {
        self.asks_within(INTRUSION_SECONDS)
    }

    fn asks_within(&self, seconds: u32) -> Result<bool> {
        let [v4, _] = Spot::Device.target(0);
        let line = format!("curl -sS --interface {ADDRESS} --max-time {seconds} http://{v4}/");
        Ok(self.tunnel.host().sh(&line)?.succeeded())
    }
}
