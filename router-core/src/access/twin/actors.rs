//! Who does what: users within their rights and beyond, admins in a hurry, routers that come and go.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::naive::{Asked, SIZE};
use super::office::{CLIENTS, Office, Piece, ROUTERS, Recipe, TARGETS, USERS};
use crate::access::tests::{OPERATOR, at};
use crate::access::{EndReason, RoleGrant, Scope, UserId, Validity};

/// One deed.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Requests that come together, in the order in which they get hold of the store.
    Open(Vec<Asked>),
    Close(usize),
    Terminate(usize),
    Extend {
        session: usize,
        user: usize,
        secs: u32,
    },
    SetRole {
        user: usize,
        spans: Vec<(u64, Option<u64>)>,
    },
    SetUserDisabled(usize, bool),
    SetOwner(usize, Option<usize>),
    NewKey(usize),
    Edit(usize, Edit),
    Approve {
        user: usize,
        target: usize,
        secs: u64,
    },
    Withdraw,
    Deliver(usize, usize),
    Cut(usize),
    Heal(usize),
    Wait(u64),
    Talk(usize, bool),
}

/// What an admin changes about a target.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Pieces(Vec<Piece>, bool),
    Exclusive(bool),
    Disabled(bool),
    Role(bool),
    MaxSecs(Option<u32>),
    Hours(Option<(u8, u8)>),
    NeedsReason(bool),
    NeedsApproval(bool),
    Comment,
}

impl Office {
    /// Does it, and lets the server look after its sessions.
    pub(super) fn act(&mut self, deed: &Deed) {
        let session = |number: usize, office: &Office| number % office.sessions.len().max(1);
        match deed.clone() {
            Deed::Open(requests) => requests.iter().for_each(|asked| self.open(asked)),
            Deed::Close(number) => self.end(session(number, self), EndReason::UserClosed),
            Deed::Terminate(number) => {
                let why = EndReason::AdminTerminated { by: UserId(99), scope: Scope::User };
                self.end(session(number, self), why);
            }
            Deed::Extend { session: number, user, secs } => self.extend(session(number, self), user, secs),
            Deed::SetRole { user, spans } => self.set_role(user, &spans),
            Deed::SetUserDisabled(user, disabled) => self.users[user].disabled = disabled,
            Deed::SetOwner(client, owner) => self.owners[client] = owner,
            Deed::NewKey(client) => self.keys[client] = self.keys[client].wrapping_add(10),
            Deed::Edit(target, edit) => self.edit(target, edit),
            Deed::Approve { user, target, secs } => {
                self.approved = Some((user, target, self.recipes[target].version, self.now + secs));
            }
            Deed::Withdraw => self.approved = None,
            Deed::Deliver(router, number) => self.deliver(router, session(number, self)),
            Deed::Cut(router) => self.cut(router),
            Deed::Heal(router) => self.heal(router),
            Deed::Wait(secs) => self.wait(secs),
            Deed::Talk(client, talks) => self.talking[client] = talks,
        }
        self.recheck();
        self.check();
    }

    /// Spans count from now.
    fn set_role(&mut self, user: usize, spans: &[(u64, Option<u64>)]) {
        let from_now = |(from, secs): &(u64, Option<u64>)| {
            let from = self.now - 1000 + from;
            (from, secs.map(|secs| from + secs))
        };
        self.role_spans[user] = spans.iter().map(from_now).collect();
        let grant = |(from, until): &(u64, Option<u64>)| RoleGrant {
            role: OPERATOR,
            valid: Validity::new(Some(at(*from)), until.map(at)).unwrap(),
        };
        self.users[user].roles = self.role_spans[user].iter().map(grant).collect();
    }

    /// An edit that makes the target contradict itself is refused, and nothing happens.
    fn edit(&mut self, number: usize, edit: Edit) {
        let mut recipe = self.recipes[number].clone();
        recipe.version += 1;
        match edit {
            Edit::Pieces(pieces, is_v6) => (recipe.pieces, recipe.is_v6) = (pieces, is_v6),
            Edit::Exclusive(exclusive) => recipe.exclusive = exclusive,
            Edit::Disabled(disabled) => recipe.disabled = disabled,
            Edit::Role(has_role) => recipe.has_role = has_role,
            Edit::MaxSecs(max_secs) => recipe.max_secs = max_secs,
            Edit::Hours(hours) => recipe.hours = hours,
            Edit::NeedsReason(needs) => recipe.needs_reason = needs,
            Edit::NeedsApproval(needs) => recipe.needs_approval = needs,
            Edit::Comment => {}
        }
        if let Some(target) = recipe.build(number) {
            (self.recipes[number], self.targets[number]) = (recipe, target);
        }
    }
}

fn span(max: u8) -> impl Strategy<Value = (u8, u8)> {
    (0..max, 0..max).prop_map(|(one, other)| (one.min(other), one.max(other)))
}

