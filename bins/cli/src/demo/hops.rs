//! What each hop makes of one connection, from the nodes' own flow tables.

use std::net::SocketAddr;

use sluice_runtime::host::admin::report::FlowReport;

/// Source and destination.
pub(super) type Ends = (String, String);

/// One connection on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hops {
    /// What the client sends.
    pub(super) client: Ends,
    /// What the router makes of it, into the connector's tunnel.
    pub(super) router: Ends,
    /// What the connector makes of it, for its own stack.
    pub(super) connector: Ends,
}

impl Hops {
    /// Follows the connection that the client sends from and to these ends.
    pub(super) fn of(
        client: (SocketAddr, SocketAddr),
        router: &[FlowReport],
        connector: &[FlowReport],
    ) -> Option<Self> {
        let client = (client.0.to_string(), client.1.to_string());
        let first = router.iter().find(|flow| flow.client == client)?;
        let second = connector.iter().find(|flow| flow.client == first.device)?;
        Some(Self { client, router: first.device.clone(), connector: second.device.clone() })
    }

    /// As a table: who, what, in words. `seen` is where the device sees the connection come from.
    pub(super) fn lines(&self, seen: SocketAddr, width: usize) -> Vec<String> {
        let device = (seen.to_string(), self.connector.1.clone());
        let rows = [
            ("client sends", &self.client, ""),
            ("router sends", &self.router, "both ends translated"),
            ("connector opens", &device, "an ordinary socket"),
        ];
        rows.iter().flat_map(|(who, ends, why)| row(who, ends, why, width)).collect()
    }
}

/// Beside each other where there is room, else below each other.
fn row(who: &str, (from, to): &Ends, why: &str, width: usize) -> Vec<String> {
    let line = format!("    {who:<15} {:<37} {why}", format!("{from} → {to}"));
    let line = line.trim_end().to_owned();
    if line.chars().count() <= width {
        vec![line]
    } else {
        vec![format!("    {who}"), format!("      {from} → {to}")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_followed_from_table_to_table() {
        let router = [
            flow("10.77.0.2:5000", "10.20.0.5:80", "10.99.0.1:6000", "10.99.0.2:40000"),
            flow("10.77.0.2:5001", "10.20.0.5:80", "10.99.0.1:6001", "10.99.0.2:40000"),
        ];
        let connector = [flow("10.99.0.1:6001", "10.99.0.2:40000", "10.99.0.2:7000", "127.0.0.1:8000")];
        let ends = |port: u16| {
            (SocketAddr::new("10.77.0.2".parse().unwrap(), port), "10.20.0.5:80".parse().unwrap())
        };
        let hops = Hops::of(ends(5001), &router, &connector).unwrap();
        assert_eq!(hops.router, ("10.99.0.1:6001".to_owned(), "10.99.0.2:40000".to_owned()));
        assert_eq!(hops.connector.1, "127.0.0.1:8000");
        assert_eq!(Hops::of(ends(5000), &router, &connector), None);
        assert_eq!(Hops::of(ends(5002), &router, &connector), None);
        for width in [40, 80] {
            let lines = hops.lines("127.0.0.1:9000".parse().unwrap(), width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            assert!(lines.last().unwrap().contains("127.0.0.1:9000 → 127.0.0.1:8000"));
        }
    }

    fn flow(from: &str, to: &str, becomes: &str, and: &str) -> FlowReport {
        FlowReport {
            rule: String::new(),
            protocol: "tcp".into(),
            client: (from.into(), to.into()),
            device: (becomes.into(), and.into()),
            state: String::new(),
            bytes: (0, 0),
            idle_secs: 0,
        }
    }
}
