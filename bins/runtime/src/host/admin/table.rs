//! Reports as tables for people.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::report::{FlowReport, PacketReport, PeerReport, RuleReport, SocketsReport, Status};
use crate::host::config::sockets::SocketsSettings;

/// The whole status: a headline, then peers, rules and drops.
pub fn status(status: &Status) -> String {
    let mut text = headline(status);
    section(&mut text, "Peers", &peers(&status.peers), status.peers.is_empty());
    section(&mut text, "Rules", &rules(&status.rules), status.rules.is_empty());
    if let Some(sockets) = &status.sockets {
        let _ = write!(text, "\nSockets\n{}", pairs(&socket_rows(sockets)));
    }
    let drops: Vec<_> = status.drops.iter().collect();
    section(&mut text, "Dropped packets", &counters(&drops), drops.is_empty());
    text
}

/// Flows, one a line.
pub fn flows(flows: &[FlowReport]) -> Table {
    let mut table =
        table(&["proto", "client sends", "device sees", "state", "sent", "received", "idle", "rule"]);
    for flow in flows {
        let client = format!("{} > {}", flow.client.0, flow.client.1);
        let device = format!("{} > {}", flow.device.0, flow.device.1);
        let (sent, received, idle) = (bytes(flow.bytes.0), bytes(flow.bytes.1), duration(flow.idle_secs));
        let rule = flow.rule.get(..8).unwrap_or(&flow.rule);
        table.add_row([&flow.protocol, &client, &device, &flow.state, &sent, &received, &idle, rule]);
    }
    table
}

/// What would become of a packet, in sentences.
pub fn packet(report: &PacketReport) -> String {
    let mut rows = vec![("from", report.from.clone()), ("verdict", report.verdict.clone())];
    let mut row = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    row("reason", report.reason.clone());
    row("sender hears", report.heard.clone());
    row("rule", report.rule.clone());
    row("target", report.target.clone());
    row("destination", report.destination.map(|position| format!("dst[{position}]")));
    row(
        "leaves as",
        report.leaves_as.as_ref().map(|(source, destination)| format!("{source} > {destination}")),
    );
    row("source", report.source_translated.then(|| "translated when the flow opens".to_owned()));
    row("leaves to", report.leaves_to.clone());
    pairs(&rows)
}

/// Lines of two columns, for summaries.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "  {name:width$}  {value}");
        text
    })
}

/// `[sockets]`, for summaries.
pub fn sockets(settings: &SocketsSettings) -> Vec<(&'static str, String)> {
    let sources: Vec<_> = settings.sources.iter().map(|address| address.to_string()).collect();
    let seen = if sources.is_empty() { "this host".to_owned() } else { sources.join(" ") };
    let (connect, idle) = (settings.connect_timeout.as_secs(), settings.udp_idle_timeout.as_secs());
    vec![
        ("by sockets", "TCP, UDP and pings, without any privilege".to_owned()),
        ("devices see", seen),
        ("connections", format!("at most {}", settings.connections_max)),
        ("their buffers", format!("{} at most", bytes(settings.buffer_bytes_max as u64))),
        ("unreachable", format!("after {}", duration(connect))),
        ("UDP idles", format!("for {}", duration(idle))),
    ]
}

/// What goes through sockets, and what did not come about.
fn socket_rows(sockets: &SocketsReport) -> Vec<(&'static str, String)> {
    let open = format!("{} TCP, {} UDP, {} ping", sockets.tcp, sockets.udp, sockets.echo);
    let mut rows = vec![
        ("open", format!("{open}, of at most {}", sockets.connections_max)),
        ("to devices", bytes(sockets.bytes_to_devices)),
        ("to clients", bytes(sockets.bytes_to_clients)),
        (
            "buffers",
            format!("{} of at most {}", bytes(sockets.buffer_bytes), bytes(sockets.buffer_bytes_max)),
        ),
    ];
    let told = sockets.counters.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>();
    if !told.is_empty() {
        rows.push(("counted", told.join(", ")));
    }
    rows
}

/// An empty table with this head, in the style of all our tables.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|title| Cell::new(title.to_uppercase())));
    table
}

fn headline(status: &Status) -> String {
    let (flows, rules) = (&status.flows, status.rules.len());
    format!(
        "{} {} ({}), up {}, port {}, {}\nkey {}\n{rules} rules, {} flows of at most {} v4 and {} v6 ({} at most)\n",
        status.kind,
        status.name,
        status.version,
        duration(status.uptime_secs),
        status.listen_port,
        status.addresses.join(" "),
        status.public_key,
        flows.used,
        flows.max_v4,
        flows.max_v6,
        bytes(flows.memory_bytes_max),
    )
}

fn section(text: &mut String, title: &str, table: &Table, empty: bool) {
    let _ = if empty { writeln!(text, "\n{title}: none") } else { writeln!(text, "\n{title}\n{table}") };
}

fn peers(peers: &[PeerReport]) -> Table {
    let mut table = table(&["name", "kind", "endpoint", "handshake", "received", "sent", "allowed ips"]);
    for peer in peers {
        let handshake = peer.handshake_age_secs.map_or("never".to_owned(), |age| duration(age) + " ago");
        let endpoint = peer.endpoint.clone().unwrap_or_else(|| "-".to_owned());
        let allowed = some_of(&peer.allowed_ips);
        table.add_row([
            &peer.name,
            &peer.kind,
            &endpoint,
            &handshake,
            &bytes(peer.rx_bytes),
            &bytes(peer.tx_bytes),
            &allowed,
        ]);
    }
    align_right(&mut table, &[4, 5]);
    table
}

fn rules(rules: &[RuleReport]) -> Table {
    let mut table = table(&["rule", "target", "for", "destinations", "snat", "flows", "bytes", "ends in"]);
    for rule in rules {
        let ends = rule.expires_in_secs.map_or("-".to_owned(), duration);
        let id = rule.id.get(..8).unwrap_or(&rule.id);
        let snat = if rule.src_nat { "on" } else { "off" };
        let (flows, bytes) = (rule.flows.to_string(), bytes(rule.bytes));
        let destinations = rule.destinations.join("\n");
        table.add_row([id, &rule.target, &rule.source, &destinations, snat, &flows, &bytes, &ends]);
    }
    align_right(&mut table, &[5, 6]);
    table
}

fn counters(counters: &[(&String, &u64)]) -> Table {
    let mut table = table(&["reason", "packets"]);
    for (name, count) in counters {
        table.add_row([(*name).clone(), count.to_string()]);
    }
    align_right(&mut table, &[1]);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Long lists are cut; `--json` has them whole.
fn some_of(items: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} (+{more})"),
    }
}

/// `45 s`, `3 m 5 s`, `2 h 10 m`, `3 d 4 h`.
pub fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} m {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} m", secs / 3600, secs % 3600 / 60),
        86_400.. => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Binary multiples, three digits.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (secs, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 m 0 s"), (3661, "1 h 1 m"), (90_000, "1 d 1 h")]
        {
            assert_eq!(duration(secs), text);
        }
    }

    #[test]
    fn byte_counts_are_told_in_binary_multiples() {
        for (count, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16.0 EiB")] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let items: Vec<_> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!((some_of(&items[..3]), some_of(&items)), ("0 1 2".to_owned(), "0 1 2 (+2)".to_owned()));
    }
}
