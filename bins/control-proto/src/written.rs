//! Values that stand in messages as text: keys, numbers of sessions, prefixes, selectors. Each has one spelling, so that a message
//! read and written again is the same.

use wg_proto::{IpNet, PublicKey};

use router_core::access::Uuid;
use router_core::rules::SessionId;

/// A value with one spelling.
pub(crate) trait Written: Sized {
    /// The spelling.
    fn write(&self) -> String;

    /// What is spelled so; else why nothing is.
    fn read(text: &str) -> Result<Self, String>;
}

/// For `#[serde(with = "as_text")]`.
pub(crate) mod as_text {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    use super::Written;

    pub(crate) fn serialize<T: Written, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.write())
    }

    pub(crate) fn deserialize<'de, T: Written, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(Reader(PhantomData))
    }

    struct Reader<T>(PhantomData<T>);

    impl<T: Written> Visitor<'_> for Reader<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            let value = T::read(text).map_err(E::custom)?;
            let spelling = value.write();
            if spelling == text { Ok(value) } else { Err(E::custom(format_args!("write `{spelling}`"))) }
        }
    }
}

/// For `#[serde(with = "as_optional_text", default, skip_serializing_if = "Option::is_none")]`.
pub(crate) mod as_optional_text {
    use serde::{Deserializer, Serializer};

    use super::{Written, as_text};

    pub(crate) fn serialize<T: Written, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => as_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Written, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        as_text::deserialize(deserializer).map(Some)
    }
}

/// As a UUID.
impl Written for u128 {
    fn write(&self) -> String {
        Uuid(*self).to_string()
    }

    fn read(text: &str) -> Result<u128, String> {
        text.parse().map(|uuid: Uuid| uuid.0).map_err(|_| "not a UUID".to_owned())
    }
}

impl Written for SessionId {
    fn write(&self) -> String {
        self.0.write()
    }

    fn read(text: &str) -> Result<SessionId, String> {
        u128::read(text).map(SessionId)
    }
}

/// In base64.
impl Written for PublicKey {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<PublicKey, String> {
        PublicKey::from_base64(text)
            .map_err(|_| "not a public key: expected 44 characters of base64".to_owned())
    }
}

/// With its length, and nothing behind it.
impl Written for IpNet {
    fn write(&self) -> String {
        self.trunc().to_string()
    }

    fn read(text: &str) -> Result<IpNet, String> {
        text.parse().map_err(|_| "not a prefix such as 10.0.0.0/24".to_owned())
    }
}
