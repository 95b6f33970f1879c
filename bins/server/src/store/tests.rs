//! The contract of the store, kept by both databases.

use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;

use sluice_lab::postgres::Postgres;
use tempfile::TempDir;

use super::approvals::{ApprovalFilter, ApprovalRecord, Decided};
use super::audit::{AuditFilter, Event, ObjectRef, Outcome, Verified};
use super::objects::{After, Claim, Draft, Filter, Kind, ObjectFault, Reference};
use super::secrets::{SecretKind, SecretRecord};
use super::session_body::{ClientBody, SessionBody, Told};
use super::sessions::{Ongoing, Range, SessionFilter, SessionRecord};
use super::sql::values;
use super::*;

/// Each test once on either database.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() {
                let (_files, store) = super::sqlite_store().await;
                super::$name(store).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                if let Some(store) = super::postgres_store().await {
                    super::$name(store).await;
                }
            })*
        }
    };
}

contract!(
    an_object_comes_back_as_it_was_stored_and_a_name_is_taken_once,
    an_object_changes_only_from_the_version_that_was_read,
    what_others_name_is_neither_deleted_nor_renamed,
    an_address_belongs_to_one,
    objects_come_in_pages_in_the_order_of_their_names,
    nothing_of_a_transaction_is_left_that_was_not_committed,
    writers_wait_for_each_other_and_see_what_was_written,
    sessions_in_the_way_are_those_of_the_address_and_those_that_reach_the_same,
    a_closed_session_is_in_nobodys_way_and_in_the_history,
    ongoing_sessions_are_found_by_what_makes_them_worth_a_look,
    objects_and_claims_are_read_many_at_a_time,
    a_request_for_approval_waits_until_it_is_decided,
    the_audit_chain_verifies_and_tells_an_edit_from_a_gap,
    a_secret_that_redeems_once_does_so_for_one_of_many,
    a_port_comes_back_after_its_release,
);

pub(crate) async fn sqlite_store() -> (TempDir, Store) {
    let files = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreUrl::Sqlite(files.path().join("store.db"))).await.unwrap();
    (files, store)
}

pub(crate) async fn postgres_store() -> Option<Store> {
    Some(store_at(&postgres_url().await?).await)
}

/// Of an empty database.
pub(crate) async fn postgres_url() -> Option<String> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    let server = tokio::task::block_in_place(|| SERVER.get_or_init(|| Postgres::start().unwrap()));
    tokio::task::block_in_place(|| server.as_ref().map(|server| server.database().unwrap()))
}

