//! Interface names. Read first: netdevice(7), `dev_valid_name` in the kernel. Called by tun, net.

use std::fmt;
use std::str::FromStr;

/// IFNAMSIZ without the final zero.
const NAME_BYTES_MAX: usize = 15;

/// A name the kernel would accept for an interface. The default is empty: "choose one".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

/// Not a name for an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an interface name: 1 to 15 bytes, no slash, colon or white space, not `.` or `..`")]
pub struct BadInterfaceName {
    /// What was asked for.
    pub name: String,
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("?")
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn from_kernel(name: &[u8]) -> InterfaceName {
        let len = name.len().min(NAME_BYTES_MAX);
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..len].copy_from_slice(&name[..len]);
        InterfaceName { bytes, len: len as u8 }
    }
}

impl FromStr for InterfaceName {
    type Err = BadInterfaceName;

    fn from_str(name: &str) -> Result<InterfaceName, BadInterfaceName> {
        let legal = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name != "."
            && name != ".."
            && !name.bytes().any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace());
        if legal {
            Ok(InterfaceName::from_kernel(name.as_bytes()))
        } else {
            Err(BadInterfaceName { name: name.to_owned() })
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_accepts_is_a_name() {
        for (name, legal) in [
            ("wg0", true),
            ("a23456789012345", true),
            ("a234567890123456", false),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("a:1", false),
        ] {
            assert_eq!(name.parse::<InterfaceName>().is_ok(), legal, "{name}");
        }
    }

    #[test]
    fn a_name_prints_as_it_was_written() {
        let name: InterfaceName = "sluice0".parse().expect("legal");
        assert_eq!(name.to_string(), "sluice0");
    }
}
