//! Everybody who takes part, at work. Steps 1 and 2 of the demonstration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sluice_runtime::host::failure::Failure;
use sluice_runtime::service::Waker;
use tokio::time::sleep;

use super::cast::{self, Keys};
use super::device::{Echo, Web};
use super::node::Node;
use super::papers::{Devices, Papers};
use super::steps::{Outcome, Steps};
use crate::connect::{Dialer, Tunnel};
use crate::wg_quick;

/// How often one looks whether a tunnel is up.
const STEP: Duration = Duration::from_millis(2);
/// What the router calls the connector in its configuration.
const CONNECTOR_NAME: &str = "site";

/// Everybody. They leave in the order in which they stand here.
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) connector: Node,
    pub(super) router: Node,
    /// It only has to be there.
    _web: Web,
    pub(super) echo: Echo,
    pub(super) papers: Papers,
    pub(super) keys: Keys,
    /// The router's UDP port.
    pub(super) port: u16,
}

/// The built-in client.
pub(super) struct Client {
    /// It only has to be there.
    _tunnel: Tunnel,
    pub(super) dialer: Dialer,
}

impl Stage {
    /// Starts them all.
    ///
    /// # Errors
    /// Which step failed.
    pub(super) fn set(steps: &Steps<'_>, port: u16, waker: &Waker) -> Result<Self, Failure> {
        steps.terminal.title("1. Devices and a router start, as an ordinary user, in this one process");
        let (papers, keys) = (Papers::new()?, Keys::new()?);
        let (web, echo) = steps.take("two devices", devices())?;
        let router = steps.take("a router", router(&papers, &keys, port))?;
        let port = router.status()?.listen_port;
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        steps.terminal.title("2. A connector and a client dial it: two WireGuard tunnels");
        let devices = Devices { web: web.address(), echo: echo.address() };
        let connector =
            steps.take("the connector's tunnel", connector(&papers, &keys, here, &devices, &router))?;
        let client = steps.take("the client's tunnel", client(&papers, &keys, here, waker))?;
        Ok(Self { client, connector, router, _web: web, echo, papers, keys, port })
    }
}

async fn devices() -> Outcome<(Web, Echo)> {
    let (web, echo) = (Web::start().await?, Echo::start().await?);
    let told = format!("web page at {}, echo :{}", web.address(), echo.address().port());
    Ok(((web, echo), told))
}

async fn router(papers: &Papers, keys: &Keys, port: u16) -> Outcome<Node> {
    let file = papers.router(keys, port)?;
    let node =
        Node::start("router", &papers.path("router.sock"), move |wakes| sluice_router::embed(&file, wakes))?;
    let port = node.status()?.listen_port;
    Ok((node, format!("listens on UDP port {port}")))
}

async fn connector(
    papers: &Papers,
    keys: &Keys,
    address: SocketAddr,
    devices: &Devices,
    router: &Node,
) -> Outcome<Node> {
    let file = papers.connector(keys, address, devices)?;
    let socket = papers.path("connector.sock");
    let node = Node::start("connector", &socket, move |wakes| sluice_connector::embed(&file, wakes))?;
    while !has_handshake(router, CONNECTOR_NAME)? {
        sleep(STEP).await;
    }
    Ok((node, "dialled the router; handshake completed".to_owned()))
}

fn has_handshake(router: &Node, name: &str) -> Result<bool, Failure> {
    let peers = router.status()?.peers;
    Ok(peers.iter().any(|peer| peer.name == name && peer.handshake_age_secs.is_some()))
}

async fn client(papers: &Papers, keys: &Keys, router: SocketAddr, waker: &Waker) -> Outcome<Client> {
    let path = papers.client(keys, router)?;
    let (text, _) = wg_quick::read(&path)?;
    let file = wg_quick::parse(&path, &text)?;
    let mut tunnel = Tunnel::start(&file, waker.clone()).await?;
    tunnel.handshake().await;
    let dialer = tunnel.dialer();
    Ok((Client { _tunnel: tunnel, dialer }, format!("handshake completed; it is {}", cast::CLIENT)))
}