/// What is there, seen by one more server.
pub(crate) async fn store_at(url: &str) -> Store {
    Store::open(&StoreUrl::from_str(url).unwrap()).await.unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_microsecond(1_800_000_000_123_456).unwrap()
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(now().as_microsecond() + seconds * 1_000_000).unwrap()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn draft(kind: Kind, name: &str) -> Draft {
    Draft {
        kind,
        tenant: None,
        name: name.to_owned(),
        body: format!("{{\"name\":\"{name}\"}}"),
        references: Vec::new(),
        claims: Vec::new(),
    }
}

async fn an_object_comes_back_as_it_was_stored_and_a_name_is_taken_once(store: Store) {
    let mut tx = store.write().await.unwrap();
    let stored = tx.insert_object(id(1), &draft(Kind::Role, "dba"), "root", now()).await.unwrap();
    assert_eq!((stored.version, stored.created, stored.author.as_str()), (1, now(), "root"));
    assert_eq!(tx.object(Kind::Role, id(1)).await.unwrap().unwrap(), stored);
    assert_eq!(tx.object_named(Kind::Role, None, "dba").await.unwrap().unwrap(), stored);
    assert_eq!(tx.object(Kind::User, id(1)).await.unwrap(), None);
    let again = tx.insert_object(id(2), &draft(Kind::Role, "dba"), "root", now()).await;
    assert!(matches!(again, Err(ObjectFault::NameTaken { kind: Kind::Role, .. })), "{again:?}");
    // Another kind, and another tenant, have names of their own.
    tx.insert_object(id(3), &draft(Kind::User, "dba"), "root", now()).await.unwrap();
    let of_tenant = Draft { tenant: Some(id(9)), ..draft(Kind::Role, "dba") };
    tx.insert_object(id(4), &of_tenant, "root", now()).await.unwrap();
    assert_eq!(tx.object_named(Kind::Role, Some(id(9)), "dba").await.unwrap().unwrap().id, id(4));
    tx.commit().await.unwrap();
}

async fn an_object_changes_only_from_the_version_that_was_read(store: Store) {
    let mut tx = store.write().await.unwrap();
    tx.insert_object(id(1), &draft(Kind::Role, "dba"), "root", now()).await.unwrap();
    let renamed = draft(Kind::Role, "dbas");
    let changed = tx.update_object(id(1), 1, &renamed, "eve", later(5)).await.unwrap();
    assert_eq!((changed.version, changed.name.as_str(), changed.updated_by.as_str()), (2, "dbas", "eve"));
    assert_eq!((changed.created, changed.updated), (now(), later(5)));
    let stale = tx.update_object(id(1), 1, &renamed, "eve", later(6)).await;
    assert!(matches!(stale, Err(ObjectFault::Stale { expected: 1, now: 2 })), "{stale:?}");
    let stale = tx.delete_object(Kind::Role, id(1), Some(1)).await;
    assert!(matches!(stale, Err(ObjectFault::Stale { .. })), "{stale:?}");
    tx.delete_object(Kind::Role, id(1), Some(2)).await.unwrap();
    let gone = tx.update_object(id(1), 2, &renamed, "eve", later(7)).await;
    assert!(matches!(gone, Err(ObjectFault::Gone { kind: Kind::Role })), "{gone:?}");
}

async fn what_others_name_is_neither_deleted_nor_renamed(store: Store) {
    let mut tx = store.write().await.unwrap();
    tx.insert_object(id(1), &draft(Kind::Role, "dba"), "root", now()).await.unwrap();
    let reference = Reference { field: "/roles/0".to_owned(), object: id(1) };
    let target = Draft { references: vec![reference.clone()], ..draft(Kind::Target, "db") };
    tx.insert_object(id(2), &target, "root", now()).await.unwrap();
    assert_eq!(tx.references_of(id(2)).await.unwrap(), [reference]);
    let used = tx.delete_object(Kind::Role, id(1), None).await;
    assert_eq!(used.unwrap_err().to_string(), "it is in use by target \"db\"");
    let renamed = tx.update_object(id(1), 1, &draft(Kind::Role, "dbas"), "root", now()).await;
    assert!(matches!(renamed, Err(ObjectFault::InUse { .. })), "{renamed:?}");
    // Its other fields may change, and the one that names it may go.
    tx.update_object(id(1), 1, &Draft { body: "{}".to_owned(), ..draft(Kind::Role, "dba") }, "root", now())
        .await
        .unwrap();
    let naming = Filter { naming: Some(id(1)), ..Filter::default() };
    assert_eq!(tx.objects(Kind::Target, &naming, None, 10).await.unwrap().len(), 1);
    tx.update_object(id(2), 1, &draft(Kind::Target, "db"), "root", now()).await.unwrap();
    assert!(tx.objects(Kind::Target, &naming, None, 10).await.unwrap().is_empty());
    tx.delete_object(Kind::Role, id(1), None).await.unwrap();
}

async fn an_address_belongs_to_one(store: Store) {
    let mut tx = store.write().await.unwrap();
    let claims = vec![Claim { what: "address", value: "10.77.0.2".to_owned() }];
    let laptop = Draft { claims: claims.clone(), ..draft(Kind::Device, "laptop") };
    tx.insert_object(id(1), &laptop, "root", now()).await.unwrap();
    // It may keep it, whatever else changes.
    tx.update_object(id(1), 1, &laptop, "root", now()).await.unwrap();
    let phone = Draft { claims, ..draft(Kind::Device, "phone") };
    let taken = tx.insert_object(id(2), &phone, "root", now()).await;
    assert_eq!(taken.unwrap_err().to_string(), "the address 10.77.0.2 belongs to device \"laptop\" already");
    assert_eq!(tx.claimant("address", "10.77.0.2").await.unwrap(), Some(id(1)));
    assert_eq!(tx.claimant("key", "10.77.0.2").await.unwrap(), None);
}

async fn objects_come_in_pages_in_the_order_of_their_names(store: Store) {
    let mut tx = store.write().await.unwrap();
    for (number, name) in ["c", "a", "e_1", "b", "d%"].into_iter().enumerate() {
        let tenant = (name == "b").then(|| id(50));
        tx.insert_object(id(number as u128), &Draft { tenant, ..draft(Kind::Target, name) }, "root", now())
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = tx.objects(Kind::Target, &Filter::default(), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(After { name: last.name.clone(), id: last.id });
        seen.extend(page.into_iter().map(|record| record.name));
    }
    assert_eq!(seen, ["a", "b", "c", "d%", "e_1"]);
    for (filter, found) in [
        (Filter { text: Some("D%".to_owned()), ..Filter::default() }, vec!["d%"]),
        (Filter { text: Some("_".to_owned()), ..Filter::default() }, vec!["e_1"]),
        (Filter { tenants: Some(vec![Some(id(50))]), ..Filter::default() }, vec!["b"]),
        (Filter { tenants: Some(vec![None]), ..Filter::default() }, vec!["a", "c", "d%", "e_1"]),
        (Filter { tenants: Some(Vec::new()), ..Filter::default() }, vec![]),
    ] {
        let names: Vec<_> = tx.objects(Kind::Target, &filter, None, 9).await.unwrap().into_iter().collect();
        assert_eq!(names.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), found, "{filter:?}");
    }
}

async fn nothing_of_a_transaction_is_left_that_was_not_committed(store: Store) {
    let mut tx = store.write().await.unwrap();
    tx.insert_object(id(1), &draft(Kind::Role, "dba"), "root", now()).await.unwrap();
    tx.record(event("role-created"), now()).await.unwrap();
    drop(tx);
    let mut tx = store.read().await.unwrap();
    assert_eq!(tx.object(Kind::Role, id(1)).await.unwrap(), None);
    assert!(tx.audit_after(0, 10).await.unwrap().is_empty());
}

async fn writers_wait_for_each_other_and_see_what_was_written(store: Store) {
    let writers: Vec<_> = (0..16_u128)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut tx = store.write().await.unwrap();
                let before = tx.audit_after(0, 100).await.unwrap().len();
                tx.insert_object(id(number), &draft(Kind::Role, &format!("r{number}")), "root", now())
                    .await
                    .unwrap();
                tx.record(event("role-created"), now()).await.unwrap();
                tx.commit().await.unwrap();
                before
            })
        })
        .collect();
    let mut seen = Vec::new();
    for writer in writers {
        seen.push(writer.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..16).collect::<Vec<_>>());
    let mut tx = store.read().await.unwrap();
    assert!(matches!(tx.verify_audit().await.unwrap(), Verified::Whole { events: 16, .. }));
}

