//! Ranges of addresses and ports as a configuration writes them: one value, `start` and `end`, a prefix.

use std::net::IpAddr;

use ipnet::IpNet;
use sluice_runtime::host::config::value;
use toml::Value;

use super::target_fault::TargetFault;

/// Addresses of one version, both ends included, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressRange {
    start: IpAddr,
    end: IpAddr,
}

/// Ports, both ends included, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    start: u16,
    end: u16,
}

impl AddressRange {
    /// # Errors
    /// If the versions differ or the ends are the wrong way round.
    pub(crate) fn new(start: IpAddr, end: IpAddr) -> Result<Self, TargetFault> {
        if start.is_ipv4() != end.is_ipv4() {
            return Err(TargetFault::MixedVersions { start, end });
        }
        if start > end {
            return Err(TargetFault::EmptyRange { start: start.to_string(), end: end.to_string() });
        }
        Ok(Self { start, end })
    }

    pub(crate) fn single(address: IpAddr) -> Self {
        Self { start: address, end: address }
    }

    pub(crate) fn start(self) -> IpAddr {
        self.start
    }

    pub(crate) fn end(self) -> IpAddr {
        self.end
    }

    pub(crate) fn is_ipv4(self) -> bool {
        self.start.is_ipv4()
    }

    pub(crate) fn is_single(self) -> bool {
        self.start == self.end
    }

    /// Addresses beyond the first: the size less one, which fits even for all of v6.
    pub(crate) fn last_offset(self) -> u128 {
        bits(self.end) - bits(self.start)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.start <= other.end && other.start <= self.end
    }

    /// Whether every address lies in `net`.
    pub(crate) fn within(self, net: &IpNet) -> bool {
        net.contains(&self.start) && net.contains(&self.end)
    }

    /// Whether an address lies in `net`.
    pub(crate) fn touches(self, net: &IpNet) -> bool {
        self.overlaps(Self { start: net.network(), end: net.broadcast() })
    }

    /// `"10.20.0.5"`, `"10.20.0.0/24"`, `"10.20.0.5-10.20.0.9"` or `{ start = "…", end = "…" }`.
    ///
    /// # Errors
    /// Why it is none of these.
    pub(crate) fn from_toml(value: &Value) -> Result<Self, TargetFault> {
        match ends(value) {
            Some((start, end)) => Self::new(address(start)?, address(end)?),
            None => Self::from_text(value.as_str().ok_or_else(|| TargetFault::NotARange(value.to_string()))?),
        }
    }

    fn from_text(text: &str) -> Result<Self, TargetFault> {
        if text.contains('/') {
            let net = value::prefix(text).map_err(TargetFault::Value)?;
            return Self::new(net.network(), net.broadcast());
        }
        match text.split_once('-') {
            Some((start, end)) => Self::new(address(start.trim())?, address(end.trim())?),
            None => address(text).map(Self::single),
        }
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_single() { write!(f, "{}", self.start) } else { write!(f, "{}-{}", self.start, self.end) }
    }
}

impl Ports {
    /// # Errors
    /// If the ends are the wrong way round.
    pub(crate) fn new(start: u16, end: u16) -> Result<Self, TargetFault> {
        if start > end {
            return Err(TargetFault::EmptyRange { start: start.to_string(), end: end.to_string() });
        }
        Ok(Self { start, end })
    }

    pub(crate) fn start(self) -> u16 {
        self.start
    }

    pub(crate) fn end(self) -> u16 {
        self.end
    }

    pub(crate) fn is_single(self) -> bool {
        self.start == self.end
    }

    pub(crate) fn last_offset(self) -> u16 {
        self.end - self.start
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// `22`, `"8000-8080"` or `{ start = 8000, end = 8080 }`.
    ///
    /// # Errors
    /// Why it is none of these.
    pub(crate) fn from_toml(value: &Value) -> Result<Self, TargetFault> {
        if let Some((start, end)) = numeric_ends(value) {
            return Self::new(port(start)?, port(end)?);
        }
        value
            .as_integer()
            .ok_or_else(|| TargetFault::NotPorts(value.to_string()))
            .and_then(port)
            .and_then(|port| Self::new(port, port))
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_single() { write!(f, "{}", self.start) } else { write!(f, "{}-{}", self.start, self.end) }
    }
}

/// The ends of a table that has just these two keys.
fn table_ends(value: &Value) -> Option<(&Value, &Value)> {
    let table = value.as_table().filter(|table| table.len() == 2)?;
    Some((table.get("start")?, table.get("end")?))
}

fn ends(value: &Value) -> Option<(&str, &str)> {
    let (start, end) = table_ends(value)?;
    Some((start.as_str()?, end.as_str()?))
}

fn numeric_ends(value: &Value) -> Option<(i64, i64)> {
    if let Some((start, end)) = value.as_str().and_then(|text| text.split_once('-')) {
        return Some((start.trim().parse().ok()?, end.trim().parse().ok()?));
    }
    let (start, end) = table_ends(value)?;
    Some((start.as_integer()?, end.as_integer()?))
}

fn address(text: &str) -> Result<IpAddr, TargetFault> {
    text.parse().map_err(|_| TargetFault::Value(value::ValueFault::NotAnAddress(text.to_owned())))
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
            ("'10.20.0.1/30'", None),
            ("'db.example.com'", None),
            ("5", None),
        ] {
            let parsed = AddressRange::from_toml(&toml(text)).ok().map(|range| range.to_string());
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
            let parsed = Ports::from_toml(&toml(text)).ok().map(|ports| ports.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ranges_of_different_versions_never_overlap() {
        for (a, b, expected) in [
            ("'10.0.0.0/24'", "'10.0.0.255'", true),
            ("'10.0.0.0/24'", "'10.0.1.0'", false),
            ("'0.0.0.0/0'", "'::/0'", false),
            ("'fd00::/64'", "'fd00::1-fd00:1::'", true),
        ] {
            let [a, b] = [a, b].map(|text| AddressRange::from_toml(&toml(text)).unwrap());
            assert_eq!((a.overlaps(b), b.overlaps(a)), (expected, expected));
        }
    }

    fn toml(text: &str) -> Value {
        format!("x = {text}").parse::<toml::Table>().unwrap().remove("x").unwrap()
    }
}
