//! Who takes part: keys and addresses. The addresses are those of the picture in the README.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sluice_runtime::entropy;
use sluice_runtime::host::failure::Failure;
use wg_proto::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Where the client believes the devices to be.
pub(super) const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 5));
/// Its web page there.
pub(super) const WEB: SocketAddr = SocketAddr::new(DEVICE, 80);
/// Its echo service there, RFC 862.
pub(super) const ECHO: SocketAddr = SocketAddr::new(DEVICE, 7);
/// The built-in client.
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
/// Whoever joins with the printed configuration.
pub(super) const GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 3));
/// The router's own address inside the tunnels.
pub(super) const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
/// The connector's own address inside the tunnels.
pub(super) const CONNECTOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
/// What access is asked for.
pub(super) const TARGET: &str = "devices";

/// A private key, in base64 only where a file needs it.
pub(super) struct Identity {
    private: PrivateKey,
}

/// All keys, made anew for each run.
pub(super) struct Keys {
    pub(super) router: Identity,
    pub(super) connector: Identity,
    pub(super) client: Identity,
    pub(super) guest: Identity,
}

impl Identity {
    fn new() -> Result<Self, Failure> {
        let seed =
            entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))?;
        Ok(Self { private: PrivateKey::from_bytes(seed) })
    }

    /// The half for the others.
    pub(super) fn public(&self) -> PublicKey {
        self.private.public_key()
    }

    /// The half for its own file.
    pub(super) fn to_base64(&self) -> Zeroizing<String> {
        self.private.to_base64()
    }
}

impl Keys {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            router: Identity::new()?,
            connector: Identity::new()?,
            client: Identity::new()?,
            guest: Identity::new()?,
        })
    }
}