fn session(number: u128, client_ip: &str) -> SessionRecord {
    SessionRecord {
        id: id(number),
        state: "active".to_owned(),
        tenant: None,
        user: id(100),
        client_ip: client_ip.parse().unwrap(),
        target: id(200),
        target_name: "db".to_owned(),
        exclusive: false,
        router: id(300),
        opened: later(number as i64),
        expires: Some(later(3600)),
        closed: None,
        ending: None,
        bytes: [0, 0],
        body: SessionBody {
            user_name: "alice".to_owned(),
            target: serde_json::from_value(serde_json::json!({
                "name": "db", "roles": ["dba"], "dst": [{ "selector": { "ip": "10.20.0.5" } }],
            }))
            .unwrap(),
            target_version: 1,
            target_tenant: None,
            references: vec![("/roles/0".to_owned(), id(400))],
            client: ClientBody::External,
            roles: vec!["dba".to_owned()],
            role_ids: vec![id(400)],
            reason: None,
            approval: None,
            limit: None,
            routers: vec![id(300)],
            waiting: Vec::new(),
            acknowledged: true,
            since: None,
            ended_by: None,
            said: None,
            packets: [0, 0],
            last_packet: None,
            told: [(id(300), Told { packets: [1, 2], bytes: [3, 4] })].into(),
        },
    }
}

