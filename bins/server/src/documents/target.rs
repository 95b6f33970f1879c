//! Targets: from PrivX's words to objects of policy, and back to words that people read.

use std::time::Duration;

use router_core::Refusal;
use router_core::access::{
    Conditions, ConnectorId, Destination, Destinations, DestinationsError, Name, Nat, NatAddr, RoleId,
    Schedule, SessionLength, Target, TargetId, TenantId, Weekday, Weekdays, Window,
};
use router_core::selector::Selector;
use sluice_api::{DestinationSpec, NatSpec, ScheduleSpec, SelectorSpec, TargetSpec, WindowSpec};
use uuid::Uuid;

use super::fault::{Faults, Place};
use super::kinds::COMMENT_MAX;
use super::value::{self, wrong};
use super::{Document, Named};
use crate::store::StoreError;
use crate::store::objects::{Claim, Kind, Reference};

/// Roles of a target, and words to find it by.
const LIST_MAX: usize = 256;
const TAG_MAX: usize = 64;

impl Document for TargetSpec {
    const KIND: Kind = Kind::Target;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    fn named(&self) -> Vec<Named> {
        let document = Place::document();
        let (roles, dst) = (document.field("roles"), document.field("dst"));
        let roles = self
            .roles
            .iter()
            .enumerate()
            .map(|(index, role)| Named::at(&roles.index(index), Kind::Role, role));
        let connectors = self.dst.iter().enumerate().filter_map(|(index, entry)| {
            let text = entry.nat.as_ref()?.addr.to_string();
            let (connector, _) = text.rsplit_once('/').filter(|_| is_mapped(&text))?;
            Some(Named::at(&nat_place(&dst, index), Kind::Connector, connector))
        });
        roles.chain(connectors).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn check(&self, faults: &mut Faults) {
        // Which connector is meant is looked up later; here only whether it could be one.
        let read = Read { spec: self, connector: &|_| Some(ConnectorId(0)) };
        read.all(faults);
    }
}

/// A target, for decisions. `references` are those of its document.
pub(crate) fn target_of(
    (id, tenant, version): (Uuid, Option<Uuid>, u64),
    spec: &TargetSpec,
    references: &[Reference],
) -> Result<Target, StoreError> {
    let named = |place: &Place| references.iter().find(|reference| reference.field == place.pointer());
    let connector = |place: &Place| named(place).map(|named| ConnectorId(named.object.as_u128()));
    let mut faults = Faults::default();
    let parts = Read { spec, connector: &connector }.all(&mut faults);
    let roles = Place::document().field("roles");
    let roles = (0..spec.roles.len()).filter_map(|index| named(&roles.index(index)));
    let roles = roles.map(|named| RoleId(named.object.as_u128())).collect();
    let Some(Parts { name, destinations, conditions, deny_signal }) = parts else {
        let first = faults.into_problems().into_iter().next();
        let why = first.map_or(String::new(), |fault| format!("{}: {}", fault.pointer, fault.detail));
        return Err(StoreError::unreadable(format!("target {:?}", spec.name), why));
    };
    Ok(Target {
        id: TargetId(id.as_u128()),
        tenant: tenant.map(|tenant| TenantId(tenant.as_u128())),
        name,
        roles,
        destinations,
        src_nat: spec.src_nat,
        exclusive_access: spec.exclusive_access,
        disabled: spec.disabled,
        conditions,
        deny_signal,
        version,
    })
}

/// What a user addresses to reach a destination: `10.20.0.5 tcp 22`.
pub(crate) fn words_of(destination: &DestinationSpec) -> String {
    let SelectorSpec { ip, proto, port } = &destination.selector;
    let mut words = ip.to_string();
    if let Some(proto) = proto {
        words += &format!(" {}", proto.to_ascii_lowercase());
    }
    if let Some(port) = port {
        words += &format!(" {port}");
    }
    words
}

/// What is legal by birth of a document.
struct Parts {
    name: Name,
    destinations: Destinations,
    conditions: Conditions,
    deny_signal: Option<Refusal>,
}

struct Read<'a> {
    spec: &'a TargetSpec,
    /// Who is named at a place.
    connector: &'a dyn Fn(&Place) -> Option<ConnectorId>,
}

