//! Access that stands in no file: another control plane grants it at run time and takes it back. It has to be as legal as a
//! `[[target]]` and a `[[session]]` would be. Called by `access`.

use std::net::IpAddr;
use std::path::Path;

use sluice_runtime::host::admin::{AccessRequest, Refusal};
use sluice_runtime::host::config::{Place, Problems};

use super::target::{self, Target, TargetTable};
use super::ways::Ways;
use super::{RouterConfig, not_ours, session};

/// What faults are told of, in place of a file.
const CALLED: &str = "access";
/// Longest name of a target.
const NAME_BYTES_MAX: usize = 64;

/// Access, legal under the configuration it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) asked: AccessRequest,
    /// What was asked for, under a name that can be shown.
    pub(crate) target: Target,
}

impl Granted {
    /// What is asked for, if it is legal under `config`; whether it overlaps others is for whoever knows these.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn under(config: &RouterConfig, asked: &AccessRequest) -> Result<Self, Refusal> {
        let mut problems = Problems::of(Path::new(CALLED));
        let place = Place::file();
        if !config.knows_client(asked.client_ip) {
            problems.note(&place.field("src"), session::SessionFault::UnknownClient(asked.client_ip));
        }
        let target = table(asked).map(|table| {
            let overlay = &config.node.addresses;
            let egress = config.tun.as_ref().map(|tun| tun.common.egress_addresses.as_slice());
            let ways = Ways::new(&config.connectors, overlay, egress, config.sockets.is_some());
            target::parse(&table, &ways, &place, &mut problems)
        });
        let target =
            target.map_err(|why| Refusal::new(format!("dst is not understood: {why}"), LIKE_A_TARGET))?;
        let own = config.own_addresses();
        for (index, destination) in target.iter().flat_map(|target| &target.destinations).enumerate() {
            problems.take(&place.field("dst").index(index), not_ours(&own, destination));
        }
        if let Some(target) = &target {
            problems.take(&place.field("dst"), session::of_its_version(asked.client_ip, target));
        }
        let target =
            problems.or(target).map_err(|problems| Refusal::new(problems.to_string(), LIKE_A_TARGET))?;
        Ok(Self { asked: asked.clone(), target })
    }

    /// Whose it is.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.asked.client_ip
    }

    /// Whether one packet could match a destination of both.
    pub(crate) fn overlaps(&self, target: &Target) -> bool {
        let mine = &self.target.destinations;
        mine.iter().any(|mine| target.destinations.iter().any(|other| mine.overlaps(other)))
    }
}

const LIKE_A_TARGET: &str = "Write dst as in a [[target]] of the router's configuration.";

fn table(asked: &AccessRequest) -> Result<TargetTable, serde_json::Error> {
    let document = serde_json::json!({ "name": name(asked), "src_nat": asked.src_nat, "dst": asked.dst });
    serde_json::from_value(document)
}

/// Other control planes allow more in a name than can be shown in a table.
fn name(asked: &AccessRequest) -> String {
    let shown = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let name: String = asked.name.chars().map(shown).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::{read, whole};

    fn asked(client_ip: &str, dst: serde_json::Value) -> AccessRequest {
        AccessRequest {
            id: "s/t".to_owned(),
            name: "Prod DB / main".to_owned(),
            client_ip: client_ip.parse().unwrap(),
            src_nat: false,
            dst: serde_json::from_value(dst).unwrap(),
        }
    }

    #[test]
    fn what_is_granted_is_as_legal_as_a_target_of_a_file() {
        let config = read(&whole()).unwrap();
        let ok = asked(
            "10.77.0.2",
            json!([{ "selector": { "ip": { "start": "10.66.0.1", "end": "10.66.0.9" },
            "proto": "TCP", "port": { "start": 443, "end": 443 } } }]),
        );
        let granted = Granted::under(&config, &ok).unwrap();
        assert_eq!((granted.target.name.as_str(), granted.target.destinations.len()), ("Prod_DB___main", 1));
        for (client_ip, dst, why) in [
            ("203.0.113.1", json!([{ "selector": { "ip": "10.66.0.1" } }]), "no [[client]] has the address"),
            ("10.77.0.2", json!([]), "dst"),
            ("10.77.0.2", json!([{ "selector": { "ip": "169.254.169.254" } }]), "link-local"),
            ("10.77.0.2", json!([{ "selector": { "ip": "10.77.0.2" } }]), "10.77.0.2"),
            ("10.77.0.2", json!([{ "selector": { "ip": "10.66.0.1", "port": 22 } }]), "port"),
            ("10.77.0.2", json!([{ "select": {} }]), "dst is not understood"),
            ("10.77.0.2", json!([{ "selector": { "ip": "fd66::1" } }]), "IPv4"),
        ] {
            let told = Granted::under(&config, &asked(client_ip, dst)).unwrap_err().what;
            assert!(told.contains(why), "{told}\n  lacks {why}");
        }
    }
}
