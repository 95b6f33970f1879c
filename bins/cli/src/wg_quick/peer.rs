//! `[Peer]`: who is at the other end.

use std::collections::HashSet;
use std::num::NonZeroU16;

use ipnet::IpNet;
use sluice_runtime::host::config::{Place, Problems};
use wg_proto::{PresharedKey, PublicKey};

use super::fault::{FileFault, ValueFault};
use super::interface::Interface;
use super::setting::{self, Once, Setting};
use crate::target::Target;

const KNOWN: &str = "PublicKey, PresharedKey, Endpoint, AllowedIPs, PersistentKeepalive";

/// The other end, legal.
pub(crate) struct Peer {
    /// Where its section begins.
    line: usize,
    /// Who it is.
    pub(crate) public_key: PublicKey,
    /// Mixed into the handshake.
    pub(crate) preshared_key: Option<PresharedKey>,
    /// Where it is.
    pub(crate) endpoint: Option<Target>,
    /// What it may send from, and what we send to it.
    pub(crate) allowed_ips: Vec<IpNet>,
    /// Seconds between keepalives.
    pub(crate) persistent_keepalive: Option<NonZeroU16>,
}

/// The section half read.
#[derive(Default)]
pub(super) struct PeerDraft {
    line: usize,
    public_key: Once<PublicKey>,
    preshared_key: Once<PresharedKey>,
    endpoint: Once<Target>,
    allowed_ips: Vec<IpNet>,
    persistent_keepalive: Once<Option<NonZeroU16>>,
}

impl PeerDraft {
    /// An empty one whose header stands on `line`.
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    pub(super) fn set(&mut self, setting: &Setting<'_>, problems: &mut Problems) {
        match setting.key.to_ascii_lowercase().as_str() {
            "publickey" => self.public_key.set(setting, problems, setting::public_key),
            "presharedkey" => self.preshared_key.set(setting, problems, setting::preshared_key),
            "endpoint" => {
                self.endpoint.set(setting, problems, |text| text.parse().map_err(ValueFault::NotAnEndpoint));
            }
            "allowedips" => self.allowed_ips.extend(setting.each(problems, setting::prefix)),
            "persistentkeepalive" => self.persistent_keepalive.set(setting, problems, setting::keepalive),
            _ => problems.note(&setting.place(), FileFault::UnknownKey { section: "Peer", known: KNOWN }),
        }
    }

    /// Whether we may dial it.
    pub(super) fn names_endpoint(&self) -> bool {
        !self.endpoint.is_absent()
    }

    pub(super) fn finish(self, problems: &mut Problems) -> Option<Peer> {
        if self.public_key.is_absent() {
            problems.note(&place(self.line), FileFault::Missing("PublicKey"));
        }
        Some(Peer {
            line: self.line,
            public_key: self.public_key.get()?,
            preshared_key: self.preshared_key.get(),
            endpoint: self.endpoint.get(),
            allowed_ips: self.allowed_ips,
            persistent_keepalive: self.persistent_keepalive.get().flatten(),
        })
    }
}

/// One key belongs to one peer, and none of them is ours.
pub(super) fn note_duplicates(interface: &Interface, peers: &[Peer], problems: &mut Problems) {
    let own = interface.private_key.public_key();
    let mut seen = HashSet::new();
    for peer in peers {
        if peer.public_key == own {
            problems.note(&place(peer.line), FileFault::OwnKey);
        } else if !seen.insert(peer.public_key) {
            problems.note(&place(peer.line), FileFault::PeerTwice);
        }
    }
}

fn place(line: usize) -> Place {
    Place::file().field(&format!("line {line}: [Peer]"))
}
