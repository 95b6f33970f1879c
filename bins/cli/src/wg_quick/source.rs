//! Where the text of a tunnel's file comes from, and who else may read it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sluice_runtime::host::config::fault::DocumentFault;
use sluice_runtime::host::config::{Place, Problems};
use zeroize::Zeroizing;

/// Far above any file of a thousand peers.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What standard input is called on the command line.
const STANDARD_INPUT: &str = "-";

/// Who may read a file beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nobody that matters.
    Kept,
    /// Everybody on this machine: wg-quick(8) warns of that, too.
    WorldAccessible,
}

/// Reads the file; `-` is standard input.
///
/// # Errors
/// If it cannot be read, or is too large to be what we want.
pub(crate) fn read(path: &Path) -> Result<(Zeroizing<String>, Guard), Problems> {
    if path == Path::new(STANDARD_INPUT) {
        return take(path, io::stdin().lock(), 0).map(|text| (text, Guard::Kept));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let found = file.metadata().map_err(|error| unreadable(path, &error))?;
    let guard = if found.mode() & 0o007 == 0 { Guard::Kept } else { Guard::WorldAccessible };
    take(path, file, found.len()).map(|text| (text, guard))
}

fn take(path: &Path, input: impl Read, len_hint: u64) -> Result<Zeroizing<String>, Problems> {
    // Room for all of it from the start: growing would leave copies of the key behind.
    let room = len_hint.clamp(4096, FILE_BYTES_MAX) as usize + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let read = input.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Err(error) => Err(unreadable(path, &error)),
        Ok(count) if count as u64 > FILE_BYTES_MAX => {
            Err(refused(path, DocumentFault::TooLarge { max_bytes: FILE_BYTES_MAX }))
        }
        Ok(_) => Ok(text),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    refused(path, DocumentFault::Unreadable(error.to_string()))
}

fn refused(path: &Path, fault: DocumentFault) -> Problems {
    let mut problems = Problems::of(path);
    problems.note(&Place::file(), fault);
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_everybody_may_read_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conf");
        std::fs::write(&path, "text").unwrap();
        for (mode, expected) in [
            (0o600, Guard::Kept),
            (0o640, Guard::Kept),
            (0o644, Guard::WorldAccessible),
            (0o602, Guard::WorldAccessible),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (text, guard) = read(&path).unwrap();
            assert_eq!((text.as_str(), guard), ("text", expected), "{mode:o}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_no_configuration_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        std::fs::write(&large, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        let binary = directory.path().join("binary");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        for path in [directory.path(), &large, &binary, Path::new("/nonexistent/a.conf")] {
            assert!(read(path).is_err(), "{}", path.display());
        }
    }
}
