//! The specification, read aloud: sets of packets, lists of sessions, no ranges.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::office::{CLIENTS, Entry, Office, Piece, Recipe, SILENCE_MAX_SECS};
use crate::access::tests::at;
use crate::access::{TenantId, UserId};

/// A packet of the small universe: whether its address is IPv6, the address, the protocol, the port.
pub(super) type Packet = (bool, u8, u8, u8);

/// Addresses and ports are below this. Protocol 0 is TCP, 1 is UDP, 2 has no ports.
pub(super) const SIZE: u8 = 4;

/// All packets that a destination of a recipe means.
pub(super) fn packets(is_v6: bool, piece: &Piece) -> BTreeSet<Packet> {
    let mut all = BTreeSet::new();
    for address in 0..SIZE {
        for protocol in 0..3 {
            for port in 0..if protocol == 2 { 1 } else { SIZE } {
                let address_fits = piece.addresses.0 <= address && address <= piece.addresses.1;
                let protocol_fits = piece.protocol.is_none_or(|wanted| wanted == protocol);
                let port_fits = match piece.ports {
                    Some((first, last)) => protocol < 2 && first <= port && port <= last,
                    None => true,
                };
                if address_fits && protocol_fits && port_fits {
                    all.insert((is_v6, address, protocol, port));
                }
            }
        }
    }
    all
}

/// All packets that a recipe means.
pub(super) fn packets_of(recipe: &Recipe) -> BTreeSet<Packet> {
    recipe.pieces.iter().flat_map(|piece| packets(recipe.is_v6, piece)).collect()
}

impl Recipe {
    /// Whether both have the same destinations, in any order. Two spellings of one set of packets are two targets.
    fn is_written_like(&self, other: &Recipe) -> bool {
        let has_all =
            |one: &Recipe, other: &Recipe| other.pieces.iter().all(|piece| one.pieces.contains(piece));
        self.is_v6 == other.is_v6 && has_all(self, other) && has_all(other, self)
    }
}

/// Whether two recipes lead to one device from two addresses: one packet, and not the networks of two tenants.
pub(super) fn meet(one: &Recipe, other: &Recipe) -> bool {
    let strangers = matches!((one.tenant, other.tenant), (Some(a), Some(b)) if a != b);
    !strangers && !packets_of(one).is_disjoint(&packets_of(other))
}

/// A request, as an actor makes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) user: usize,
    pub(super) client: usize,
    /// One past the last target is a name that there is not.
    pub(super) target: usize,
    pub(super) has_reason: bool,
    pub(super) duration_secs: Option<u32>,
    pub(super) is_logged_in: bool,
}

