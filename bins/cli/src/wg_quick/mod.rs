//! A tunnel's file in the form of wg-quick(8), which the WireGuard apps read and write as well. Read first: wg(8),
//! CONFIGURATION FILE FORMAT. Called by `connect`.
//!
//! Nothing of it is run, and nothing of the host's network is set: keys that would are named in a notice.

mod fault;
mod interface;
mod line;
mod peer;
mod setting;
mod source;

use std::path::Path;

use sluice_runtime::host::config::{Place, Problems};

use self::fault::FileFault;
use self::interface::InterfaceDraft;
use self::line::{Content, lines};
use self::peer::PeerDraft;
use self::setting::Setting;

pub(crate) use self::interface::Interface;
pub(crate) use self::peer::Peer;
pub(crate) use self::setting::LeftAside;
pub(crate) use self::source::{Guard, read};

/// Peers a file may have.
const PEERS_MAX: usize = 1024;

/// A tunnel as its file describes it, legal in every respect.
pub(crate) struct TunnelFile {
    /// Our end.
    pub(crate) interface: Interface,
    /// The other ends, at least one, of which we can reach at least one.
    pub(crate) peers: Vec<Peer>,
    /// What the file asks for and we do not do.
    pub(crate) left_aside: Vec<LeftAside>,
}

/// Takes `text` for what stands in `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn parse(path: &Path, text: &str) -> Result<TunnelFile, Problems> {
    let mut problems = Problems::of(path);
    let draft = Draft::of(text, &mut problems);
    let file = draft.finish(&mut problems);
    problems.or(file)
}

/// A file half read.
#[derive(Default)]
struct Draft {
    interface: Option<InterfaceDraft>,
    peers: Vec<PeerDraft>,
    section: Section,
    left_aside: Vec<LeftAside>,
}

/// Where a setting belongs.
#[derive(Clone, Copy, Default)]
enum Section {
    /// Before the first header.
    #[default]
    None,
    /// `[Interface]`
    Interface,
    /// The last `[Peer]`
    Peer,
    /// One that nobody knows; it was complained about once.
    Unknown,
}

impl Draft {
    fn of(text: &str, problems: &mut Problems) -> Self {
        let mut draft = Self::default();
        for line in lines(text) {
            let place = line.place();
            match line.content {
                Content::Section(name) => draft.open(name, line.number, &place, problems),
                Content::Setting { key, value } => {
                    draft.set(&Setting { line: line.number, key, value }, problems);
                }
                Content::Neither => problems.note(&place, FileFault::NotASetting),
            }
        }
        draft
    }

    fn open(&mut self, name: &str, line: usize, place: &Place, problems: &mut Problems) {
        self.section = if name.eq_ignore_ascii_case("interface") {
            // wg(8) takes several for one; the first one's settings stay.
            self.interface.get_or_insert_with(InterfaceDraft::default);
            Section::Interface
        } else if name.eq_ignore_ascii_case("peer") {
            if self.peers.len() == PEERS_MAX {
                problems.note(place, FileFault::TooManyPeers { max: PEERS_MAX });
                Section::Unknown
            } else {
                self.peers.push(PeerDraft::at(line));
                Section::Peer
            }
        } else {
            problems.note(place, FileFault::UnknownSection(name.to_owned()));
            Section::Unknown
        };
    }

    fn set(&mut self, setting: &Setting<'_>, problems: &mut Problems) {
        match (self.section, &mut self.interface, self.peers.last_mut()) {
            (Section::Interface, Some(interface), _) => {
                self.left_aside.extend(interface.set(setting, problems));
            }
            (Section::Peer, _, Some(peer)) => peer.set(setting, problems),
            (Section::Unknown, _, _) => {}
            (Section::None | Section::Interface | Section::Peer, _, _) => {
                problems.note(&setting.place(), FileFault::OutsideSection);
            }
        }
    }

    fn finish(self, problems: &mut Problems) -> Option<TunnelFile> {
        let Some(interface) = self.interface else {
            problems.note(&Place::file(), FileFault::NoInterface);
            return None;
        };
        if self.peers.is_empty() {
            problems.note(&Place::file(), FileFault::NoPeer);
        }
        let can_begin = interface.names_port() || self.peers.iter().any(PeerDraft::names_endpoint);
        if !self.peers.is_empty() && !can_begin {
            problems.note(&Place::file(), FileFault::NobodyDials);
        }
        let interface = interface.finish(problems);
        let peers: Vec<_> = self.peers.into_iter().filter_map(|peer| peer.finish(problems)).collect();
        let interface = interface?;
        peer::note_duplicates(&interface, &peers, problems);
        Some(TunnelFile { interface, peers, left_aside: self.left_aside })
    }
}

#[cfg(test)]
mod tests;
