//! One line of a `set`, parsed: what to change. Pure. Called by `set`.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;

use ipnet::IpNet;
use wg_proto::{PresharedKey, PrivateKey, PublicKey};

use super::errno::Errno;

/// A change of the interface itself; such lines come before the first peer.
#[derive(Clone)]
pub enum DeviceChange {
    /// `private_key`; all zero takes the identity away.
    PrivateKey(Option<PrivateKey>),
    /// `listen_port`; 0 lets the system choose.
    ListenPort(u16),
    /// `fwmark`; 0 takes the mark away.
    Fwmark(u32),
    /// `replace_peers=true`: every peer goes.
    ReplacePeers,
}

/// A line inside the section of one peer.
#[derive(Clone)]
pub enum PeerLine {
    /// `remove=true`.
    Remove,
    /// `update_only=true`: do nothing if there is no such peer.
    UpdateOnly,
    /// `preshared_key`; all zero takes it away.
    PresharedKey(PresharedKey),
    /// `endpoint`.
    Endpoint(SocketAddr),
    /// `persistent_keepalive_interval` in seconds; `None` is off.
    Keepalive(Option<NonZeroU16>),
    /// `replace_allowed_ips=true`.
    ReplaceAllowedIps,
    /// `allowed_ip=PREFIX`.
    AllowedIp(IpNet),
    /// `allowed_ip=-PREFIX`.
    RemoveAllowedIp(IpNet),
    /// `protocol_version=1`, the only one there is.
    ProtocolVersion,
}

/// Parses a line of the interface's own section.
///
/// # Errors
/// [`Errno::Protocol`] without a `=`, else [`Errno::Invalid`].
pub fn device_line(line: &str) -> Result<DeviceChange, Errno> {
    let (key, value) = split(line)?;
    match key {
        "private_key" => private_key(value).map(DeviceChange::PrivateKey),
        "listen_port" => number(value).map(DeviceChange::ListenPort),
        "fwmark" => number(value).map(DeviceChange::Fwmark),
        "replace_peers" => only_true(value, DeviceChange::ReplacePeers),
        _ => Err(Errno::Invalid),
    }
}

/// Parses a line of a peer's section. `interface_index` resolves the name in `[fe80::1%eth0]:51820`.
///
/// # Errors
/// [`Errno::Protocol`] without a `=`, else [`Errno::Invalid`].
pub fn peer_line(line: &str, interface_index: impl Fn(&str) -> Option<u32>) -> Result<PeerLine, Errno> {
    let (key, value) = split(line)?;
    match key {
        "remove" => only_true(value, PeerLine::Remove),
        "update_only" => only_true(value, PeerLine::UpdateOnly),
        "preshared_key" => preshared_key(value).map(PeerLine::PresharedKey),
        "endpoint" => endpoint(value, interface_index).map(PeerLine::Endpoint),
        "persistent_keepalive_interval" => number(value).map(|s| PeerLine::Keepalive(NonZeroU16::new(s))),
        "replace_allowed_ips" => only_true(value, PeerLine::ReplaceAllowedIps),
        "allowed_ip" => allowed_ip(value),
        "protocol_version" if value == "1" => Ok(PeerLine::ProtocolVersion),
        _ => Err(Errno::Invalid),
    }
}

/// The key of the peer whose section this line begins, if it begins one.
///
/// # Errors
/// [`Errno::Invalid`] if the key is none.
pub fn peer_begun_by(line: &str) -> Result<Option<PublicKey>, Errno> {
    line.strip_prefix("public_key=").map(public_key).transpose()
}

fn split(line: &str) -> Result<(&str, &str), Errno> {
    line.split_once('=').ok_or(Errno::Protocol)
}

fn only_true<T>(value: &str, change: T) -> Result<T, Errno> {
    if value == "true" { Ok(change) } else { Err(Errno::Invalid) }
}

/// Decimal without sign, as wireguard-go reads it; `parse` alone would take `+1`.
fn number<T: std::str::FromStr>(value: &str) -> Result<T, Errno> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Errno::Invalid);
    }
    value.parse().map_err(|_| Errno::Invalid)
}

fn private_key(value: &str) -> Result<Option<PrivateKey>, Errno> {
    let none = value.len() == 64 && value.bytes().all(|digit| digit == b'0');
    if none { Ok(None) } else { PrivateKey::from_hex(value).map(Some).map_err(|_| Errno::Invalid) }
}

fn public_key(value: &str) -> Result<PublicKey, Errno> {
    PublicKey::from_hex(value).map_err(|_| Errno::Invalid)
}

fn preshared_key(value: &str) -> Result<PresharedKey, Errno> {
    PresharedKey::from_hex(value).map_err(|_| Errno::Invalid)
}

fn allowed_ip(value: &str) -> Result<PeerLine, Errno> {
    let (prefix, line): (_, fn(IpNet) -> PeerLine) = match value.strip_prefix('-') {
        Some(prefix) => (prefix, PeerLine::RemoveAllowedIp),
        None => (value, PeerLine::AllowedIp),
    };
    prefix.parse::<IpNet>().map(|net| line(net.trunc())).map_err(|_| Errno::Invalid)
}

/// `192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%2]:51820` or `[fe80::1%eth0]:51820`. A v4-mapped address
/// is the v4 address it means: sockets answer from that one.
fn endpoint(value: &str, interface_index: impl Fn(&str) -> Option<u32>) -> Result<SocketAddr, Errno> {
    let parsed = value.parse().ok().or_else(|| scoped_endpoint(value, interface_index));
    let address: SocketAddr = parsed.ok_or(Errno::Invalid)?;
    match address.ip().to_canonical() {
        IpAddr::V4(plain) => Ok(SocketAddr::new(plain.into(), address.port())),
        IpAddr::V6(_) => Ok(address),
    }
}

