//! Durations: seconds, or a text as people say it.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, SpanRelativeTo};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

/// A duration in whole seconds. Written as a number, read also as `90s`, `8h`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ToSchema)]
#[schema(value_type = u64)]
pub struct Seconds(pub u64);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADuration(String);

impl fmt::Display for NotADuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no duration: write seconds, or 90s, 8h, 1h 30m", self.0)
    }
}

impl std::error::Error for NotADuration {}

impl FromStr for Seconds {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let wrong = || NotADuration(text.to_owned());
        if let Ok(seconds) = text.parse() {
            return Ok(Seconds(seconds));
        }
        let span: Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        u64::try_from(duration.as_secs()).map(Seconds).map_err(|_| wrong())
    }
}

impl fmt::Display for Seconds {
    /// As people say it: `8h`, `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units =
            [("d", self.0 / 86_400), ("h", self.0 / 3600 % 24), ("m", self.0 / 60 % 60), ("s", self.0 % 60)];
        let said: Vec<_> = units
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(unit, count)| format!("{count}{unit}"))
            .collect();
        if said.is_empty() { write!(f, "0s") } else { write!(f, "{}", said.join(" ")) }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds, or a text such as 8h")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(seconds))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                u64::try_from(seconds).map(Seconds).map_err(|_| E::custom("a duration is not negative"))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_seconds_or_as_people_say_it() {
        for (text, seconds) in
            [("90", 90), ("\"90s\"", 90), ("\"8h\"", 28_800), ("\"1h 30m\"", 5400), ("\"45\"", 45)]
        {
            assert_eq!(serde_json::from_str::<Seconds>(text).unwrap(), Seconds(seconds), "{text}");
        }
        for wrong in ["-1", "\"-8h\"", "\"soon\"", "1.5", "null"] {
            assert!(serde_json::from_str::<Seconds>(wrong).is_err(), "{wrong}");
        }
        for (seconds, said) in [(0, "0s"), (90, "1m 30s"), (28_800, "8h"), (90_061, "1d 1h 1m 1s")] {
            assert_eq!(Seconds(seconds).to_string(), said);
            assert_eq!(said.parse(), Ok(Seconds(seconds)));
        }
    }
}
