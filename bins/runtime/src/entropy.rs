//! Randomness from the operating system, once per node: everything else is drawn from the seed.
//! Read first: getrandom(2). Called by the binaries.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// A seed for a node. Waits for the kernel's pool early in boot; fails only without the system call.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        match getrandom(&mut seed[filled..], GetRandomFlags::empty()) {
            Ok(bytes) => filled += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().expect("seed"), seed().expect("seed"));
    }
}