fn range(first: &str, last: &str) -> Range {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Range { first: address(first), last: address(last) }
}

async fn sessions_in_the_way_are_those_of_the_address_and_those_that_reach_the_same(store: Store) {
    let mut tx = store.write().await.unwrap();
    for (number, client_ip, reach) in [
        (1, "10.77.0.1", range("10.20.0.0", "10.20.0.255")),
        (2, "10.77.0.2", range("10.20.1.7", "10.20.1.7")),
        (3, "10.77.0.3", range("fd00::", "fd00::ffff")),
        (4, "fd77::4", range("9.0.0.0", "9.255.255.255")),
    ] {
        tx.insert_session(&session(number, client_ip), &[reach]).await.unwrap();
    }
    for (client_ip, ranges, found) in [
        ("10.77.0.9", vec![range("10.20.0.255", "10.20.1.6")], vec![1]),
        ("10.77.0.9", vec![range("10.20.0.200", "10.20.1.7")], vec![1, 2]),
        ("10.77.0.2", vec![], vec![2]),
        ("10.77.0.3", vec![range("0.0.0.0", "255.255.255.255")], vec![1, 2, 3, 4]),
        ("10.77.0.9", vec![range("fd00::1:0", "fd00::2:0")], vec![]),
        ("10.77.0.9", vec![range("::", "fd00::")], vec![3]),
        ("fd77::4", vec![range("fd00::5", "fd00::5"), range("10.20.1.7", "10.20.1.7")], vec![2, 3, 4]),
    ] {
        let sessions = tx.sessions_in_the_way(client_ip.parse().unwrap(), &ranges).await.unwrap();
        let ids: Vec<_> = sessions.iter().map(|session| session.id.as_u128()).collect();
        assert_eq!(ids, found, "{client_ip} {ranges:?}");
    }
    assert_eq!(tx.ongoing_counts(id(100), id(300)).await.unwrap(), [4, 4, 4]);
    assert_eq!(tx.ongoing_counts(id(101), id(301)).await.unwrap(), [4, 0, 0]);
    assert_eq!(tx.ongoing(Ongoing::OfUser(id(100))).await.unwrap().len(), 4);
    assert!(tx.ongoing(Ongoing::ToTarget(id(201))).await.unwrap().is_empty());
}

async fn a_closed_session_is_in_nobodys_way_and_in_the_history(store: Store) {
    let mut tx = store.write().await.unwrap();
    let mut first = session(1, "10.77.0.1");
    tx.insert_session(&first, &[range("10.20.0.0", "10.20.0.255")]).await.unwrap();
    tx.insert_session(&session(2, "10.77.0.2"), &[]).await.unwrap();
    first.state = "closed".to_owned();
    (first.closed, first.ending, first.bytes) =
        (Some(later(60)), Some("expired".to_owned()), [10, u64::MAX >> 1]);
    tx.update_session(&first).await.unwrap();
    assert_eq!(tx.session(id(1)).await.unwrap().unwrap(), first);
    let reach = [range("10.20.0.0", "10.20.0.0")];
    assert!(tx.sessions_in_the_way("10.77.0.1".parse().unwrap(), &reach).await.unwrap().is_empty());
    assert_eq!(tx.ongoing(Ongoing::All).await.unwrap().len(), 1);
    for (filter, found) in [
        (SessionFilter::default(), vec![2, 1]),
        (SessionFilter { ongoing: Some(false), ..SessionFilter::default() }, vec![1]),
        (
            SessionFilter { client_ip: Some("10.77.0.2".parse().unwrap()), ..SessionFilter::default() },
            vec![2],
        ),
        (SessionFilter { since: Some(later(2)), ..SessionFilter::default() }, vec![2]),
        (SessionFilter { until: Some(later(2)), ..SessionFilter::default() }, vec![1]),
        (SessionFilter { user: Some(id(7)), ..SessionFilter::default() }, vec![]),
        (SessionFilter { target: Some(id(200)), ..SessionFilter::default() }, vec![2, 1]),
        (SessionFilter { tenants: Some(vec![Some(id(3))]), ..SessionFilter::default() }, vec![]),
    ] {
        let sessions = tx.sessions(&filter, None, 10).await.unwrap();
        let ids: Vec<_> = sessions.iter().map(|session| session.id.as_u128()).collect();
        assert_eq!(ids, found, "{filter:?}");
    }
    let older = tx.sessions(&SessionFilter::default(), Some((later(2), id(2))), 10).await.unwrap();
    assert_eq!(older, [first]);
}

