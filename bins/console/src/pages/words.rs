//! Destinations in plain words.

use sluice_api::{AddressSpec, DestinationSpec, NatSpec, SelectorSpec, TargetSpec};

/// What users address: `10.20.0.5, TCP port 22`.
pub(crate) fn matched(destination: &DestinationSpec) -> String {
    let SelectorSpec { ip, proto, port } = &destination.selector;
    let mut words = ip.to_string();
    match (proto, port) {
        (Some(proto), Some(port)) => {
            words += &format!(", {} {}", proto.to_uppercase(), ports(&port.to_string()))
        }
        (Some(proto), None) => words += &format!(", any {} port", proto.to_uppercase()),
        (None, Some(port)) => words += &format!(", {}", ports(&port.to_string())),
        (None, None) => words += ", anything",
    }
    words
}

/// Where it goes: `192.168.7.10, port 2222, through the connector plant`; what is not translated goes where it was sent.
pub(crate) fn sent_to(destination: &DestinationSpec) -> String {
    let Some(NatSpec { addr, port }) = &destination.nat else { return "where they were sent".to_owned() };
    let text = addr.to_string();
    let mut words = match connector(addr) {
        Some((_, device)) => device.to_owned(),
        None => text.clone(),
    };
    if let Some(port) = port {
        words += &format!(", {}", ports(&port.to_string()));
    }
    if let Some((connector, _)) = connector(addr) {
        words += &format!(", through the connector {connector}");
    }
    words
}

/// Whether it goes through this connector.
pub(crate) fn goes_through(destination: &DestinationSpec, name: &str) -> bool {
    connector_of(destination) == Some(name)
}

/// The connector that it goes through.
pub(crate) fn connector_of(destination: &DestinationSpec) -> Option<&str> {
    destination.nat.as_ref().and_then(|nat| connector(&nat.addr)).map(|(connector, _)| connector)
}

/// A whole target in sentences, one for each destination.
pub(crate) fn sentences(target: &TargetSpec) -> Vec<String> {
    let from = if target.src_nat { "an address of the router's" } else { "the user's own address" };
    let sentence = |destination: &DestinationSpec| {
        format!(
            "Users address {}; packets go to {}, from {from}.",
            matched(destination),
            sent_to(destination)
        )
    };
    target.dst.iter().map(sentence).collect()
}

/// On what conditions, one sentence each.
pub(crate) fn conditions(target: &TargetSpec) -> Vec<String> {
    let mut said = Vec::new();
    match target.roles.as_slice() {
        [] => said.push("Nobody may open it: no role does.".to_owned()),
        [role] => said.push(format!("Whoever has the role {role} may open it.")),
        roles => said.push(format!("Whoever has one of the roles {} may open it.", roles.join(", "))),
    }
    if target.exclusive_access {
        said.push("One session at a time: while it is open, nobody else reaches these addresses.".to_owned());
    }
    if let Some(longest) = target.max_duration {
        said.push(format!("A session lasts {longest} at most."));
    }
    if target.require_reason {
        said.push("Users must say why.".to_owned());
    }
    if target.require_approval {
        said.push("Somebody else must agree first.".to_owned());
    }
    if target.schedule.is_some() {
        said.push("It can be open at certain times only.".to_owned());
    }
    if target.disabled {
        said.push("It is switched off.".to_owned());
    }
    said
}

fn connector(addr: &AddressSpec) -> Option<(&str, &str)> {
    match addr {
        // A prefix has digits behind its slash, and is no connector.
        AddressSpec::Text(text) => {
            text.split_once('/').filter(|(name, _)| name.parse::<std::net::IpAddr>().is_err())
        }
        AddressSpec::Range { .. } => None,
    }
}

fn ports(text: &str) -> String {
    if text.contains('-') { format!("ports {text}") } else { format!("port {text}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(dst: serde_json::Value) -> TargetSpec {
        serde_json::from_value(json!({ "name": "db", "roles": ["dba"], "src_nat": true, "dst": dst }))
            .unwrap()
    }

    #[test]
    fn a_target_is_told_in_sentences() {
        for (dst, said) in [
            (
                json!({ "selector": { "ip": "10.0.0.1", "proto": "tcp", "port": 22 } }),
                "Users address 10.0.0.1, TCP port 22; packets go to where they were sent, from an address of the router's.",
            ),
            (
                json!({ "selector": { "ip": "10.0.0.0/24", "proto": "udp", "port": "1-9" }, "nat": { "addr": "10.1.0.0/24" } }),
                "Users address 10.0.0.0/24, UDP ports 1-9; packets go to 10.1.0.0/24, from an address of the router's.",
            ),
            (
                json!({ "selector": { "ip": "10.0.0.1", "proto": "tcp", "port": 22 }, "nat": { "addr": "plant/192.168.7.10", "port": 2222 } }),
                "Users address 10.0.0.1, TCP port 22; packets go to 192.168.7.10, port 2222, through the connector plant, from an address of the router's.",
            ),
        ] {
            assert_eq!(sentences(&target(json!([dst]))), [said]);
        }
    }

    #[test]
    fn a_prefix_is_no_connector() {
        let through = |addr: &str| {
            let dst = json!({ "selector": { "ip": "10.0.0.1" }, "nat": { "addr": addr } });
            goes_through(&serde_json::from_value(dst).unwrap(), addr.split('/').next().unwrap())
        };
        assert!(through("plant/10.0.0.30"));
        assert!(!through("10.1.0.0/24"));
    }
}
