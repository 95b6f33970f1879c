//! `genkey`, `genpsk` and `pubkey`: the same input and output as those of `wg`.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use wg_proto::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use crate::entropy;

/// A key is 44 characters; some white space around it is fine.
const INPUT_BYTES_MAX: usize = 256;

/// Prints a new private key.
///
/// # Errors
/// If the system has no randomness or the output is gone.
pub fn genkey() -> Result<(), Failure> {
    warn_if_others_can_read();
    let seed = Zeroizing::new(seed()?);
    print(&PrivateKey::from_bytes(*seed).to_base64())
}

/// Prints a new preshared key.
///
/// # Errors
/// If the system has no randomness or the output is gone.
pub fn genpsk() -> Result<(), Failure> {
    warn_if_others_can_read();
    let seed = Zeroizing::new(seed()?);
    print(&PresharedKey::from_bytes(*seed).to_base64())
}

/// Reads a private key from standard input, prints its public key.
///
/// # Errors
/// If the input is no key.
pub fn pubkey() -> Result<(), Failure> {
    let key = read_key(io::stdin().lock())?;
    print(&key.public_key().to_string())
}

fn read_key(input: impl Read) -> Result<PrivateKey, Failure> {
    // Room for all of it from the start: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(INPUT_BYTES_MAX));
    let read = input.take(INPUT_BYTES_MAX as u64).read_to_string(&mut text);
    let key = read.ok().and_then(|_| PrivateKey::from_base64(text.trim()).ok());
    key.ok_or_else(|| {
        Failure::new(Exit::Failed, "standard input is not a private key in base64")
            .remedy("Feed it what genkey printed: sluice-router pubkey < router.key")
    })
}

fn seed() -> Result<[u8; 32], Failure> {
    entropy::seed().map_err(|error| Failure::of_system("the system gives no randomness", &error))
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}")
        .map_err(|error| Failure::of_system("cannot write to standard output", &error))
}

/// As `wg` warns: a key redirected into a file that everybody may read is no secret.
fn warn_if_others_can_read() {
    let stdout = io::stdout();
    let open = rustix::fs::fstat(stdout.as_fd()).is_ok_and(|found| {
        rustix::fs::FileType::from_raw_mode(found.st_mode).is_file() && found.st_mode & 0o007 != 0
    });
    if open && !stdout.is_terminal() {
        eprintln!("Warning: writing to a file that others can read. Set umask 077 and try again.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_or_without_the_end_of_its_line() {
        let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        for (input, taken) in [
            (key.to_owned(), true),
            (format!("{key}\n"), true),
            (format!("{key}\n{key}\n"), false),
            (String::new(), false),
            (key.repeat(1000), false),
        ] {
            assert_eq!(read_key(input.as_bytes()).is_ok(), taken, "{input:.50}");
        }
    }
}
