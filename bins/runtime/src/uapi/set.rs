//! The `set` operation: lines become changes of an [`Interface`]. Called by `conversation`.
//!
//! Each peer's section is applied when it ends, so a section with an error changes nothing of that peer, while the
//! sections before it stand. (wireguard-go applies line by line, the kernel message by message.)

use wg_proto::PublicKey;

use super::change::{self, PeerLine};
use super::errno::Errno;
use super::interface::{Interface, PREFIXES_PER_CHANGE_MAX, PeerChange, PrefixChange};

/// A `set` under way.
pub struct Transaction<'a, I> {
    interface: &'a I,
    interface_index: &'a dyn Fn(&str) -> Option<u32>,
    section: Section,
}

enum Section {
    /// Entered at the start.
    Device,
    /// Entered by `public_key`.
    Peer(PeerChange),
    /// Entered by our own public key: its lines are read and ignored, as everywhere.
    Ourselves,
}

impl<'a, I: Interface> Transaction<'a, I> {
    /// Begins a `set`; `interface_index` resolves interface names in scoped endpoints.
    pub fn new(interface: &'a I, interface_index: &'a dyn Fn(&str) -> Option<u32>) -> Self {
        Self { interface, interface_index, section: Section::Device }
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// Why the line, or the peer section that it ends, is refused.
    pub fn line(&mut self, line: &str) -> Result<(), Errno> {
        if let Some(key) = change::peer_begun_by(line)? {
            return self.next_peer(key);
        }
        match self.section {
            Section::Device => self.interface.change_device(change::device_line(line)?),
            Section::Peer(_) | Section::Ourselves => {
                self.peer_line(change::peer_line(line, self.interface_index)?)
            }
        }
    }

    /// Ends the `set`.
    ///
    /// # Errors
    /// Why the last peer section is refused.
    pub fn finish(mut self) -> Result<(), Errno> {
        self.end_section(Section::Device)
    }

    fn next_peer(&mut self, key: PublicKey) -> Result<(), Errno> {
        let ours = self.interface.public_key() == Some(key);
        self.end_section(if ours { Section::Ourselves } else { Section::Peer(PeerChange::of(key)) })
    }

    fn end_section(&mut self, next: Section) -> Result<(), Errno> {
        match std::mem::replace(&mut self.section, next) {
            Section::Peer(change) => self.interface.change_peer(&change),
            Section::Device | Section::Ourselves => Ok(()),
        }
    }

    fn peer_line(&mut self, line: PeerLine) -> Result<(), Errno> {
        let Section::Peer(change) = &mut self.section else { return Ok(()) };
        note(change, line);
        if change.allowed_ips.len() < PREFIXES_PER_CHANGE_MAX {
            return Ok(());
        }
        let remainder = PeerChange { update_only: true, ..PeerChange::of(change.public_key) };
        self.interface.change_peer(&std::mem::replace(change, remainder))
    }
}

fn note(change: &mut PeerChange, line: PeerLine) {
    match line {
        PeerLine::Remove => change.remove = true,
        PeerLine::UpdateOnly => change.update_only = true,
        PeerLine::PresharedKey(key) => change.preshared_key = Some(key),
        PeerLine::Endpoint(address) => change.endpoint = Some(address),
        PeerLine::Keepalive(interval) => change.persistent_keepalive = Some(interval),
        PeerLine::ReplaceAllowedIps => {
            change.replace_allowed_ips = true;
            change.allowed_ips.clear();
        }
        PeerLine::AllowedIp(net) => change.allowed_ips.push(PrefixChange::Add(net)),
        PeerLine::RemoveAllowedIp(net) => change.allowed_ips.push(PrefixChange::Remove(net)),
        PeerLine::ProtocolVersion => {}
    }
}
