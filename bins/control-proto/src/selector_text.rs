//! Traffic selectors and ranges as text, as they print: `10.20.0.5 tcp 22`, `10.20.0.0-10.20.0.255`, `fd20::5 udp 53-54`.

use std::net::IpAddr;

use router_core::packet::Protocol;
use router_core::selector::{IpRange, PortRange, Selector};

use crate::written::Written;

impl Written for IpRange {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<IpRange, String> {
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("`{text}` is no IP address"));
        match text.split_once('-') {
            None => address(text).map(IpRange::single),
            Some((start, end)) => {
                IpRange::new(address(start)?, address(end)?).map_err(|error| error.to_string())
            }
        }
    }
}

impl Written for PortRange {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<PortRange, String> {
        let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is no port"));
        match text.split_once('-') {
            None => port(text).map(PortRange::single),
            Some((start, end)) => PortRange::new(port(start)?, port(end)?).map_err(|error| error.to_string()),
        }
    }
}

/// By its name where it has one.
impl Written for Protocol {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<Protocol, String> {
        let named = (0..=u8::MAX).map(Protocol).find(|protocol| protocol.to_string() == text);
        named.ok_or_else(|| format!("`{text}` is no protocol"))
    }
}

impl Written for Selector {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<Selector, String> {
        let mut words = text.split(' ');
        let ip = IpRange::read(words.next().unwrap_or_default())?;
        let proto = words.next().map(Protocol::read).transpose()?;
        let ports = words.next().map(PortRange::read).transpose()?;
        match words.next() {
            None => Selector::new(ip, proto, ports).map_err(|error| error.to_string()),
            Some(_) => Err("a selector is addresses, a protocol and ports".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_it_prints() {
        for text in [
            "10.20.0.5",
            "10.20.0.0-10.20.0.255 tcp",
            "10.20.0.5 tcp 22",
            "fd20::5 udp 53-54",
            "10.20.0.5 icmp",
            "10.20.0.5 99",
        ] {
            assert_eq!(Selector::read(text).map(|selector| selector.write()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_selector_is_told_by_its_reason() {
        for (text, reason) in [
            ("", "`` is no IP address"),
            ("10.20.0.9-10.20.0.1", "ends before"),
            ("10.20.0.9-fd20::1", "IP version"),
            ("10.20.0.5 esp 5", "tcp or udp"),
            ("10.20.0.5 tcp 70000", "`70000` is no port"),
            ("10.20.0.5 smtp", "`smtp` is no protocol"),
            ("10.20.0.5 tcp 22 23", "a selector is"),
        ] {
            let error = Selector::read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
