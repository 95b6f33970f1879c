//! `[[session]]`: a client's access to one target. In a file it stands for what a control plane would grant.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use sluice_runtime::host::config::node::required;
use sluice_runtime::host::config::{Fault, Place, Problems, value};
use thiserror::Error;

use super::Targets;
use super::target::Target;

/// `[[session]]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionTable {
    client_ip: Option<String>,
    target: Option<String>,
    expires: Option<toml::Value>,
}

/// A session, legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_ip: IpAddr,
    pub(crate) target: String,
    pub(crate) expires: Option<Timestamp>,
}

/// What can be wrong with a session.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SessionFault {
    /// No client has this address, and none may arrive unencrypted.
    #[error("no [[client]] has the address {0}")]
    UnknownClient(IpAddr),
    /// Nothing is called so.
    #[error("no [[target]] is called \"{0}\"")]
    UnknownTarget(String),
    /// No destination of the client's IP version.
    #[error("target \"{target}\" has no {version} destination, so {client_ip} can reach nothing of it")]
    VersionMismatch { target: String, version: &'static str, client_ip: IpAddr },
    /// The same client has a session whose destinations a packet could match as well.
    #[error("it overlaps {other}: a packet of this client could match both")]
    Overlap { other: Place },
    /// Not a time with an offset.
    #[error("{0} is not a moment in time")]
    NotAMoment(String),
}

impl Fault for SessionFault {
    fn remedy(&self) -> String {
        match self {
            Self::UnknownClient(_) => "Add a [[client]], or set [tun] accept_clients = true.".into(),
            Self::UnknownTarget(_) => "Correct the name, or add the [[target]].".into(),
            Self::VersionMismatch { version, .. } => {
                format!("Add a {version} destination, or use the other address.")
            }
            Self::Overlap { .. } => "Remove one of the sessions, or make the targets disjoint.".into(),
            Self::NotAMoment(_) => "Write date, time and offset, such as 2027-01-01T00:00:00Z.".into(),
        }
    }
}

/// Parses a session; `known_client` says whether a client may come from an address.
pub(crate) fn parse(
    table: &SessionTable,
    known_client: impl Fn(IpAddr) -> bool,
    targets: &Targets,
    place: &Place,
    problems: &mut Problems,
) -> Option<Session> {
    let client_ip = client_ip(table, known_client, place, problems);
    let target = target(table, targets, place, problems);
    let expires = table.expires.as_ref().map(|value| problems.take(&place.field("expires"), moment(value)));
    let (client_ip, target) = (client_ip?, target?);
    problems.take(&place.field("target"), of_its_version(client_ip, target))?;
    let expires = match expires {
        Some(None) => return None,
        Some(expires) => expires,
        None => None,
    };
    Some(Session { client_ip, target: target.name.clone(), expires })
}

fn client_ip(
    table: &SessionTable,
    known_client: impl Fn(IpAddr) -> bool,
    place: &Place,
    problems: &mut Problems,
) -> Option<IpAddr> {
    let field = &place.field("client_ip");
    let address = required(table.client_ip.as_deref(), "client_ip", place, problems)?;
    let address = problems.take(field, value::host(address))?;
    if !known_client(address) {
        problems.note(field, SessionFault::UnknownClient(address));
    }
    Some(address)
}

fn target<'a>(
    table: &SessionTable,
    targets: &'a Targets,
    place: &Place,
    problems: &mut Problems,
) -> Option<&'a Target> {
    let name = required(table.target.as_deref(), "target", place, problems)?;
    let found = targets.get(name);
    problems.take(&place.field("target"), found.ok_or_else(|| SessionFault::UnknownTarget(name.to_owned())))
}

/// Whether anything of the target can be reached from an address of this version.
pub(super) fn of_its_version(client_ip: IpAddr, target: &Target) -> Result<(), SessionFault> {
    let v4 = client_ip.is_ipv4();
    if target.destinations.iter().any(|destination| destination.selector.ip().start().is_ipv4() == v4) {
        return Ok(());
    }
    let version = super::target::version_of(client_ip);
    Err(SessionFault::VersionMismatch { target: target.name.clone(), version, client_ip })
}

/// A TOML date-time with offset, or the same as text.
fn moment(value: &toml::Value) -> Result<Timestamp, SessionFault> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().map_err(|_| SessionFault::NotAMoment(text))
}

/// Whether a session asked for at run time would be legal in the file, overlaps apart.
///
/// # Errors
/// The first fault.
pub(crate) fn legal(
    session: &Session,
    known_client: impl Fn(IpAddr) -> bool,
    targets: &Targets,
) -> Result<(), SessionFault> {
    if !known_client(session.client_ip) {
        return Err(SessionFault::UnknownClient(session.client_ip));
    }
    let target = targets.iter().find(|target| target.name == session.target);
    of_its_version(
        session.client_ip,
        target.ok_or_else(|| SessionFault::UnknownTarget(session.target.clone()))?,
    )
}

/// Notes sessions of one client that one packet could match both. The first of each pair stays.
pub(crate) fn note_overlaps(sessions: &[(Place, Session)], targets: &Targets, problems: &mut Problems) {
    let mut earlier: HashMap<IpAddr, Vec<&(Place, Session)>> = HashMap::new();
    for entry in sessions {
        let (place, session) = entry;
        let same_client = earlier.entry(session.client_ip).or_default();
        for (other, before) in same_client.iter() {
            if overlap(targets, &before.target, &session.target) {
                problems.note(place, SessionFault::Overlap { other: other.clone() });
            }
        }
        same_client.push(entry);
    }
}

/// Whether one packet could match both targets.
pub(crate) fn overlap(targets: &Targets, a: &str, b: &str) -> bool {
    let Some((a, b)) = targets.get(a).zip(targets.get(b)) else { return false };
    a.destinations.iter().any(|a| b.destinations.iter().any(|b| a.overlaps(b)))
}
