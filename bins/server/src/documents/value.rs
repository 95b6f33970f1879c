//! Single values of documents: addresses, ports, protocols, keys, times of day. Each error says what would be right.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use router_core::packet::Protocol;
use router_core::selector::{IpRange, PortRange, SelectorError};
use sluice_api::{AddressSpec, PortSpec};
use wg_proto::PublicKey;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SelectorError> for Wrong {
    fn from(error: SelectorError) -> Self {
        Wrong(error.to_string())
    }
}

/// Says what is wrong.
pub(crate) fn wrong(why: impl Into<String>) -> Wrong {
    Wrong(why.into())
}

/// One address, a prefix, or a range.
pub(crate) fn addresses(spec: &AddressSpec) -> Result<IpRange, Wrong> {
    match spec {
        AddressSpec::Range { start, end } => Ok(IpRange::new(address(start)?, address(end)?)?),
        AddressSpec::Text(text) => {
            if let Ok(prefix) = text.parse::<IpNet>() {
                if prefix.trunc() != prefix {
                    return Err(wrong(format!(
                        "{text} has bits beyond its length: write {} or {}",
                        prefix.trunc(),
                        prefix.addr()
                    )));
                }
                return Ok(prefix.into());
            }
            match text.split_once('-') {
                Some((start, end)) => Ok(IpRange::new(address(start.trim())?, address(end.trim())?)?),
                None => address(text).map(IpRange::single),
            }
        }
    }
}

/// One address.
pub(crate) fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| {
        wrong(format!(
            "{text:?} is no address: write 10.0.0.1, 10.0.0.0/24, 10.0.0.1-10.0.0.9, or the same of IPv6"
        ))
    })
}

/// One port, or a range.
pub(crate) fn ports(spec: &PortSpec) -> Result<PortRange, Wrong> {
    let number = |text: &str| {
        text.trim()
            .parse::<u16>()
            .map_err(|_| wrong(format!("{text:?} is no port: write 22, or \"8000-8009\"")))
    };
    match spec {
        PortSpec::One(port) => Ok(PortRange::single(*port)),
        PortSpec::Range { start, end } => Ok(PortRange::new(*start, *end)?),
        PortSpec::Text(text) => match text.split_once('-') {
            Some((start, end)) => Ok(PortRange::new(number(start)?, number(end)?)?),
            None => number(text).map(PortRange::single),
        },
    }
}

/// `tcp` or `udp`, in either case.
pub(crate) fn protocol(text: &str) -> Result<Protocol, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::TCP),
        "udp" => Ok(Protocol::UDP),
        _ => Err(wrong(format!("{text:?} is no protocol here: write tcp or udp, or leave it out for any"))),
    }
}

/// A WireGuard public key in base64.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Wrong> {
    text.parse().map_err(|_| {
        wrong(format!("{text:?} is no public key: write the 44 characters that `wg pubkey` prints"))
    })
}

/// An address that one host can have.
pub(crate) fn host(address: IpAddr) -> Result<IpAddr, Wrong> {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_broadcast {
        return Err(wrong(format!("{address} is no address that one host can have")));
    }
    Ok(address)
}

/// Minutes of the day: `08:00` to `24:00`.
pub(crate) fn time_of_day(text: &str) -> Result<u16, Wrong> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours <= 24 && minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
    });
    parsed.ok_or_else(|| wrong(format!("{text:?} is no time of day: write 08:00")))
}

/// Minutes east of UTC: `+02:00`.
pub(crate) fn utc_offset(text: &str) -> Result<i16, Wrong> {
    let parsed = (|| {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        ((0..=14).contains(&hours) && (0..60).contains(&minutes)).then_some(sign * (hours * 60 + minutes))
    })();
    parsed.ok_or_else(|| wrong(format!("{text:?} is no offset from UTC: write +02:00")))
}

/// At most this long, and readable.
pub(crate) fn text(given: &str, bytes_max: usize) -> Result<(), Wrong> {
    if given.len() > bytes_max {
        return Err(wrong(format!("it has {} bytes, at most {bytes_max} are kept", given.len())));
    }
    match given.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        Some(c) => Err(wrong(format!("it holds the control character U+{:04X}", u32::from(c)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_each_of_their_forms() {
        let text = |text: &str| addresses(&AddressSpec::Text(text.to_owned())).map(|range| range.to_string());
        for (given, range) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.0/24", "10.0.0.0-10.0.0.255"),
            ("10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"),
            ("fd00::/127", "fd00::-fd00::1"),
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
        ] {
            assert_eq!(text(given), Ok(range.to_owned()));
        }
        for (given, why) in [
            ("10.0.0.1/24", "bits beyond"),
            ("10.0.0.9-10.0.0.1", "ends before"),
            ("10.0.0.1-fd00::1", "one IP version"),
            ("db.example", "is no address"),
            ("10.0.0.1:22", "is no address"),
            ("", "is no address"),
        ] {
            assert!(text(given).unwrap_err().0.contains(why), "{given}: {:?}", text(given));
        }
    }

    #[test]
    fn times_and_offsets_have_bounds() {
        for (text, minutes) in [
            ("00:00", Some(0)),
            ("08:30", Some(510)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("8", None),
            ("08:60", None),
        ] {
            assert_eq!(time_of_day(text).ok(), minutes, "{text}");
        }
        for (text, minutes) in [
            ("+02:00", Some(120)),
            ("-03:30", Some(-210)),
            ("02:00", None),
            ("+15:00", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(utc_offset(text).ok(), minutes, "{text}");
        }
    }

    #[test]
    fn ports_are_numbers_or_ranges() {
        let text = |text: &str| ports(&PortSpec::Text(text.to_owned())).map(|range| range.to_string()).ok();
        assert_eq!(text("22"), Some("22".to_owned()));
        assert_eq!(text("8000-8009"), Some("8000-8009".to_owned()));
        assert_eq!((text("65536"), text("9-8"), text("ssh")), (None, None, None));
    }
}