fn piece() -> impl Strategy<Value = Piece> {
    let protocol = prop_oneof![1 => Just(None), 3 => Just(Some(0)), 1 => Just(Some(1))];
    (span(SIZE), protocol, prop::option::weighted(0.8, span(SIZE))).prop_map(
        |(addresses, protocol, ports)| Piece {
            addresses,
            protocol,
            ports: ports.filter(|_| protocol.is_some()),
        },
    )
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    prop::collection::vec(piece(), 1..4)
}

/// Three targets that mean something to everybody, so that there is something to quarrel about.
pub(super) fn recipes() -> impl Strategy<Value = Vec<Recipe>> {
    let recipe = (piece(), prop::bool::weighted(0.3)).prop_map(|(piece, exclusive)| Recipe {
        pieces: vec![piece],
        is_v6: false,
        tenant: None,
        exclusive,
        disabled: false,
        has_role: true,
        max_secs: None,
        hours: None,
        needs_reason: false,
        needs_approval: false,
        version: 1,
    });
    prop::collection::vec(recipe, TARGETS)
}

fn asked() -> impl Strategy<Value = Asked> {
    let honest = (0..USERS, any::<bool>())
        .prop_map(|(user, second)| (user, [0, 2, 3][user] + usize::from(second && user == 0)));
    let who = prop_oneof![6 => honest, 1 => (0..USERS, 0..CLIENTS)];
    let target = prop_oneof![9 => 0..TARGETS, 1 => Just(TARGETS)];
    let duration = prop::option::of(1..2000_u32);
    (who, target, prop::bool::weighted(0.7), duration, prop::bool::weighted(0.95)).prop_map(
        |((user, client), target, has_reason, duration_secs, is_logged_in)| Asked {
            user,
            client,
            target,
            has_reason,
            duration_secs,
            is_logged_in,
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    let hours = prop::option::of((0..24_u8, 0..=24_u8).prop_filter("a window", |(from, to)| from < to));
    prop_oneof![
        3 => (pieces(), prop::bool::weighted(0.1)).prop_map(|(pieces, is_v6)| Edit::Pieces(pieces, is_v6)),
        2 => any::<bool>().prop_map(Edit::Exclusive),
        1 => prop::bool::weighted(0.3).prop_map(Edit::Disabled),
        1 => prop::bool::weighted(0.7).prop_map(Edit::Role),
        1 => prop::option::of(1..3000_u32).prop_map(Edit::MaxSecs),
        1 => hours.prop_map(Edit::Hours),
        1 => prop::bool::weighted(0.3).prop_map(Edit::NeedsReason),
        1 => prop::bool::weighted(0.3).prop_map(Edit::NeedsApproval),
        1 => Just(Edit::Comment),
    ]
}

/// Anything that anybody can do.
pub(super) fn deed() -> impl Strategy<Value = Deed> {
    let session = || 0..40_usize;
    let spans = prop::collection::vec((0..3000_u64, prop::option::of(1..3000_u64)), 0..3);
    let secs = prop_oneof![4 => 0..20_u64, 2 => 20..400_u64, 1 => 400..30_000_u64];
    prop_oneof![
        10 => prop::collection::vec(asked(), 1..4).prop_map(Deed::Open),
        2 => session().prop_map(Deed::Close),
        1 => session().prop_map(Deed::Terminate),
        3 => (session(), 0..USERS, 1..5000_u32)
            .prop_map(|(session, user, secs)| Deed::Extend { session, user, secs }),
        1 => (0..USERS, spans).prop_map(|(user, spans)| Deed::SetRole { user, spans }),
        1 => (0..USERS, prop::bool::weighted(0.3)).prop_map(|(user, disabled)| Deed::SetUserDisabled(user, disabled)),
        1 => (0..CLIENTS, prop::option::weighted(0.9, 0..USERS)).prop_map(|(client, owner)| Deed::SetOwner(client, owner)),
        1 => (0..CLIENTS).prop_map(Deed::NewKey),
        4 => (0..TARGETS, edit()).prop_map(|(target, edit)| Deed::Edit(target, edit)),
        2 => (0..USERS, 0..TARGETS, 1..5000_u64).prop_map(|(user, target, secs)| Deed::Approve { user, target, secs }),
        1 => Just(Deed::Withdraw),
        12 => (0..ROUTERS, session()).prop_map(|(router, session)| Deed::Deliver(router, session)),
        1 => (0..ROUTERS).prop_map(Deed::Cut),
        2 => (0..ROUTERS).prop_map(Deed::Heal),
        4 => secs.prop_map(Deed::Wait),
        2 => (0..CLIENTS, prop::bool::weighted(0.8)).prop_map(|(client, talks)| Deed::Talk(client, talks)),
    ]
}