impl Office {
    /// What has to come of a request: when its session ends, or the code of the refusal.
    pub(super) fn expected(&self, asked: &Asked) -> Result<Option<u64>, &'static str> {
        let user = &self.users[asked.user];
        if user.disabled {
            return Err("user-disabled");
        }
        if !asked.is_logged_in {
            return Err("not-authenticated");
        }
        if asked.client == CLIENTS - 1 {
            return Err("client-ip-not-served");
        }
        if self.owners[asked.client] != Some(asked.user) {
            return Err("client-ip-not-yours");
        }
        let foreign = |recipe: &Recipe| user.tenant.is_some() && user.tenant != recipe.tenant.map(TenantId);
        let recipe = match self.recipes.get(asked.target) {
            Some(recipe) if !foreign(recipe) => recipe,
            _ => return Err("target-unknown"),
        };
        if recipe.disabled {
            return Err("target-disabled");
        }
        if recipe.is_v6 {
            return Err("target-of-other-version");
        }
        let role_end = self.role_end(asked.user, recipe)?;
        let closes = self.closes(recipe).ok_or("outside-schedule")?;
        if recipe.needs_reason && !asked.has_reason {
            return Err("reason-required");
        }
        let approved_until = self.approved_until(asked.user, asked.target, recipe.version);
        if recipe.needs_approval && approved_until.is_none() {
            return Err("approval-needed");
        }
        let ongoing = || self.sessions.iter().filter(|entry| entry.session.is_ongoing());
        if ongoing().any(|entry| entry.client == asked.client && entry.session.user != user.id) {
            return Err("client-ip-in-use");
        }
        let means_same = |other: &Recipe| !packets_of(other).is_disjoint(&packets_of(recipe));
        if ongoing().any(|entry| entry.client == asked.client && means_same(&entry.recipe)) {
            return Err("overlaps");
        }
        if recipe.exclusive && ongoing().any(|entry| meet(&entry.recipe, recipe)) {
            return Err("others-present");
        }
        let keeps_out = |entry: &Entry| {
            entry.recipe.exclusive && entry.session.user != user.id && meet(&entry.recipe, recipe)
        };
        if ongoing().any(keeps_out) {
            return Err("target-in-exclusive-use");
        }
        if !self.routers.iter().any(|router| router.is_ready) {
            return Err("no-router-ready");
        }
        if ongoing().filter(|entry| entry.session.user == user.id).count() >= 3 {
            return Err("user-quota");
        }
        if ongoing().count() >= 5 {
            return Err("router-quota");
        }
        let ends = [
            asked.duration_secs.map(|secs| self.now + u64::from(secs)),
            recipe.max_secs.map(|secs| self.now + u64::from(secs)),
            closes,
            role_end,
            approved_until.filter(|_| recipe.needs_approval),
        ];
        Ok(ends.into_iter().flatten().min())
    }

    /// What has to be true of each open session when nothing is left to do.
    pub(super) fn has_rights(&self, entry: &Entry) -> Result<(), &'static str> {
        let (session, client, opened_as) = (&entry.session, entry.client, &entry.recipe);
        let user = self.users.iter().position(|user| user.id == session.user).ok_or("no such user")?;
        let number =
            self.targets.iter().position(|target| target.id == session.target.id).ok_or("no such target")?;
        let recipe = &self.recipes[number];
        let ends = session.expires.map(|end| end.at);
        let longest = recipe.max_secs.map(|secs| session.opened.secs + u64::from(secs));
        let holds = [
            (ends.is_none_or(|end| end > at(self.now)), "outlives its end"),
            (longest.is_none_or(|end| end > at(self.now).secs), "outlives the longest duration"),
            (!self.users[user].disabled, "outlives its user"),
            (self.owners[client] == Some(user) && self.keys[client] == entry.key, "outlives its device"),
            (!recipe.disabled, "outlives its target"),
            (recipe.is_written_like(opened_as), "leads where its target does not"),
            (recipe.exclusive == opened_as.exclusive, "is not as exclusive as its target"),
            (recipe.tenant == opened_as.tenant, "is another tenant's"),
            (self.role_end(user, recipe).is_ok(), "outlives its role"),
            (self.closes(recipe).is_some(), "outlives the schedule"),
            (!recipe.needs_reason || session.reason.is_some(), "has no reason"),
            (
                !recipe.needs_approval
                    || self.approved_until(user, number, recipe.version).is_some()
                    || self.approved_until(user, number, opened_as.version).is_some(),
                "has no approval",
            ),
            (
                self.now < self.heard[client].max(session.opened.secs - at(0).secs) + SILENCE_MAX_SECS,
                "outlives its client",
            ),
        ];
        holds.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(what))
    }

    /// When the last role that grants it now ends.
    fn role_end(&self, user: usize, recipe: &Recipe) -> Result<Option<u64>, &'static str> {
        let spans: Vec<(u64, Option<u64>)> =
            if recipe.has_role { self.role_spans[user].clone() } else { Vec::new() };
        let now: Vec<Option<u64>> = spans
            .iter()
            .filter(|(from, until)| *from <= self.now && until.is_none_or(|until| self.now < until))
            .map(|(_, until)| *until)
            .collect();
        match (spans.is_empty(), now.is_empty()) {
            (true, _) => Err("role-missing"),
            (false, true) => Err("role-not-valid"),
            (false, false) if now.contains(&None) => Ok(None),
            (false, false) => Ok(now.into_iter().flatten().max()),
        }
    }

    /// When a target that is open closes (`Some(None)`: never); `None` if it is closed. Hour by hour.
    fn closes(&self, recipe: &Recipe) -> Option<Option<u64>> {
        let Some((from, to)) = recipe.hours else { return Some(None) };
        let is_open = |secs: u64| (u64::from(from)..u64::from(to)).contains(&(secs / 3600 % 24));
        let hour = self.now / 3600;
        is_open(self.now).then(|| (hour + 1..hour + 25).map(|hour| hour * 3600).find(|secs| !is_open(*secs)))
    }

    fn approved_until(&self, user: usize, target: usize, version: u64) -> Option<u64> {
        let (approved_user, approved_target, approved_version, until) = self.approved?;
        let is_this = (approved_user, approved_target, approved_version) == (user, target, version);
        (is_this && self.now < until).then_some(until)
    }
}

/// The ids that the model's users have.
pub(super) fn user_id(number: usize) -> UserId {
    UserId(number as u128 + 1)
}
