//! Ranges of addresses and ports as a configuration writes them: one value, `start` and `end`, a prefix.

use std::net::IpAddr;

use ipnet::IpNet;
use router_core::selector::{IpRange, PortRange, SelectorError};
use sluice_runtime::host::config::value::{self, ValueFault};
use toml::Value;

use super::target_fault::TargetFault;

/// `"10.20.0.5"`, `"10.20.0.0/24"`, `"10.20.0.5-10.20.0.9"` or `{ start = "…", end = "…" }`.
///
/// # Errors
/// Why it is none of these.
pub(crate) fn addresses(value: &Value) -> Result<IpRange, TargetFault> {
    match table_ends(value).map(|(start, end)| (start.as_str(), end.as_str())) {
        Some((Some(start), Some(end))) => between(start, end),
        Some(_) => Err(TargetFault::NotARange(value.to_string())),
        None => addresses_in_text(value.as_str().ok_or_else(|| TargetFault::NotARange(value.to_string()))?),
    }
}

/// `22`, `"8000-8080"` or `{ start = 8000, end = 8080 }`.
///
/// # Errors
/// Why it is none of these.
pub(crate) fn ports(value: &Value) -> Result<PortRange, TargetFault> {
    let (start, end) = numeric_ends(value)
        .or_else(|| value.as_integer().map(|port| (port, port)))
        .ok_or_else(|| TargetFault::NotPorts(value.to_string()))?;
    let empty = |_| TargetFault::EmptyRange { start: start.to_string(), end: end.to_string() };
    PortRange::new(port(start)?, port(end)?).map_err(empty)
}

/// Addresses beyond the first: the size less one, which fits even for all of IPv6.
pub(crate) fn last_offset(range: &IpRange) -> u128 {
    bits(range.end()) - bits(range.start())
}

/// Whether all of `range` lies in `net`.
pub(crate) fn within(range: &IpRange, net: &IpNet) -> bool {
    net.contains(&range.start()) && net.contains(&range.end())
}

/// Whether some of `range` lies in `net`.
pub(crate) fn touches(range: &IpRange, net: &IpNet) -> bool {
    range.overlaps(&IpRange::from(*net))
}

fn addresses_in_text(text: &str) -> Result<IpRange, TargetFault> {
    if text.contains('/') {
        return value::prefix(text).map(IpRange::from).map_err(TargetFault::Value);
    }
    match text.split_once('-') {
        Some((start, end)) => between(start.trim(), end.trim()),
        None => address(text).map(IpRange::single),
    }
}

fn between(start: &str, end: &str) -> Result<IpRange, TargetFault> {
    let (start, end) = (address(start)?, address(end)?);
    IpRange::new(start, end).map_err(|error| match error {
        SelectorError::MixedVersions => TargetFault::MixedVersions { start, end },
        SelectorError::EmptyRange | SelectorError::PortsWithoutProtocol => {
            TargetFault::EmptyRange { start: start.to_string(), end: end.to_string() }
        }
    })
}

/// The ends of a table that has just these two keys.
fn table_ends(value: &Value) -> Option<(&Value, &Value)> {
    let table = value.as_table().filter(|table| table.len() == 2)?;
    Some((table.get("start")?, table.get("end")?))
}

fn numeric_ends(value: &Value) -> Option<(i64, i64)> {
    if let Some((start, end)) = value.as_str().and_then(|text| text.split_once('-')) {
        return Some((start.trim().parse().ok()?, end.trim().parse().ok()?));
    }
    let (start, end) = table_ends(value)?;
    Some((start.as_integer()?, end.as_integer()?))
}

fn address(text: &str) -> Result<IpAddr, TargetFault> {
    text.parse().map_err(|_| TargetFault::Value(ValueFault::NotAnAddress(text.to_owned())))
}

fn port(given: i64) -> Result<u16, TargetFault> {
    value::port(given).map(u16::from).map_err(TargetFault::Value)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_range_is_one_address_a_prefix_or_two_ends_in_order() {
        for (text, expected) in [
            ("'10.20.0.5'", Some("10.20.0.5")),
            ("'10.20.0.0/30'", Some("10.20.0.0-10.20.0.3")),
            ("'10.20.0.5-10.20.0.9'", Some("10.20.0.5-10.20.0.9")),
            ("{ start = 'fd00::1', end = 'fd00::ff' }", Some("fd00::1-fd00::ff")),
            ("{ start = '10.0.0.9', end = '10.0.0.1' }", None),
            ("{ start = '10.0.0.9', end = 'fd00::1' }", None),
            ("{ start = '10.0.0.1' }", None),
            ("{ start = '10.0.0.1', end = '10.0.0.2', step = 1 }", None),
            ("{ start = 1, end = 2 }", None),
            ("'10.20.0.1/30'", None),
            ("'db.example.com'", None),
            ("5", None),
        ] {
            let parsed = addresses(&toml(text)).ok().map(|range| range.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ports_are_one_port_or_two_ends_in_order() {
        for (text, expected) in [
            ("22", Some("22")),
            ("'8000-8080'", Some("8000-8080")),
            ("{ start = 1, end = 65535 }", Some("1-65535")),
            ("0", None),
            ("65536", None),
            ("{ start = 9, end = 1 }", None),
            ("'ssh'", None),
            ("'22'", None),
        ] {
            let parsed = ports(&toml(text)).ok().map(|ports| ports.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_lies_within_touches_or_misses_a_prefix() {
        for (text, is_within, touching) in [
            ("'10.0.0.1-10.0.0.9'", true, true),
            ("'10.0.0.250-10.0.1.1'", false, true),
            ("'10.0.1.1'", false, false),
            ("'fd00::1'", false, false),
        ] {
            let (range, net) = (addresses(&toml(text)).unwrap(), "10.0.0.0/24".parse().unwrap());
            assert_eq!((within(&range, &net), touches(&range, &net)), (is_within, touching), "{text}");
        }
    }

    fn toml(text: &str) -> Value {
        format!("x = {text}").parse::<toml::Table>().unwrap().remove("x").unwrap()
    }
}
