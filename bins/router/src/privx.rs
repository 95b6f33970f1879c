//! `privx add` and `privx del`: what the network access manager of SSH PrivX calls, through its router types exec and sshexec, when
//! a network access session begins and ends. Arguments are JSON documents; fields that are not known here are let be.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_runtime::host::admin::{AccessRequest, Request, ask};
use sluice_runtime::host::failure::{Exit, Failure};

use crate::cli::{PrivxCommand, PrivxOptions};
use crate::config::ADMIN_SOCKET_DEFAULT;

/// `{ "src": …, "dst": [ … ], "src_nat": … }`
#[derive(Debug, Deserialize)]
struct Network {
    src: String,
    #[serde(default)]
    dst: Vec<Destination>,
    #[serde(default)]
    src_nat: bool,
}

#[derive(Debug, Deserialize)]
struct Destination {
    selector: Selector,
    #[serde(default)]
    nat: Option<Nat>,
}

#[derive(Debug, Deserialize)]
struct Selector {
    ip: Ends<String>,
    #[serde(default)]
    proto: Option<String>,
    #[serde(default)]
    port: Option<Ends<u16>>,
}

#[derive(Debug, Deserialize)]
struct Ends<T> {
    start: T,
    end: T,
}

#[derive(Debug, Deserialize)]
struct Nat {
    #[serde(default)]
    addr: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

/// Of a router, all that matters here is what the administrator wrote for it.
#[derive(Debug, Default, Deserialize)]
struct Router {
    #[serde(default)]
    parameters: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Session {
    session_id: String,
    #[serde(default)]
    target_id: String,
    #[serde(default)]
    target_name: String,
}

pub(crate) fn run(command: &PrivxCommand) -> Result<(), Failure> {
    let (options, request) = match command {
        PrivxCommand::Add(options) => {
            (options, Request::AccessAdd(access(&options.network, &options.session)?))
        }
        // What is taken back is known by its session alone, whatever the rest says.
        PrivxCommand::Del(options) => {
            let session: Session = document("SESSION", &options.session)?;
            (options, Request::AccessRemove { id: identity(&session) })
        }
    };
    ask(&socket(options)?, &request, |_| {})?;
    Ok(())
}

/// The one given, or the one that the router's parameters in PrivX name by an absolute path, or the usual one.
fn socket(options: &PrivxOptions) -> Result<PathBuf, Failure> {
    let router: Router = document("ROUTER", &options.router)?;
    let named = router.parameters.as_ref().and_then(Value::as_str).map(str::trim);
    let named = named.filter(|path| path.starts_with('/'));
    Ok(options.admin.path(named.unwrap_or(ADMIN_SOCKET_DEFAULT)))
}

fn access(network: &str, session: &str) -> Result<AccessRequest, Failure> {
    let network: Network = document("NETWORK", network)?;
    let session: Session = document("SESSION", session)?;
    let id = identity(&session);
    let name = if session.target_name.is_empty() { session.target_id } else { session.target_name };
    Ok(AccessRequest {
        id,
        name,
        client_ip: client_ip(&network.src)?,
        src_nat: network.src_nat,
        dst: network.dst.iter().map(destination).collect(),
    })
}

/// A session has one target; should it ever have several, each comes and goes by itself.
fn identity(session: &Session) -> String {
    format!("{}/{}", session.session_id, session.target_id)
}

fn client_ip(src: &str) -> Result<IpAddr, Failure> {
    let whole = |prefix: IpNet| (prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr());
    let found = src.parse().ok().or_else(|| src.parse().ok().and_then(whole));
    found.ok_or_else(|| {
        Failure::new(Exit::Configuration, format!("NETWORK: src: {src:?} is no address of a client"))
    })
}

/// As `dst` of a `[[target]]`. What is empty or zero is not there: that is how it is written by programs that leave nothing out.
fn destination(destination: &Destination) -> Value {
    let Destination { selector: Selector { ip, proto, port }, nat } = destination;
    let mut selector = json!({ "ip": { "start": ip.start, "end": ip.end } });
    if let Some(proto) = proto.as_deref().filter(|proto| !proto.is_empty()) {
        selector["proto"] = json!(proto);
    }
    if let Some(Ends { start, end }) = port.as_ref().filter(|port| (port.start, port.end) != (0, 0)) {
        selector["port"] = json!({ "start": start, "end": end });
    }
    let mut whole = json!({ "selector": selector });
    if let Some(nat) = nat {
        let addr = nat.addr.as_deref().filter(|addr| !addr.is_empty());
        let port = nat.port.filter(|port| *port != 0);
        if addr.is_some() || port.is_some() {
            let fields = [addr.map(|addr| ("addr", json!(addr))), port.map(|port| ("port", json!(port)))];
            let fields = fields.into_iter().flatten().map(|(field, value)| (field.to_owned(), value));
            whole["nat"] = Value::Object(fields.collect());
        }
    }
    whole
}

/// An argument, or the file that it names.
fn document<T: DeserializeOwned>(what: &str, argument: &str) -> Result<T, Failure> {
    let wrong = || Failure::new(Exit::Configuration, format!("{what} is not understood"));
    let text = if argument.trim_start().starts_with('{') {
        argument.to_owned()
    } else {
        std::fs::read_to_string(argument).map_err(|error| {
            wrong().because(&error).remedy("Write a JSON document, or the name of a file that has one.")
        })?
    };
    serde_json::from_str(&text).map_err(|error| wrong().because(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str =
        r#"{ "session_id": "7a", "target_id": "9b", "target_name": "prod web", "user": "u1" }"#;

    #[test]
    fn what_is_called_with_becomes_what_the_router_is_asked() {
        let network = r#"{
            "src": "10.0.0.1", "src_nat": true, "comment": "from a later version",
            "dst": [
                { "selector": { "ip": { "start": "192.168.1.1", "end": "192.168.1.1" }, "proto": "tcp",
                  "port": { "start": 443, "end": 443 } }, "nat": { "addr": "192.168.57.19", "port": 10443 } },
                { "selector": { "ip": { "start": "192.168.2.0", "end": "192.168.2.255" }, "proto": "",
                  "port": { "start": 0, "end": 0 } }, "nat": { "addr": "", "port": 0 } }
            ]
        }"#;
        let access = access(network, SESSION).unwrap();
        assert_eq!((access.id.as_str(), access.name.as_str(), access.src_nat), ("7a/9b", "prod web", true));
        assert_eq!(access.client_ip, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(
            Value::Array(access.dst),
            json!([
                { "selector": { "ip": { "start": "192.168.1.1", "end": "192.168.1.1" }, "proto": "tcp",
                  "port": { "start": 443, "end": 443 } }, "nat": { "addr": "192.168.57.19", "port": 10443 } },
                { "selector": { "ip": { "start": "192.168.2.0", "end": "192.168.2.255" } } },
            ])
        );
    }

    #[test]
    fn what_is_no_document_or_lacks_what_matters_is_told_with_its_place() {
        for (network, session, told) in [
            ("{}", SESSION, "NETWORK is not understood\n  why: missing field `src`"),
            ("/nonexistent/file", SESSION, "NETWORK is not understood"),
            (r#"{"src":"10.0.0.0/24"}"#, SESSION, "NETWORK: src: \"10.0.0.0/24\" is no address"),
            (r#"{"src":"10.0.0.1/32"}"#, "{}", "SESSION is not understood"),
        ] {
            let failure = access(network, session).unwrap_err();
            assert_eq!(failure.exit(), Exit::Configuration);
            assert!(failure.to_string().contains(told), "{failure}");
        }
    }
}
