//! Per-interface switches under `/proc/sys/net`. Read first: ip-sysctl in the kernel's documentation.
//! Called by net.

use std::path::PathBuf;
use std::{fs, io};

use crate::tun::InterfaceName;

/// A switch of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    path: PathBuf,
}

impl Sysctl {
    /// `net.<family>.conf.<link>.<key>`; `family` is `ipv4` or `ipv6`.
    pub(super) fn of_link(family: &str, link: &InterfaceName, key: &str) -> Sysctl {
        Sysctl { path: ["/proc/sys/net", family, "conf", link.as_str(), key].iter().collect() }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    pub(super) fn read(&self) -> io::Result<String> {
        Ok(fs::read_to_string(&self.path).map_err(|error| self.blame(error))?.trim().to_owned())
    }

    /// Writes only what differs: a read-only `/proc/sys` with the right value in it is no obstacle.
    /// Returns what stood there before, if it was something else.
    pub(super) fn set(&self, value: &str) -> io::Result<Option<String>> {
        let before = self.read()?;
        if before == value {
            return Ok(None);
        }
        fs::write(&self.path, value).map_err(|error| self.blame(error))?;
        Ok(Some(before))
    }

    fn blame(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}