impl Read<'_> {
    fn all(&self, faults: &mut Faults) -> Option<Parts> {
        let document = Place::document();
        let name = faults.take(&document.field("name"), Name::new(&self.spec.name));
        self.texts(&document, faults);
        let deny_signal = match &self.spec.deny_signal {
            None => Some(None),
            Some(word) => faults.take(&document.field("deny_signal"), refusal(word)).map(Some),
        };
        let conditions = self.conditions(&document, faults);
        let destinations = self.destinations(&document.field("dst"), faults);
        Some(Parts {
            name: name?,
            destinations: destinations?,
            conditions: conditions?,
            deny_signal: deny_signal?,
        })
    }

    fn texts(&self, document: &Place, faults: &mut Faults) {
        faults.take(&document.field("comment"), value::text(&self.spec.comment, COMMENT_MAX));
        let instructions = value::text(&self.spec.user_instructions, COMMENT_MAX);
        faults.take(&document.field("user_instructions"), instructions);
        let tags = document.field("tags");
        for (list, place) in
            [(self.spec.tags.len(), &tags), (self.spec.roles.len(), &document.field("roles"))]
        {
            if list > LIST_MAX {
                faults.note(place, format!("at most {LIST_MAX} are kept"));
            }
        }
        for (index, tag) in self.spec.tags.iter().enumerate() {
            faults.take(&tags.index(index), value::text(tag, TAG_MAX));
        }
    }

    fn conditions(&self, document: &Place, faults: &mut Faults) -> Option<Conditions> {
        let max_duration = match self.spec.max_duration {
            None => Some(None),
            Some(seconds) => {
                let length = SessionLength::try_from(Duration::from_secs(seconds.0));
                faults.take(&document.field("max_duration"), length).map(Some)
            }
        };
        let schedule = match &self.spec.schedule {
            None => Some(Schedule::default()),
            Some(spec) => schedule(spec, &document.field("schedule"), faults),
        };
        Some(Conditions {
            max_duration: max_duration?,
            require_reason: self.spec.require_reason,
            require_approval: self.spec.require_approval,
            schedule: schedule?,
        })
    }

    fn destinations(&self, place: &Place, faults: &mut Faults) -> Option<Destinations> {
        let entries = self.spec.dst.iter().enumerate();
        let all: Vec<_> =
            entries.map(|(index, entry)| self.destination(entry, place, index, faults)).collect();
        let all = all.into_iter().collect::<Option<Vec<_>>>()?;
        match Destinations::new(all) {
            Ok(destinations) => Some(destinations),
            Err(error @ DestinationsError::Overlap { second, .. }) => {
                faults.note(&place.index(second).field("selector"), error);
                None
            }
            Err(error @ (DestinationsError::Empty | DestinationsError::TooMany { .. })) => {
                faults.note(place, error);
                None
            }
        }
    }

    fn destination(
        &self,
        entry: &DestinationSpec,
        dst: &Place,
        index: usize,
        faults: &mut Faults,
    ) -> Option<Destination> {
        let place = dst.index(index);
        let selector = selector(&entry.selector, &place.field("selector"), faults);
        let nat = match &entry.nat {
            None => Some(None),
            Some(nat) => self.nat(nat, &place.field("nat"), &nat_place(dst, index), faults).map(Some),
        };
        faults.take(&place, Destination::new(selector?, nat?))
    }

    fn nat(&self, spec: &NatSpec, place: &Place, addr_place: &Place, faults: &mut Faults) -> Option<Nat> {
        let addr = faults.take(addr_place, self.nat_addr(spec, addr_place));
        let ports = match &spec.port {
            None => Some(None),
            Some(port) => faults.take(&place.field("port"), value::ports(port)).map(Some),
        };
        Some(Nat { addr: addr?, ports: ports? })
    }

    fn nat_addr(&self, spec: &NatSpec, place: &Place) -> Result<NatAddr, value::Wrong> {
        let text = spec.addr.to_string();
        match text.rsplit_once('/').filter(|_| is_mapped(&text)) {
            None => value::addresses(&spec.addr).map(NatAddr::Range),
            Some((name, device)) => {
                let connector = (self.connector)(place);
                let connector = connector.ok_or_else(|| wrong(format!("there is no connector {name:?}")))?;
                Ok(NatAddr::Mapped { connector, device: value::address(device)? })
            }
        }
    }
}

