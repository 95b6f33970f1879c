//! The connection between an agent and its server runs through the tunnel, so at both ends a rule has to let it pass.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use router_core::Refusal;
use router_core::flow::Caps;
use router_core::nat::Snat;
use router_core::packet::Protocol;
use router_core::rules::{Destination, EgressChoice, IngressMatch, Rule, Subject};
use router_core::selector::{IpRange, PortRange, Selector};

use crate::host::admin::collect::RuleText;
use crate::host::config::value;
use crate::host::rule_id;

/// Where a server takes connections of agents, at its addresses inside the tunnels.
pub const PORT: u16 = 51_821;

/// What its rules are called in status.
const TARGET: &str = "control";

// Our own choice.
/// One connection for each agent, and what is left of former ones.
const CAPS: Caps = Caps { flows_max: 4096, half_open_max: 1024, ports_max: 0, new_flows_per_sec: 1000 };

/// At an agent: it may open connections to its server, from `own`. This rule alone does not end with the node's lease.
pub fn rule_to_server(own: IpAddr, server: SocketAddr) -> Option<(Rule, RuleText)> {
    let subject = Subject { ingress: IngressMatch::Sockets, source: value::host_prefix(own) };
    rule(subject, &[server.ip()], server.port(), EgressChoice::Route)
}

/// At a server: those who send from `agents` may ask at the addresses of `own`.
pub fn door_rules(own: &[IpAddr], agents: &[IpNet]) -> Vec<(Rule, RuleText)> {
    let rule = |source: &IpNet| {
        let subject = Subject { ingress: IngressMatch::Any, source: *source };
        rule(subject, own, PORT, EgressChoice::Sockets)
    };
    agents.iter().filter_map(rule).collect()
}

/// `None` if no address of `to` is of the subject's version.
fn rule(subject: Subject, to: &[IpAddr], port: u16, egress: EgressChoice) -> Option<(Rule, RuleText)> {
    let is_v4 = subject.source.addr().is_ipv4();
    let selectors = to.iter().filter(|to| to.is_ipv4() == is_v4).filter_map(|to| {
        Selector::new(IpRange::single(*to), Some(Protocol::TCP), Some(PortRange::single(port))).ok()
    });
    let destinations: Vec<_> =
        selectors.map(|selector| Destination { selector, dnat: None, egress }).collect();
    let text = RuleText {
        target: TARGET.to_owned(),
        source: subject.source.to_string(),
        destinations: destinations.iter().map(|to| to.selector.to_string()).collect(),
        src_nat: false,
    };
    let rule = Rule {
        id: rule_id::of(&[TARGET, &subject.source.to_string(), &port.to_string()]),
        subject,
        destinations,
        snat: Snat::Off,
        deny: Refusal::Prohibited,
        lease: None,
        caps: CAPS,
    };
    (!rule.destinations.is_empty()).then_some((rule, text))
}
