//! What objects are called between programs: UUIDs, drawn elsewhere.

use core::fmt;
use core::str::FromStr;

use crate::rules::SessionId;

/// 128 bits and their text: `8-4-4-4-12` hexadecimal digits. RFC 9562 section 4: written in lower case, read in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

/// Text that is not 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a UUID such as 0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6a")]
pub struct NotAnId;

const TEXT_BYTES: usize = 36;

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |shift: u32, digits: u32| (self.0 >> shift) & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 8),
            group(80, 4),
            group(64, 4),
            group(48, 4),
            group(0, 12)
        )
    }
}

impl FromStr for Uuid {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Uuid, NotAnId> {
        if text.len() != TEXT_BYTES {
            return Err(NotAnId);
        }
        let mut number = 0;
        for (at, character) in text.char_indices() {
            if matches!(at, 8 | 13 | 18 | 23) {
                (character == '-').then_some(()).ok_or(NotAnId)?;
            } else {
                number = number << 4 | u128::from(character.to_digit(16).ok_or(NotAnId)?);
            }
        }
        Ok(Uuid(number))
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Uuid {
        Uuid(id.0)
    }
}

impl From<Uuid> for SessionId {
    fn from(uuid: Uuid) -> SessionId {
        SessionId(uuid.0)
    }
}

/// Ids that cannot be swapped for each other.
macro_rules! ids {
    ($($(#[$doc:meta])+ $name:ident,)+) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid(self.0).fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<$name, NotAnId> {
                text.parse().map(|uuid: Uuid| $name(uuid.0))
            }
        }
    )+};
}

ids! {
    /// Names a user.
    UserId,
    /// Names a role.
    RoleId,
    /// Names a network target.
    TargetId,
    /// Names a tenant.
    TenantId,
    /// Names a router.
    RouterId,
    /// Names a connector.
    ConnectorId,
    /// Names a device mapping of a connector.
    MappingId,
    /// Names a user's device: a public key and its client IP.
    DeviceId,
    /// Names an approval.
    ApprovalId,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_reads_as_a_uuid_in_lower_case() {
        let text = "0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6a";
        let id: UserId = text.parse().unwrap();
        assert_eq!(id, UserId(0x0189_d7a2_3c4f_7b11_8e5a_1f2e_3d4c_5b6a));
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(id));
        assert_eq!(Uuid::from(SessionId(id.0)).to_string(), text);
        assert_eq!(SessionId::from(Uuid(7)), SessionId(7));
    }

    #[test]
    fn other_spellings_are_no_ids() {
        for text in [
            "",
            "0189d7a23c4f7b118e5a1f2e3d4c5b6a",
            "0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6",
            "0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6ag",
            "0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6g",
            "0189d7a2+3c4f-7b11-8e5a-1f2e3d4c5b6a",
            "{189d7a2-3c4f-7b11-8e5a-1f2e3d4c5b6}",
            "0189d7a2-3c4f-7b11-8e5a-1f2e3d4c5bé",
        ] {
            assert_eq!(text.parse::<TargetId>(), Err(NotAnId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(number in any::<u128>()) {
            prop_assert_eq!(RoleId(number).to_string().parse(), Ok(RoleId(number)));
        }
    }
}