/// Where the address of a translation stands.
fn nat_place(dst: &Place, index: usize) -> Place {
    dst.index(index).field("nat").field("addr")
}

/// `site-a/10.0.0.30`, as opposed to the prefix `10.0.0.0/24`.
fn is_mapped(text: &str) -> bool {
    text.rsplit_once('/').is_some_and(|(_, device)| device.contains(['.', ':']))
}

fn selector(spec: &SelectorSpec, place: &Place, faults: &mut Faults) -> Option<Selector> {
    let ip = faults.take(&place.field("ip"), value::addresses(&spec.ip));
    let proto = match &spec.proto {
        None => Some(None),
        Some(text) => faults.take(&place.field("proto"), value::protocol(text)).map(Some),
    };
    let ports = match &spec.port {
        None => Some(None),
        Some(port) => faults.take(&place.field("port"), value::ports(port)).map(Some),
    };
    let (ip, proto, ports) = (ip?, proto?, ports?);
    faults.take(&place.field("port"), Selector::new(ip, proto, ports))
}

fn refusal(word: &str) -> Result<Refusal, value::Wrong> {
    match word {
        "silent" => Ok(Refusal::Silent),
        "prohibited" => Ok(Refusal::Prohibited),
        "reset" => Ok(Refusal::Reset),
        _ => Err(wrong(format!("{word:?} is no deny signal: write silent, prohibited or reset"))),
    }
}

fn schedule(spec: &ScheduleSpec, place: &Place, faults: &mut Faults) -> Option<Schedule> {
    let offset = match &spec.utc_offset {
        None => Some(0),
        Some(text) => faults.take(&place.field("utc_offset"), value::utc_offset(text)),
    };
    let windows = place.field("windows");
    let all: Vec<_> = spec
        .windows
        .iter()
        .enumerate()
        .map(|(index, spec)| window(spec, &windows.index(index), faults))
        .collect();
    let all = all.into_iter().collect::<Option<Vec<_>>>()?;
    if all.is_empty() {
        faults.note(&windows, "a schedule without windows is no schedule: leave it out for always");
        return None;
    }
    faults.take(place, Schedule::new(offset?, all))
}

fn window(spec: &WindowSpec, place: &Place, faults: &mut Faults) -> Option<Window> {
    let from = faults.take(&place.field("from"), value::time_of_day(&spec.from));
    let until = faults.take(&place.field("until"), value::time_of_day(&spec.until));
    let days = match spec.days.is_empty() {
        true => Some(Weekdays::ALL),
        false => faults.take(&place.field("days"), Weekdays::new(spec.days.iter().map(|day| weekday(*day)))),
    };
    faults.take(place, Window::new(days?, from?, until?))
}

