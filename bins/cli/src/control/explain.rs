//! Why something passes or not: a packet, or a request for access.

use std::net::{IpAddr, SocketAddr};

use sluice_api::{
    Explain, ExplainPacket, Explanation, FailedCheck, OpenSession, PacketExplanation, PacketVerdict,
};
use sluice_runtime::host::failure::{Exit, Failure};

use super::client::{Ask, Client};
use super::options::ExplainOptions;
use super::output::{Format, say, written};

pub(super) async fn run(client: &Client, options: &ExplainOptions) -> Result<(), Failure> {
    let format = options.format.output;
    match &options.target {
        Some(target) => {
            let request = OpenSession {
                target: target.clone(),
                client_ip: options.from,
                device: options.device.clone(),
                reason: options.reason.clone(),
                duration: None,
            };
            let ask = Ask::post("/api/v1/explain").with(&Explain { user: options.user.clone(), request })?;
            let told: Explanation = client.ask(ask).await?;
            match format {
                Format::Table => say(&request_in_words(target, &told)),
                Format::Name => say(if told.granted { "granted\n" } else { "refused\n" }),
                Format::Json | Format::Yaml => say(&written(format, &told)?),
            }
        }
        None => {
            let (proto, destination, port) = packet(&options.packet)?;
            let asked = ExplainPacket {
                user: options.user.clone(),
                client_ip: options.from,
                device: options.device.clone(),
                destination,
                proto,
                port,
            };
            let ask = Ask::post("/api/v1/explain/packet").with(&asked)?;
            let told: PacketExplanation = client.ask(ask).await?;
            match format {
                Format::Table => say(&packet_in_words(&told)),
                Format::Name => say(&format!("{}\n", verdict(told.verdict))),
                Format::Json | Format::Yaml => say(&written(format, &told)?),
            }
        }
    }
}

/// `[PROTO] ADDRESS[:PORT]`
fn packet(words: &[String]) -> Result<(String, IpAddr, Option<u16>), Failure> {
    let wrong = || {
        Failure::new(Exit::Configuration, format!("{:?} is no packet", words.join(" ")))
            .remedy("Write [PROTO] ADDRESS[:PORT]: tcp 10.20.0.5:22, udp [fd20::5]:53, icmp 10.20.0.5.")
    };
    let (proto, place) = match words {
        [place] => ("tcp".to_owned(), place),
        [proto, place] => (proto.clone(), place),
        _ => return Err(wrong()),
    };
    if let Ok(socket) = place.parse::<SocketAddr>() {
        return Ok((proto, socket.ip(), Some(socket.port())));
    }
    let address = place.trim_matches(['[', ']']).parse().map_err(|_| wrong())?;
    Ok((proto, address, None))
}

fn verdict(verdict: PacketVerdict) -> &'static str {
    match verdict {
        PacketVerdict::Allowed => "allowed",
        PacketVerdict::Pending => "pending",
        PacketVerdict::Ending => "ending",
        PacketVerdict::NotAllowed => "not allowed",
    }
}

fn packet_in_words(told: &PacketExplanation) -> String {
    let mut out = format!("{} from {}\n", verdict(told.verdict), told.client_ip);
    let mut line = |what: &str, text: &str| out.push_str(&format!("  {what:<8}  {text}\n"));
    if let (Some(session), Some(target)) = (told.session, &told.target) {
        line("session", &format!("{session} to {target}"));
    }
    if let Some(rule) = &told.rule {
        line("rule", &format!("dst[{}]: {}", rule.destination, rule.selector));
        let via = rule.via.as_ref().map(|via| format!(" via connector {via}")).unwrap_or_default();
        line("goes to", &format!("{}{via}", rule.becomes.as_deref().unwrap_or("where it was sent")));
        line("source", if rule.src_nat { "an address of the router's" } else { "stays" });
        line("routers", &rule.routers.join(", "));
    }
    if let Some(ending) = &told.ending {
        line("ending", ending);
    }
    for outlook in &told.targets {
        let state = if outlook.failed.is_empty() { "can be opened" } else { "cannot be opened:" };
        line(
            "target",
            &format!("{} (dst[{}]: {}) {state}", outlook.target, outlook.destination, outlook.selector),
        );
        outlook.failed.iter().for_each(|failed| line("", &check(failed)));
    }
    if told.verdict == PacketVerdict::NotAllowed && told.targets.is_empty() {
        line("target", "none that is known to you leads there");
    }
    out
}

fn request_in_words(target: &str, told: &Explanation) -> String {
    if told.granted {
        let until = told.expires.map(|expires| {
            let limit = told.limit.as_ref().map(|limit| format!(" ({limit})")).unwrap_or_default();
            format!(" until {expires}{limit}")
        });
        return format!("{target} would be opened{}\n", until.unwrap_or_default());
    }
    let failed: String = told.failed.iter().map(|failed| format!("  {}\n", check(failed))).collect();
    format!("{target} would be refused:\n{failed}")
}

fn check(failed: &FailedCheck) -> String {
    format!("check {} {}: {}", failed.check, failed.code, failed.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_protocol_an_address_and_a_port_where_there_are_ports() {
        for (words, expected) in [
            (&["10.20.0.5:22"][..], Some(("tcp", "10.20.0.5", Some(22)))),
            (&["udp", "[fd20::5]:53"], Some(("udp", "fd20::5", Some(53)))),
            (&["icmp", "10.20.0.5"], Some(("icmp", "10.20.0.5", None))),
            (&["tcp", "host:22"], None),
            (&[], None),
        ] {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            let found = packet(&words).ok();
            let expected = expected.map(|(proto, ip, port)| (proto.to_owned(), ip.parse().unwrap(), port));
            assert_eq!(found, expected, "{words:?}");
        }
    }

    #[test]
    fn an_explanation_says_which_rule_and_what_is_in_the_way() {
        let told = serde_json::from_value(serde_json::json!({
            "client_ip": "10.77.0.2", "verdict": "allowed", "session": "018f0000-0000-7000-8000-000000000001",
            "target": "db", "rule": { "destination": 0, "selector": "10.20.0.5 tcp 22", "becomes": "10.99.0.2:40000",
            "via": "plant", "src_nat": true, "routers": ["r1"] },
            "targets": [{ "target": "lan", "destination": 1, "selector": "10.20.0.0/16",
                "failed": [{ "check": 4, "code": "no-role", "text": "no role" }] }],
        }));
        let text = packet_in_words(&told.unwrap());
        for expected in [
            "allowed from 10.77.0.2\n",
            "rule      dst[0]: 10.20.0.5 tcp 22",
            "goes to   10.99.0.2:40000 via connector plant",
            "target    lan (dst[1]: 10.20.0.0/16) cannot be opened:",
            "check 4 no-role: no role",
        ] {
            assert!(text.contains(expected), "{text}\n  lacks {expected}");
        }
    }
}
