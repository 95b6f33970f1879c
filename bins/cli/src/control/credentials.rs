//! Who is logged in where: one file, readable by its owner only.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_runtime::host::failure::{Exit, Failure};
use zeroize::Zeroizing;

use super::client::{Client, Place};

/// A login. No `Debug`: it has the token.
#[derive(Serialize, Deserialize)]
pub(super) struct Credentials {
    /// `https://HOST:PORT`
    pub(super) server: String,
    /// Of its certificate; absent: the system's authorities vouch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    pub(super) user: String,
    pub(super) token: String,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.token);
    }
}

impl Credentials {
    /// Those of the file; `None`: nobody is logged in.
    pub(super) fn read() -> Result<Option<Self>, Failure> {
        let path = path()?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{} is damaged", path.display()))
                .because(&error)
                .remedy("Log in again: sluice login URL.")
        })
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let path = path()?;
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(Exit::Failed, "credentials cannot be written").because(&error))?;
        replace(&path, &Zeroizing::new(text)).map_err(|error| failed("write", &path, &error))
    }

    /// Forgets the login.
    pub(super) fn remove() -> Result<(), Failure> {
        let path = path()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// A client of whoever is logged in; SLUICE_SERVER, SLUICE_FINGERPRINT and SLUICE_TOKEN come first.
pub(super) fn client() -> Result<Client, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let saved = Credentials::read()?;
    let server = variable("SLUICE_SERVER");
    // A token goes to no other server than the one that gave it.
    let saved = saved.filter(|saved| server.as_ref().is_none_or(|server| same_server(server, &saved.server)));
    let token = variable("SLUICE_TOKEN").or_else(|| saved.as_ref().map(|saved| saved.token.clone()));
    let fingerprint =
        variable("SLUICE_FINGERPRINT").or_else(|| saved.as_ref().and_then(|saved| saved.fingerprint.clone()));
    let server = server.or_else(|| saved.as_ref().map(|saved| saved.server.clone()));
    let (Some(server), Some(token)) = (server, token) else {
        return Err(Failure::new(Exit::NotLoggedIn, "nobody is logged in")
            .remedy("sluice login https://HOST:PORT, or set SLUICE_SERVER and SLUICE_TOKEN."));
    };
    let pinned = fingerprint.map(|text| text.parse()).transpose();
    let pinned = pinned
        .map_err(|error| Failure::new(Exit::Configuration, "the fingerprint is none").because(&error))?;
    Ok(Client::new(Place::parse(&server)?, pinned, Some(Zeroizing::new(token))))
}

fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn path() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let directory = directory.ok_or_else(|| {
        Failure::new(Exit::Missing, "there is no place for credentials")
            .remedy("Set HOME or XDG_CONFIG_HOME.")
    })?;
    Ok(directory.join("sluice").join("credentials.json"))
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {verb} {}", path.display())).because(error)
}

/// Mode 0600 from its first byte; whoever reads sees the old file or the new one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_is_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("sluice").join("credentials.json");
        for text in ["one, and longer", "two"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