fn weekday(day: sluice_api::Weekday) -> Weekday {
    match day {
        sluice_api::Weekday::Mon => Weekday::Monday,
        sluice_api::Weekday::Tue => Weekday::Tuesday,
        sluice_api::Weekday::Wed => Weekday::Wednesday,
        sluice_api::Weekday::Thu => Weekday::Thursday,
        sluice_api::Weekday::Fri => Weekday::Friday,
        sluice_api::Weekday::Sat => Weekday::Saturday,
        sluice_api::Weekday::Sun => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(document: Value) -> TargetSpec {
        serde_json::from_value(document).unwrap()
    }

    fn faults(document: Value) -> Vec<(String, String)> {
        let mut faults = Faults::default();
        spec(document).check(&mut faults);
        faults.into_problems().into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    fn whole() -> Value {
        json!({
            "name": "db-prod",
            "roles": ["dba"],
            "dst": [
                { "selector": { "ip": "10.20.0.5", "proto": "TCP", "port": 22 },
                  "nat": { "addr": "site-a/192.168.7.10" } },
                { "selector": { "ip": { "start": "10.20.1.0", "end": "10.20.1.9" }, "proto": "udp", "port": "8000-8009" },
                  "nat": { "addr": "10.9.0.10-10.9.0.19", "port": { "start": 9000, "end": 9009 } } },
                { "selector": { "ip": "fd00::/64" } },
            ],
            "max_duration": "8h",
            "schedule": { "utc_offset": "+02:00", "windows": [{ "days": ["mon", "fri"], "from": "08:00", "until": "18:00" }] },
            "deny_signal": "reset",
        })
    }

    #[test]
    fn a_target_becomes_what_its_document_says() {
        let references = [
            Reference { field: "/roles/0".to_owned(), object: Uuid::from_u128(5) },
            Reference { field: "/dst/0/nat/addr".to_owned(), object: Uuid::from_u128(6) },
        ];
        let named = spec(whole()).named();
        let named: Vec<_> = named.iter().map(|named| (named.place.as_str(), named.name.as_str())).collect();
        assert_eq!(named, [("/roles/0", "dba"), ("/dst/0/nat/addr", "site-a")]);
        let target = target_of((Uuid::from_u128(1), None, 3), &spec(whole()), &references).unwrap();
        assert_eq!((target.id, target.version, target.roles.as_slice()), (TargetId(1), 3, &[RoleId(5)][..]));
        let destinations = target.destinations.as_slice();
        let mapped = NatAddr::Mapped { connector: ConnectorId(6), device: "192.168.7.10".parse().unwrap() };
        assert_eq!(destinations[0].nat().unwrap().addr, mapped);
        assert_eq!(destinations[1].selector().to_string(), "10.20.1.0-10.20.1.9 udp 8000-8009");
        assert_eq!(destinations[2].nat(), None);
        assert_eq!(target.deny_signal, Some(Refusal::Reset));
        assert_eq!(target.conditions.schedule.utc_offset_minutes(), 120);
        assert_eq!(words_of(&spec(whole()).dst[0]), "10.20.0.5 tcp 22");
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let found = faults(json!({
            "name": "a/b",
            "dst": [
                { "selector": { "ip": "10.0.0.9-10.0.0.1", "proto": "icmp", "port": "x" } },
                { "selector": { "ip": "10.0.0.1", "port": 22 } },
                { "selector": { "ip": "10.0.0.1" }, "nat": { "addr": "site-a/10.0.0.300" } },
                { "selector": { "ip": "10.0.0.0/24" }, "nat": { "addr": "10.1.0.0/25" } },
            ],
            "max_duration": 0,
            "deny_signal": "loud",
            "schedule": { "windows": [{ "from": "25:00", "until": "18:00" }] },
            "comment": "\u{0}",
        }));
        let places: Vec<_> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "/name",
                "/comment",
                "/deny_signal",
                "/max_duration",
                "/schedule/windows/0/from",
                "/dst/0/selector/ip",
                "/dst/0/selector/proto",
                "/dst/0/selector/port",
                "/dst/1/selector/port",
                "/dst/2/nat/addr",
                "/dst/3",
            ],
            "{found:?}"
        );
    }

    #[test]
    fn destinations_that_overlap_are_told_at_the_later_one() {
        let one = json!({ "selector": { "ip": "10.0.0.0/24" } });
        let other = json!({ "selector": { "ip": "10.0.0.7", "proto": "tcp" } });
        let found = faults(json!({ "name": "a", "dst": [one, other] }));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "/dst/1/selector");
        assert_eq!(faults(json!({ "name": "a", "dst": [] }))[0].0, "/dst");
    }

    #[test]
    fn a_field_that_is_misspelt_is_an_error() {
        let misspelt = json!({ "name": "a", "dst": [], "exclusive": true });
        assert!(
            serde_json::from_value::<TargetSpec>(misspelt).unwrap_err().to_string().contains("exclusive")
        );
    }
}
