//! `[Interface]`: our end of the tunnel.

use std::net::IpAddr;

use sluice_runtime::host::config::{Place, Problems};
use wg_proto::PrivateKey;

use super::fault::FileFault;
use super::setting::{self, LeftAside, Once, Setting};

/// The least that any link carries, RFC 791.
const MTU_MIN: u16 = 576;
/// The largest inner packet that fits into a UDP datagram with its overhead, a multiple of 16.
const MTU_MAX: u16 = 65_440;
/// As wg-quick sets it on Ethernet.
const MTU_DEFAULT: u16 = 1420;

const KNOWN: &str = "PrivateKey, Address, MTU, DNS, ListenPort; left aside: Table, FwMark, SaveConfig, PreUp, PostUp, \
    PreDown, PostDown";

/// Our end, legal.
pub(crate) struct Interface {
    /// Who we are.
    pub(crate) private_key: PrivateKey,
    /// Our addresses inside the tunnel, at least one.
    pub(crate) addresses: Vec<IpAddr>,
    /// Largest inner packet.
    pub(crate) mtu_bytes: u16,
    /// Who looks names up, inside the tunnel. Empty: whoever the system asks.
    pub(crate) dns: Vec<IpAddr>,
    /// Our UDP port, if it matters.
    pub(crate) listen_port: Option<u16>,
}

/// The section half read.
#[derive(Default)]
pub(super) struct InterfaceDraft {
    private_key: Once<PrivateKey>,
    addresses: Vec<IpAddr>,
    has_address: bool,
    mtu_bytes: Once<u16>,
    dns: Vec<IpAddr>,
    listen_port: Once<u16>,
}

impl InterfaceDraft {
    /// Takes a setting, or says that it is left aside.
    pub(super) fn set(&mut self, setting: &Setting<'_>, problems: &mut Problems) -> Option<LeftAside> {
        match setting.key.to_ascii_lowercase().as_str() {
            "privatekey" => self.private_key.set(setting, problems, setting::private_key),
            "address" => {
                self.has_address = true;
                self.addresses.extend(setting.each(problems, setting::own_address));
            }
            "mtu" => self.mtu_bytes.set(setting, problems, |text| setting::number(text, MTU_MIN, MTU_MAX)),
            "listenport" => {
                self.listen_port.set(setting, problems, |text| setting::number(text, 0, u16::MAX));
            }
            "dns" => return self.dns(setting),
            key => match why_left_aside(key) {
                Some(why) => return Some(aside(setting, why)),
                None => problems
                    .note(&setting.place(), FileFault::UnknownKey { section: "Interface", known: KNOWN }),
            },
        }
        None
    }

    /// wg-quick takes what is no address for a search domain.
    fn dns(&mut self, setting: &Setting<'_>) -> Option<LeftAside> {
        let parts = || setting.value.split(',').map(str::trim);
        self.dns.extend(parts().filter_map(|part| part.parse::<IpAddr>().ok()));
        let is_domain = |part: &str| !part.is_empty() && part.parse::<IpAddr>().is_err();
        parts().any(is_domain).then(|| aside(setting, "search domains are not used: write names in full"))
    }

    /// Whether somebody may dial us.
    pub(super) fn names_port(&self) -> bool {
        !self.listen_port.is_absent()
    }

    pub(super) fn finish(self, problems: &mut Problems) -> Option<Interface> {
        let place = Place::table("Interface");
        if self.private_key.is_absent() {
            problems.note(&place, FileFault::Missing("PrivateKey"));
        }
        if !self.has_address {
            problems.note(&place, FileFault::Missing("Address"));
        }
        Some(Interface {
            private_key: self.private_key.get()?,
            addresses: self.addresses,
            mtu_bytes: self.mtu_bytes.get().unwrap_or(MTU_DEFAULT),
            dns: self.dns,
            listen_port: self.listen_port.get(),
        })
    }
}

fn why_left_aside(key: &str) -> Option<&'static str> {
    match key {
        "table" => Some("no route of this machine is set"),
        "preup" | "postup" | "predown" | "postdown" => Some("commands are not run"),
        "saveconfig" => Some("the file is not written"),
        "fwmark" => Some("packets are not marked"),
        _ => None,
    }
}

fn aside(setting: &Setting<'_>, why: &'static str) -> LeftAside {
    LeftAside { line: setting.line, key: setting.key.to_owned(), why }
}
