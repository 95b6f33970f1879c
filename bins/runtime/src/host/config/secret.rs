//! Secrets come from files only their owner can read, never from the configuration, the command line or the
//! environment.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use wg_proto::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use super::fault::Fault;

/// A key in base64 is 44 characters; some white space around it is fine.
const SECRET_BYTES_MAX: u64 = 256;

/// Why a secret was not taken. The secret itself is never repeated.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SecretFault {
    /// The system does not let us read it.
    #[error("{path}: cannot be read: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A directory, a device, …
    #[error("{0}: not a regular file")]
    NotAFile(PathBuf),
    /// Somebody else than its owner may use it.
    #[error("{path}: others may read or change it (mode {mode:04o})")]
    OpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs neither to us nor to root.
    #[error("{path}: belongs to user {owner}, not to us or to root")]
    ForeignOwner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It holds something else than one key in base64.
    #[error("{0}: not one key in base64")]
    NotAKey(PathBuf),
}

impl Fault for SecretFault {
    fn remedy(&self) -> String {
        match self {
            Self::Unreadable { path, .. } => {
                format!(
                    "Check the path, or make a key: (umask 077; sluice-router genkey > {})",
                    path.display()
                )
            }
            Self::NotAFile(_) => "Name the file that holds the key.".into(),
            Self::OpenToOthers { path, .. } => {
                format!("chmod 600 {}; if others may have read it, make a new key.", path.display())
            }
            Self::ForeignOwner { path, .. } => format!("chown {} {}", uid(), path.display()),
            Self::NotAKey(_) => "The file is to hold what genkey or genpsk printed, and nothing else.".into(),
        }
    }
}

/// Reads a private key, in base64 as `wg genkey` prints it.
///
/// # Errors
/// Why it is not taken.
pub fn private_key(path: &Path) -> Result<PrivateKey, SecretFault> {
    PrivateKey::from_base64(read(path)?.trim()).map_err(|_| SecretFault::NotAKey(path.to_owned()))
}

/// Reads a preshared key, in base64 as `wg genpsk` prints it.
///
/// # Errors
/// Why it is not taken.
pub fn preshared_key(path: &Path) -> Result<PresharedKey, SecretFault> {
    PresharedKey::from_base64(read(path)?.trim()).map_err(|_| SecretFault::NotAKey(path.to_owned()))
}

fn read(path: &Path) -> Result<Zeroizing<String>, SecretFault> {
    let unreadable =
        |error: std::io::Error| SecretFault::Unreadable { path: path.to_owned(), reason: error.to_string() };
    let file = File::open(path).map_err(unreadable)?;
    check_guarded(path, &file.metadata().map_err(unreadable)?)?;
    // Room for all of it from the start: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
    file.take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|_| SecretFault::NotAKey(path.to_owned()))?;
    Ok(text)
}

/// The checks are made on the open file: a name may be given to another one meanwhile.
fn check_guarded(path: &Path, found: &std::fs::Metadata) -> Result<(), SecretFault> {
    if !found.is_file() {
        return Err(SecretFault::NotAFile(path.to_owned()));
    }
    let mode = found.mode() & 0o7777;
    if mode & forbidden_bits(path) != 0 {
        return Err(SecretFault::OpenToOthers { path: path.to_owned(), mode });
    }
    if found.uid() != 0 && found.uid() != uid() {
        return Err(SecretFault::ForeignOwner { path: path.to_owned(), owner: found.uid() });
    }
    Ok(())
}

/// In systemd's credential directory the group bits are the mask of an access list that names only the service's user.
fn forbidden_bits(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    if credentials.is_some_and(|directory| path.starts_with(directory)) { 0o037 } else { 0o077 }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn only_a_guarded_file_with_one_key_is_taken() {
        for (name, mode, content, taken) in [
            ("good", 0o600, format!("{KEY}\n"), true),
            ("read-only", 0o400, KEY.to_owned(), true),
            ("group", 0o640, KEY.to_owned(), false),
            ("world", 0o604, KEY.to_owned(), false),
            ("empty", 0o600, String::new(), false),
            ("two", 0o600, format!("{KEY}\n{KEY}\n"), false),
            ("long", 0o600, KEY.repeat(100), false),
        ] {
            let path = scratch(name, mode, &content);
            assert_eq!(private_key(&path).is_ok(), taken, "{name}");
            assert_eq!(preshared_key(&path).is_ok(), taken, "{name}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn the_fault_names_the_file_and_never_its_content() {
        let path = scratch("fault", 0o644, KEY);
        let fault = private_key(&path).err().unwrap();
        assert_eq!(fault, SecretFault::OpenToOthers { path: path.clone(), mode: 0o644 });
        assert!(!format!("{fault} {fault:?} {}", fault.remedy()).contains(KEY));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_directory_or_nothing_is_no_secret() {
        assert!(matches!(private_key(&std::env::temp_dir()), Err(SecretFault::NotAFile(_))));
        assert!(matches!(private_key(Path::new("/nonexistent/key")), Err(SecretFault::Unreadable { .. })));
    }

    fn scratch(name: &str, mode: u32, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sluice-secret-{}-{name}", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}