async fn ongoing_sessions_are_found_by_what_makes_them_worth_a_look(store: Store) {
    let mut tx = store.write().await.unwrap();
    for number in 1..=5 {
        let mut session = session(number, &format!("10.77.0.{}", number % 2));
        session.expires = (number < 4).then(|| later(100 * number as i64));
        session.closed = (number == 5).then(|| later(5));
        tx.insert_session(&session, &[]).await.unwrap();
    }
    let numbers = |found: Vec<SessionRecord>| -> Vec<u128> {
        found.iter().map(|session| session.id.as_u128()).collect()
    };
    assert_eq!(numbers(tx.ongoing(Ongoing::From("10.77.0.1".parse().unwrap())).await.unwrap()), [1, 3]);
    assert_eq!(numbers(tx.expiring(Timestamp::MIN, later(200)).await.unwrap()), [1, 2]);
    assert_eq!(numbers(tx.expiring(later(100), later(300)).await.unwrap()), [2, 3]);
    assert_eq!(tx.ongoing_clients().await.unwrap().len(), 2);
    let first = tx.ongoing_behind(None, 2).await.unwrap();
    let last = first.last().map(|session| (session.opened, session.id));
    assert_eq!(
        (numbers(first), numbers(tx.ongoing_behind(last, 9).await.unwrap())),
        (vec![1, 2], vec![3, 4])
    );
    assert_eq!(numbers(tx.sessions_of(&[id(5), id(1), id(9)]).await.unwrap()), [1, 5]);
    let back = tx.session(id(1)).await.unwrap().unwrap();
    assert_eq!(back.body, session(1, "10.77.0.1").body);
}

async fn objects_and_claims_are_read_many_at_a_time(store: Store) {
    let mut tx = store.write().await.unwrap();
    let ids: Vec<_> = (1..=1200).map(id).collect();
    for (number, id) in ids.iter().enumerate() {
        let mut draft = draft(Kind::Device, &format!("d{number}"));
        draft.references = vec![Reference { field: "/user".to_owned(), object: self::id(9000) }];
        draft.claims =
            vec![Claim { what: "address", value: format!("10.77.{}.{}", number / 256, number % 256) }];
        tx.insert_object(*id, &draft, "root", now()).await.unwrap();
    }
    assert_eq!(tx.objects_of(Kind::Device, &ids).await.unwrap().len(), 1200);
    assert!(tx.objects_of(Kind::User, &ids).await.unwrap().is_empty());
    let references = tx.references_of_all(&ids).await.unwrap();
    assert_eq!((references.len(), references[&id(7)][0].object), (1200, id(9000)));
    let asked = ["10.77.0.0", "10.77.4.175", "10.88.0.0"].map(str::to_owned);
    let claimants = tx.claimants("address", &asked).await.unwrap();
    assert_eq!((claimants.len(), claimants["10.77.4.175"]), (2, id(1200)));
    assert_eq!(tx.claimed("address").await.unwrap().len(), 1200);
}