fn scoped_endpoint(value: &str, interface_index: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, rest) = value.strip_prefix('[')?.split_once('%')?;
    let (scope, port) = rest.rsplit_once("]:")?;
    let address = address.parse().ok()?;
    let port = number(port).ok()?;
    Some(SocketAddrV6::new(address, port, 0, interface_index(scope)?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "f02b43fc1f1b0c3d4d8c1d9fbe1bb7a8f3e1cf0e6f7c4f3f5b4b6a1c0e9d8c47";

    #[test]
    fn each_device_key_takes_its_values_and_no_others() {
        for (line, accepted) in [
            ("listen_port=0", Ok(())),
            ("listen_port=65535", Ok(())),
            ("listen_port=65536", Err(Errno::Invalid)),
            ("listen_port=-1", Err(Errno::Invalid)),
            ("listen_port=+1", Err(Errno::Invalid)),
            ("listen_port=", Err(Errno::Invalid)),
            ("fwmark=4294967295", Ok(())),
            ("fwmark=4294967296", Err(Errno::Invalid)),
            ("fwmark=0x10", Err(Errno::Invalid)),
            ("replace_peers=true", Ok(())),
            ("replace_peers=false", Err(Errno::Invalid)),
            ("replace_allowed_ips=true", Err(Errno::Invalid)),
            ("private_key=00", Err(Errno::Invalid)),
            ("listen_port", Err(Errno::Protocol)),
            ("", Err(Errno::Protocol)),
        ] {
            assert_eq!(device_line(line).map(|_| ()), accepted, "{line:?}");
        }
    }

    #[test]
    fn each_peer_key_takes_its_values_and_no_others() {
        for (line, accepted) in [
            (format!("preshared_key={KEY}"), true),
            ("endpoint=192.0.2.1:51820".into(), true),
            ("endpoint=[2001:db8::1]:51820".into(), true),
            ("endpoint=[fe80::1%2]:51820".into(), true),
            ("endpoint=[fe80::1%eth0]:51820".into(), true),
            ("endpoint=[fe80::1%nowhere]:51820".into(), false),
            ("endpoint=example.com:51820".into(), false),
            ("endpoint=192.0.2.1".into(), false),
            ("endpoint=192.0.2.1:70000".into(), false),
            ("persistent_keepalive_interval=0".into(), true),
            ("persistent_keepalive_interval=65535".into(), true),
            ("persistent_keepalive_interval=off".into(), false),
            ("remove=true".into(), true),
            ("remove=1".into(), false),
            ("update_only=true".into(), true),
            ("replace_allowed_ips=true".into(), true),
            ("allowed_ip=10.0.0.0/8".into(), true),
            ("allowed_ip=-10.0.0.0/8".into(), true),
            ("allowed_ip=::/0".into(), true),
            ("allowed_ip=10.0.0.0".into(), false),
            ("allowed_ip=10.0.0.0/33".into(), false),
            ("allowed_ip=--10.0.0.0/8".into(), false),
            ("protocol_version=1".into(), true),
            ("protocol_version=2".into(), false),
            ("listen_port=1".into(), false),
            ("nonsense=1".into(), false),
        ] {
            assert_eq!(peer_line(&line, eth0_is_7).is_ok(), accepted, "{line:?}");
        }
    }

    #[test]
    fn a_peers_section_begins_with_its_whole_key() {
        assert!(peer_begun_by("endpoint=192.0.2.1:1").unwrap().is_none());
        assert!(peer_begun_by(&format!("public_key={KEY}")).unwrap().is_some());
        for bad in [format!("public_key={}", &KEY[1..]), format!("public_key={KEY}00"), "public_key=".into()]
        {
            assert_eq!(peer_begun_by(&bad), Err(Errno::Invalid), "{bad}");
        }
    }

    #[test]
    fn host_bits_of_an_allowed_ip_are_masked() {
        let Ok(PeerLine::AllowedIp(net)) = peer_line("allowed_ip=10.1.2.3/8", eth0_is_7) else { panic!() };
        assert_eq!(net.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_scope_may_be_a_number_or_a_name() {
        for (text, scope) in [("[fe80::1%2]:1", 2), ("[fe80::1%eth0]:1", 7), ("[fe80::1]:1", 0)] {
            let Ok(SocketAddr::V6(address)) = endpoint(text, eth0_is_7) else { panic!("{text}") };
            assert_eq!(address.scope_id(), scope, "{text}");
        }
    }

    #[test]
    fn a_mapped_endpoint_becomes_the_address_it_means() {
        assert_eq!(endpoint("[::ffff:192.0.2.1]:9", eth0_is_7).unwrap(), "192.0.2.1:9".parse().unwrap());
    }

    #[test]
    fn an_all_zero_private_key_is_none() {
        let line = format!("private_key={}", "0".repeat(64));
        assert!(matches!(device_line(&line), Ok(DeviceChange::PrivateKey(None))));
    }

    fn eth0_is_7(name: &str) -> Option<u32> {
        (name == "eth0").then_some(7)
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "\\PC{0,200}") {
            let _ = (device_line(&line), peer_line(&line, eth0_is_7), peer_begun_by(&line));
        }

        #[test]
        fn no_value_makes_a_known_key_panic(key in "(endpoint|allowed_ip|public_key|private_key|fwmark)", value in "[-0-9a-f:.%/\\[\\]+é]{0,80}") {
            let line = format!("{key}={value}");
            let _ = (device_line(&line), peer_line(&line, eth0_is_7));
        }
    }
}
