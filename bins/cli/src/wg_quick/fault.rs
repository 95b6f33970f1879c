//! What can be wrong with a tunnel's file. Secrets are never repeated.

use sluice_runtime::host::config::Fault;
use thiserror::Error;

use crate::target::TargetFault;

/// Something about the file or one of its sections.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum FileFault {
    /// Neither a header nor a setting.
    #[error("neither [Section] nor Key = Value")]
    NotASetting,
    /// A header that nobody knows.
    #[error("no section is called [{0}]")]
    UnknownSection(String),
    /// A setting before the first header.
    #[error("stands before any section")]
    OutsideSection,
    /// A key that nobody knows.
    #[error("no key is called so in [{section}]")]
    UnknownKey { section: &'static str, known: &'static str },
    /// No `[Interface]`.
    #[error("there is no [Interface]")]
    NoInterface,
    /// No `[Peer]`.
    #[error("there is no [Peer]")]
    NoPeer,
    /// More peers than anybody has.
    #[error("there are more than {max} [Peer] sections")]
    TooManyPeers { max: usize },
    /// Neither side knows where the other one is.
    #[error("no peer has an Endpoint, and [Interface] has no ListenPort: nobody can begin")]
    NobodyDials,
    /// A key that has to be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Two peers with one key.
    #[error("another peer has this PublicKey")]
    PeerTwice,
    /// The peer is us.
    #[error("the PublicKey belongs to our own PrivateKey")]
    OwnKey,
}

impl Fault for FileFault {
    fn remedy(&self) -> String {
        match self {
            Self::NotASetting => "Correct the line; comments begin with #.".into(),
            Self::UnknownSection(_) => "Write [Interface] or [Peer].".into(),
            Self::OutsideSection => "Put [Interface] or [Peer] above it.".into(),
            Self::UnknownKey { known, .. } => {
                format!("Remove it or correct the spelling; known here: {known}.")
            }
            Self::NoInterface => "Add [Interface] with PrivateKey and Address, or name another file.".into(),
            Self::NoPeer => "Add [Peer] with PublicKey, Endpoint and AllowedIPs.".into(),
            Self::TooManyPeers { .. } => "Check that this is the right file.".into(),
            Self::NobodyDials => "Add Endpoint = host:port to the [Peer].".into(),
            Self::Missing(key) => format!("Add {key} to this section."),
            Self::PeerTwice => "Merge the two [Peer] sections.".into(),
            Self::OwnKey => "Write the other side's public key.".into(),
        }
    }
}

/// A value that does not fit its key.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ValueFault {
    /// Not 32 bytes in base64.
    #[error("not a key: 44 characters of base64 are expected")]
    NotAKey,
    /// Not an address of a host.
    #[error("\"{0}\" is not an address, with or without /length")]
    NotAnAddress(String),
    /// Not a prefix.
    #[error("\"{0}\" is not a prefix such as 10.0.0.0/24 or fd00::/64")]
    NotAPrefix(String),
    /// Not a number, or out of range.
    #[error("\"{given}\" is not a number from {min} to {max}")]
    NotANumber { given: String, min: u16, max: u16 },
    /// Not `host:port`.
    #[error("{0}")]
    NotAnEndpoint(#[from] TargetFault),
    /// A key that may be there once.
    #[error("is there already, on line {first_line}")]
    Twice { first_line: usize },
}

impl Fault for ValueFault {
    fn remedy(&self) -> String {
        match self {
            Self::NotAKey => "Write what wg genkey, wg pubkey or wg genpsk printed.".into(),
            Self::NotAnAddress(_) => "Write for example 10.77.0.2/32.".into(),
            Self::NotAPrefix(_) => "Separate several by commas.".into(),
            Self::NotANumber { .. } => "Correct the number.".into(),
            Self::NotAnEndpoint(_) => {
                "Write for example vpn.example.com:51820 or [2001:db8::1]:51820.".into()
            }
            Self::Twice { .. } => "Keep one of the two.".into(),
        }
    }
}