async fn a_request_for_approval_waits_until_it_is_decided(store: Store) {
    let mut tx = store.write().await.unwrap();
    let asked = |number: u128, tenant: Option<Uuid>| ApprovalRecord {
        id: id(number),
        tenant,
        user: id(100),
        target: id(200),
        target_version: 3,
        reason: "INC-1".to_owned(),
        asked: later(number as i64),
        decided: None,
    };
    let requests = [asked(1, None), asked(2, Some(id(50)))];
    for request in &requests {
        tx.insert_approval(request).await.unwrap();
    }
    let numbers = |found: Vec<ApprovalRecord>| -> Vec<u128> {
        found.iter().map(|request| request.id.as_u128()).collect()
    };
    assert_eq!(numbers(tx.approvals(ApprovalFilter::default(), 9).await.unwrap()), [2, 1]);
    assert_eq!(tx.waiting_approvals(id(100)).await.unwrap(), 2);
    assert_eq!(tx.newest_granted(id(100), id(200)).await.unwrap(), None);
    let decided = Decided { approver: id(101), granted: true, valid_until: later(500) };
    tx.decide_approval(id(1), &decided, later(9)).await.unwrap();
    let granted = ApprovalRecord { decided: Some(decided), ..requests[0].clone() };
    assert_eq!(tx.newest_granted(id(100), id(200)).await.unwrap(), Some(granted.clone()));
    assert_eq!(tx.approval(id(1)).await.unwrap(), Some(granted));
    let all = ApprovalFilter::default();
    for (filter, found) in [
        (ApprovalFilter { only_waiting: true, ..all }, vec![2]),
        (ApprovalFilter { tenant: Some(id(50)), ..all }, vec![2]),
        (ApprovalFilter { user: Some(id(101)), ..all }, vec![]),
    ] {
        assert_eq!(numbers(tx.approvals(filter, 9).await.unwrap()), found, "{filter:?}");
    }
}

fn event(action: &str) -> Event {
    Event {
        number: 1605,
        action: action.to_owned(),
        actor: "alice".to_owned(),
        tenant: None,
        object: Some(ObjectRef { kind: "target".to_owned(), id: id(7), name: "db \"1\"".to_owned() }),
        source: Some("192.0.2.1".parse().unwrap()),
        outcome: Outcome::Success,
        reason: Some("INC-42".to_owned()),
        details: serde_json::json!({ "z": 1, "a": [true, null] }),
    }
}

