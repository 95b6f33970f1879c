//! Authentication over a real store, with a clock that stands where the test puts it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sluice_api::{FirstAdmin, LogIn, Right, Seconds, SetPassword, TokenSpec, UserSpec};
use uuid::Uuid;

use super::permission::{Action, permit};
use super::principal::Principal;
use super::secret::Secret;
use super::{Auth, AuthFault, Shown, first_admin};
use crate::documents::Document;
use crate::store::audit::AuditFilter;
use crate::store::objects::{Draft, Kind};
use crate::store::tests::postgres_store;
use crate::store::{Store, StoreUrl};

const PASSWORD: &str = "correct horse battery staple";
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

async fn auth() -> (tempfile::TempDir, Auth) {
    let files = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreUrl::Sqlite(files.path().join("sluice.db"))).await.unwrap();
    (files, Auth::new(store).unwrap())
}

/// A user with the password.
async fn user(auth: &Auth, name: &str, right: Right) -> Uuid {
    let spec: UserSpec = serde_json::from_value(serde_json::json!({ "name": name, "right": right })).unwrap();
    let draft = Draft {
        kind: Kind::User,
        tenant: None,
        name: spec.name(),
        body: serde_json::to_string(&spec).unwrap(),
        references: Vec::new(),
        claims: spec.claims(),
    };
    let hash = auth.passwords.hash(PASSWORD).await.unwrap();
    let mut tx = auth.store.write().await.unwrap();
    let id = Uuid::now_v7();
    tx.insert_object(id, &draft, "test", at(0)).await.unwrap();
    tx.set_password(id, &hash, at(0)).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn set_disabled(auth: &Auth, id: Uuid, disabled: bool) {
    let mut tx = auth.store.write().await.unwrap();
    let record = tx.object(Kind::User, id).await.unwrap().unwrap();
    let mut spec: UserSpec = serde_json::from_str(&record.body).unwrap();
    spec.disabled = disabled;
    let draft = Draft {
        kind: Kind::User,
        tenant: None,
        name: spec.name(),
        body: serde_json::to_string(&spec).unwrap(),
        references: Vec::new(),
        claims: spec.claims(),
    };
    tx.update_object(id, record.version, &draft, "test", at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

fn login(user: &str, password: &str) -> LogIn {
    LogIn { user: user.to_owned(), password: password.to_owned(), token: None }
}

async fn try_login(auth: &Auth, user: &str, password: &str, now: Timestamp) -> Result<Secret, AuthFault> {
    auth.log_in(&login(user, password), None, SOURCE, now).await.map(|given| given.secret)
}

async fn cookie(auth: &Auth, secret: &Secret, now: Timestamp) -> Result<Principal, AuthFault> {
    auth.authenticate(&Shown::Cookie(secret.clone()), SOURCE, now).await
}

async fn actions(auth: &Auth) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let entries = auth.store.read().await.unwrap().audit(&AuditFilter::default(), None, 1000).await.unwrap();
    for entry in entries {
        *counts.entry(entry.link.action).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn who_logs_in_is_known_by_the_cookie_until_they_log_out() {
    let (_files, auth) = auth().await;
    let id = user(&auth, "alice", Right::Auditor).await;
    let secret = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let principal = cookie(&auth, &secret, at(1)).await.unwrap();
    assert_eq!((principal.user, principal.name.as_str(), principal.right), (id, "alice", Right::Auditor));
    // A cookie is no token, whatever header it comes in.
    let as_token = auth.authenticate(&Shown::Token(secret.clone()), SOURCE, at(1)).await;
    assert!(matches!(as_token, Err(AuthFault::NotAuthenticated)));
    assert!(auth.is_still_good(&principal, at(2)).await.unwrap());
    auth.log_out(&principal, at(2)).await.unwrap();
    assert!(matches!(cookie(&auth, &secret, at(3)).await, Err(AuthFault::NotAuthenticated)));
    assert!(!auth.is_still_good(&principal, at(3)).await.unwrap());
    let actions = actions(&auth).await;
    assert_eq!((actions["login-succeeded"], actions["logged-out"]), (1, 1));
    assert_eq!(
        actions["token-misused"], 1,
        "the first misuse is written at once, the second is counted: {actions:?}"
    );
}

#[tokio::test]
async fn a_cookie_ends_when_it_lies_idle_and_when_it_is_old() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    let minutes = |minutes: i64| at(minutes * 60);
    let idle = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    for (minute, good) in [(29, true), (58, true), (58 + 31, false), (58 + 32, false)] {
        assert_eq!(cookie(&auth, &idle, minutes(minute)).await.is_ok(), good, "{minute}");
    }
    let busy = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let seen: Vec<_> = (1..=12 * 6).map(|tens| tens * 10).collect();
    for minute in &seen[..71] {
        assert!(cookie(&auth, &busy, minutes(*minute)).await.is_ok(), "{minute}");
    }
    assert!(cookie(&auth, &busy, minutes(720)).await.is_err(), "twelve hours are over, however busy it was");
}

#[tokio::test]
async fn a_login_takes_the_cookie_away_that_was_there_before() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    let planted = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let fresh = auth.log_in(&login("alice", PASSWORD), Some(&planted), SOURCE, at(1)).await.unwrap().secret;
    assert!(cookie(&auth, &planted, at(2)).await.is_err());
    assert!(cookie(&auth, &fresh, at(2)).await.is_ok());
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once_and_cannot_come_back() {
    let (_files, auth) = auth().await;
    let id = user(&auth, "alice", Right::User).await;
    let secret = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    set_disabled(&auth, id, true).await;
    assert!(matches!(cookie(&auth, &secret, at(1)).await, Err(AuthFault::NotAuthenticated)));
    let again = try_login(&auth, "alice", PASSWORD, at(1)).await;
    assert!(matches!(again, Err(AuthFault::WrongCredentials)), "nobody is told that the password was right");
}

#[tokio::test]
async fn wrong_users_and_wrong_passwords_get_the_same_answer_at_the_same_pace() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    let mut answers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for name in ["alice", "nobody-of-this-name"] {
        for attempt in 0..7 {
            let fault = try_login(&auth, name, "wrong password, wrong", at(attempt)).await.unwrap_err();
            answers.entry(name).or_default().push(fault.to_string());
        }
    }
    assert_eq!(answers["alice"], answers["nobody-of-this-name"]);
    assert!(answers["alice"][6].contains("too many"), "{answers:?}");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_owner_gets_in_all_the_same() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    for _ in 0..5 {
        assert!(matches!(try_login(&auth, "alice", "wrong", at(0)).await, Err(AuthFault::WrongCredentials)));
    }
    // Not even the right password now: whoever guesses learns nothing from the pause.
    let Err(AuthFault::Limited { retry_after }) = try_login(&auth, "alice", PASSWORD, at(0)).await else {
        panic!("not limited")
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    assert!(try_login(&auth, "alice", PASSWORD, at(1)).await.is_ok());
    // All is forgotten: five tries again.
    assert!(matches!(try_login(&auth, "alice", "wrong", at(2)).await, Err(AuthFault::WrongCredentials)));
    let mut tx = auth.store.write().await.unwrap();
    for _ in 0..1000 {
        let subject = "user:2bd806c97f0e00af1a1fc3328fa763a9";
        tx.count_failure(subject, at(10)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let Err(AuthFault::Limited { retry_after }) = try_login(&auth, "alice", PASSWORD, at(10)).await else {
        panic!("not limited")
    };
    assert_eq!(retry_after, Duration::from_secs(30), "bounded, however many failures there were");
    assert!(try_login(&auth, "alice", PASSWORD, at(40)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_get_no_more_tries_than_one_after_the_other() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    let guesses: Vec<_> = (0..64)
        .map(|_| {
            let auth = auth.clone();
            tokio::spawn(async move { try_login(&auth, "alice", "wrong", at(0)).await.map(|_| ()) })
        })
        .collect();
    let mut compared = 0;
    for guess in guesses {
        match guess.await.unwrap() {
            Err(AuthFault::WrongCredentials) => compared += 1,
            Err(AuthFault::Limited { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(compared, 5);
}

#[tokio::test]
async fn who_has_one_password_cannot_hide_guesses_at_others_behind_it() {
    let (_files, auth) = auth().await;
    user(&auth, "mallory", Right::User).await;
    let mut compared = 0;
    for victim in 0..30 {
        match try_login(&auth, &format!("victim-{victim}"), "wrong", at(0)).await {
            Err(AuthFault::WrongCredentials) => compared += 1,
            Err(AuthFault::Limited { .. }) => {}
            other => panic!("{other:?}"),
        }
        let _ = try_login(&auth, "mallory", PASSWORD, at(0)).await;
    }
    assert_eq!(compared, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn p19_one_of_many_makes_the_first_administrator() {
    let (_files, auth) = auth().await;
    one_of_many_makes_the_first_administrator(auth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p19_one_of_many_makes_the_first_administrator_on_postgres() {
    if let Some(store) = postgres_store().await {
        one_of_many_makes_the_first_administrator(Auth::new(store).unwrap()).await;
    }
}

async fn one_of_many_makes_the_first_administrator(auth: Auth) {
    let secret = first_admin::issue(&auth.store, at(0)).await.unwrap();
    let tries: Vec<_> = (0..64)
        .map(|number| {
            let auth = auth.clone();
            let (token, user) = (secret.text(), format!("admin-{number}"));
            let request = FirstAdmin { token, user, password: PASSWORD.to_owned() };
            tokio::spawn(async move { auth.redeem_admin(&request, SOURCE, at(1)).await })
        })
        .collect();
    let mut made = Vec::new();
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(id) => made.push(id),
            // On a slow machine some do not get their turn to hash.
            Err(AuthFault::NoSuchSecret | AuthFault::Busy) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(made.len(), 1);
    let admin = auth.store.read().await.unwrap().stored_user(made[0]).await.unwrap().unwrap();
    assert_eq!(admin.right, Right::Admin);
    assert!(try_login(&auth, &admin.name, PASSWORD, at(2)).await.is_ok());
    assert_eq!(actions(&auth).await["user-created"], 1);
}

#[tokio::test]
async fn p31_only_the_newest_one_time_token_makes_an_administrator_and_only_for_a_while() {
    let (_files, auth) = auth().await;
    let old = first_admin::issue(&auth.store, at(0)).await.unwrap();
    let new = first_admin::issue(&auth.store, at(1)).await.unwrap();
    let request = |token: &str, user: &str, password: &str| FirstAdmin {
        token: token.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
    };
    for (token, user, password, seconds, taken) in [
        (old.text(), "root", PASSWORD, 2, false),
        ("slu_".to_owned() + &"A".repeat(43), "root", PASSWORD, 2, false),
        ("admin".to_owned(), "root", PASSWORD, 2, false),
        // What is wrong with the rest does not use it up.
        (new.text(), "a/b", PASSWORD, 2, false),
        (new.text(), "root", "too short", 2, false),
        (new.text(), "root", PASSWORD, 3601, false),
        (new.text(), "root", PASSWORD, 3, true),
        (new.text(), "root2", PASSWORD, 4, false),
    ] {
        let redeemed = auth.redeem_admin(&request(&token, user, password), SOURCE, at(seconds)).await;
        assert_eq!(redeemed.is_ok(), taken, "{user} {seconds}: {redeemed:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_scopes_until_its_end_or_until_it_is_revoked() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::Admin).await;
    let secret = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let alice = cookie(&auth, &secret, at(0)).await.unwrap();
    let spec = |name: &str, scopes: &[&str], seconds| TokenSpec {
        name: name.to_owned(),
        duration: Some(Seconds(seconds)),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
    };
    let (view, token) = auth.make_token(&alice, &spec("ci", &["audit"], 60), at(0)).await.unwrap();
    let shown = Shown::Token(token);
    let principal = auth.authenticate(&shown, SOURCE, at(59)).await.unwrap();
    assert!(permit(principal.clone(), Action::ReadAudit).is_ok());
    assert!(permit(principal, Action::WriteObjects).is_err());
    assert!(auth.authenticate(&shown, SOURCE, at(60)).await.is_err(), "it is over");
    assert_eq!(auth.tokens(&alice, at(59)).await.unwrap()[0].seen, Some(at(59)));
    assert!(auth.authenticate(&shown, SOURCE, at(59)).await.is_ok());
    auth.revoke_token(&alice, view.id, at(59)).await.unwrap();
    assert!(auth.authenticate(&shown, SOURCE, at(59)).await.is_err());
    assert!(matches!(auth.revoke_token(&alice, view.id, at(59)).await, Err(AuthFault::UnknownToken)));
    for (wrong, place) in [
        (spec("", &[], 60), "/name"),
        (spec("x", &["everything"], 60), "/scopes/0"),
        (spec("x", &[], 0), "/duration"),
        (spec("x", &[], u64::MAX), "/duration"),
    ] {
        let Err(AuthFault::Invalid(problems)) = auth.make_token(&alice, &wrong, at(0)).await else {
            panic!("{wrong:?}")
        };
        assert_eq!(problems[0].pointer, place);
    }
}

#[tokio::test]
async fn changing_the_password_logs_out_all_other_browsers_and_needs_the_old_one() {
    let (_files, auth) = auth().await;
    user(&auth, "alice", Right::User).await;
    let [here, there] = [
        try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap(),
        try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap(),
    ];
    let alice = cookie(&auth, &here, at(1)).await.unwrap();
    let change =
        |old: Option<&str>, new: &str| SetPassword { old: old.map(str::to_owned), new: new.to_owned() };
    let new = "another horse, another battery";
    for (wrong, place) in [
        (change(None, new), "/old"),
        (change(Some("wrong"), new), "/old"),
        (change(Some(PASSWORD), "short"), "/new"),
    ] {
        let Err(AuthFault::Invalid(problems)) = auth.change_password(&alice, &wrong, at(1)).await else {
            panic!()
        };
        assert_eq!(problems[0].pointer, place);
    }
    auth.change_password(&alice, &change(Some(PASSWORD), new), at(2)).await.unwrap();
    assert!(cookie(&auth, &here, at(3)).await.is_ok());
    assert!(cookie(&auth, &there, at(3)).await.is_err());
    assert!(try_login(&auth, "alice", PASSWORD, at(3)).await.is_err());
    assert!(try_login(&auth, "alice", new, at(3)).await.is_ok());
}

#[tokio::test]
async fn a_password_that_is_set_for_somebody_logs_them_out_everywhere() {
    let (_files, auth) = auth().await;
    user(&auth, "root", Right::Admin).await;
    let id = user(&auth, "alice", Right::User).await;
    let alice = try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let root = try_login(&auth, "root", PASSWORD, at(0)).await.unwrap();
    let root = cookie(&auth, &root, at(0)).await.unwrap();
    let root = permit(root, Action::SetPasswords).unwrap();
    auth.set_password_of(&root, id, "another horse, another battery", at(1)).await.unwrap();
    assert!(cookie(&auth, &alice, at(2)).await.is_err());
    assert!(try_login(&auth, "alice", "another horse, another battery", at(2)).await.is_ok());
    let unknown = auth.set_password_of(&root, Uuid::nil(), "another horse, another battery", at(1)).await;
    assert!(matches!(unknown, Err(AuthFault::UnknownUser)));
}

#[tokio::test]
async fn what_was_counted_is_written_and_what_is_over_forgotten() {
    let (_files, auth) = auth().await;
    let made_up = Secret::random().unwrap();
    for _ in 0..10 {
        assert!(cookie(&auth, &made_up, at(0)).await.is_err());
    }
    assert_eq!(actions(&auth).await["token-misused"], 1);
    auth.tidy(false, at(60)).await.unwrap();
    assert_eq!(actions(&auth).await["token-misused"], 2);
    let entries = auth.store.read().await.unwrap().audit(&AuditFilter::default(), None, 1).await.unwrap();
    assert_eq!(entries[0].link.details["count"], 9);
    user(&auth, "alice", Right::User).await;
    try_login(&auth, "alice", PASSWORD, at(0)).await.unwrap();
    let days = at(0).checked_add(SignedDuration::from_hours(72)).unwrap();
    auth.tidy(true, days).await.unwrap();
    let left = auth.store.write().await.unwrap().delete_expired_secrets(Timestamp::MAX).await.unwrap();
    assert_eq!(left, 0);
}
