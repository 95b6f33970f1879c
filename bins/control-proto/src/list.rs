//! Lists that stop being read where they are longer than they may be.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::Written;

/// At most `MAX` of them.
pub(crate) fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Bounded::<PhantomData<T>, MAX>(PhantomData))
}

/// At most `MAX` of them, each a text.
pub(crate) fn texts_at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Written,
{
    let texts: Vec<AsText<T>> = at_most::<_, _, MAX>(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

/// Each as a text.
pub(crate) fn write_texts<S: Serializer, T: Written>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(Written::write))
}

struct AsText<T>(T);

impl<'de, T: Written> Deserialize<'de> for AsText<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AsText<T>, D::Error> {
        crate::written::as_text::deserialize(deserializer).map(AsText)
    }
}

impl<T: Written> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::written::as_text::serialize(&self.0, serializer)
    }
}

struct Bounded<E, const MAX: usize>(E);

impl<'de, E, const MAX: usize> Visitor<'de> for Bounded<E, MAX>
where
    E: DeserializeSeed<'de> + Copy,
{
    type Value = Vec<E::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(element) = list.next_element_seed(self.0)? {
            if read.len() == MAX {
                return Err(A::Error::custom(format_args!("more than {MAX} elements")));
            }
            read.push(element);
        }
        Ok(read)
    }
}