async fn the_audit_chain_verifies_and_tells_an_edit_from_a_gap(store: Store) {
    let mut tx = store.write().await.unwrap();
    for number in 0..1005 {
        tx.record(event(if number % 2 == 0 { "even" } else { "odd" }), later(number)).await.unwrap();
    }
    let newest = tx.audit(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!(tx.verify_audit().await.unwrap(), Verified::Whole { events: 1005, head: newest.hash.clone() });
    let odd = AuditFilter { action: Some("odd".to_owned()), until: Some(later(4)), ..AuditFilter::default() };
    let found: Vec<_> = tx.audit(&odd, None, 10).await.unwrap().iter().map(|entry| entry.link.seq).collect();
    assert_eq!(found, [4, 2]);
    assert_eq!(tx.audit(&odd, Some(4), 10).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    // The whole text may be replaced, with its hash: then the next does not follow it.
    for (sql, seq, why) in [
        (
            "UPDATE audit SET body = REPLACE(body, 'alice', 'mallory') WHERE seq = 3",
            3,
            "its text was changed",
        ),
        ("UPDATE audit SET actor = 'mallory' WHERE seq = 1002", 1002, "a column beside its text"),
        ("DELETE FROM audit WHERE seq = 500", 500, "it is missing"),
        (
            "UPDATE audit SET body = (SELECT body FROM audit WHERE seq = 9), hash = (SELECT hash FROM audit WHERE seq = 9) WHERE seq = 8",
            8,
            "it does not follow",
        ),
    ] {
        let mut tx = store.write().await.unwrap();
        assert_eq!(tx.execute(sql, values![]).await.unwrap(), 1, "{sql}");
        let Verified::Broken { seq: at, why: said } = tx.verify_audit().await.unwrap() else {
            panic!("{sql}")
        };
        assert!(at == seq && said.starts_with(why), "{sql}: {at} {said}");
    }
}

async fn a_secret_that_redeems_once_does_so_for_one_of_many(store: Store) {
    let secret = SecretRecord {
        hash: "ab".repeat(32),
        id: id(1),
        kind: SecretKind::Admin,
        owner: id(2),
        name: "site".to_owned(),
        scopes: vec!["a".to_owned(), "b".to_owned()],
        created: now(),
        expires: later(60),
        seen: None,
        used: None,
        body: "{}".to_owned(),
    };
    let mut tx = store.write().await.unwrap();
    tx.insert_secret(&secret).await.unwrap();
    assert_eq!(tx.secret(SecretKind::Admin, &secret.hash).await.unwrap().unwrap(), secret);
    assert_eq!(tx.secret(SecretKind::Api, &secret.hash).await.unwrap(), None);
    assert!(!tx.redeem(SecretKind::Admin, &secret.hash, later(60)).await.unwrap(), "expired");
    tx.commit().await.unwrap();
    let tries: Vec<_> = (0..64)
        .map(|_| {
            let (store, hash) = (store.clone(), secret.hash.clone());
            tokio::spawn(async move {
                let mut tx = store.write().await.unwrap();
                let won = tx.redeem(SecretKind::Admin, &hash, later(1)).await.unwrap();
                tx.commit().await.unwrap();
                won
            })
        })
        .collect();
    let mut won = 0;
    for attempt in tries {
        won += u32::from(attempt.await.unwrap());
    }
    assert_eq!(won, 1);
    let mut tx = store.write().await.unwrap();
    assert_eq!(tx.delete_secrets_of(SecretKind::Admin, id(2)).await.unwrap(), 1);
    for failures in 1..=3 {
        tx.count_failure("user:eve", now()).await.unwrap();
        assert_eq!(tx.failures("user:eve").await.unwrap(), Some((failures, now())));
    }
    tx.forget_failures("user:eve").await.unwrap();
    assert_eq!(tx.failures("user:eve").await.unwrap(), None);
}

async fn a_port_comes_back_after_its_release(store: Store) {
    let mut tx = store.write().await.unwrap();
    tx.take_port(id(1), 40001, id(11)).await.unwrap();
    tx.take_port(id(1), 40000, id(10)).await.unwrap();
    tx.take_port(id(2), 40000, id(20)).await.unwrap();
    tx.release_port(id(10), later(5)).await.unwrap();
    let held = tx.held_ports(id(1)).await.unwrap();
    let held: Vec<_> = held.iter().map(|held| (held.port, held.released)).collect();
    assert_eq!(held, [(40000, Some(later(5))), (40001, None)]);
    tx.take_port(id(1), 40000, id(12)).await.unwrap();
    assert_eq!(tx.held_ports(id(1)).await.unwrap()[0].released, None);
    tx.forget_ports(id(1)).await.unwrap();
    assert!(tx.held_ports(id(1)).await.unwrap().is_empty());
    assert_eq!(tx.held_ports(id(2)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_backup_is_the_store_at_one_moment_and_overwrites_nothing() {
    let (files, store) = sqlite_store().await;
    let mut tx = store.write().await.unwrap();
    tx.insert_object(id(1), &draft(Kind::Role, "dba"), "root", now()).await.unwrap();
    tx.commit().await.unwrap();
    let copy = files.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    assert!(matches!(store.backup(&copy).await, Err(BackupError::Exists(_))));
    let mut tx = store.write().await.unwrap();
    tx.delete_object(Kind::Role, id(1), None).await.unwrap();
    tx.commit().await.unwrap();
    let copy = Store::open(&StoreUrl::Sqlite(copy)).await.unwrap();
    assert!(copy.read().await.unwrap().object(Kind::Role, id(1)).await.unwrap().is_some());
    assert!(store.backup(Path::new("/nonexistent/directory/copy")).await.is_err());
    store.close().await;
}

#[test]
fn a_store_is_named_by_its_url() {
    assert_eq!("sqlite:a/b.db".parse(), Ok(StoreUrl::Sqlite("a/b.db".into())));
    assert_eq!("postgres://x@y/z".parse(), Ok(StoreUrl::Postgres("postgres://x@y/z".into())));
    let secret: StoreUrl = "postgres://x:hunter2@y/z".parse().unwrap();
    assert_eq!(
        (secret.to_string(), format!("{secret:?}")),
        ("postgres://x@y/z".to_owned(), "postgres://x@y/z".to_owned())
    );
    for wrong in ["", "sqlite:", "mysql://x", "store.db"] {
        assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong}");
    }
}
