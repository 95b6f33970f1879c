//! Two servers on one PostgreSQL, and a router that follows now the one and now the other; a server whose store is locked.

use std::time::Duration;

use control_proto::Terms;
use jiff::Timestamp;
use serde_json::json;
use sluice_api::{OpenSession, SessionState, SessionView};
use uuid::Uuid;

use super::Control;
use crate::engine::{Engine, Policy};
use crate::proofs::agents::SimulatedRouter;
use crate::proofs::plant::{Plant, Size};
use crate::proofs::until;
use crate::store::Store;
use crate::store::tests::{postgres_url, sqlite_store, store_at};

const LIMIT: Duration = Duration::from_secs(60);
/// So that a test of it takes seconds.
const TERMS: Terms = Terms { lease: Duration::from_secs(3), heartbeat: Duration::from_millis(200) };

/// One of the servers.
struct Server {
    engine: Engine,
    control: Control,
}

impl Server {
    async fn start(url: &str) -> Server {
        Server::over(store_at(url).await).await
    }

    async fn over(store: Store) -> Server {
        let engine = Engine::new(Timestamp::now(), store, Policy::default());
        let control = Control::start(engine.clone(), TERMS, Uuid::now_v7()).await.unwrap();
        Server { engine, control }
    }

    /// The router asks this server, until it is led here.
    async fn lead(&self, router: Uuid) -> SimulatedRouter {
        let address = "10.63.0.1".parse().unwrap();
        until("the router to be led", LIMIT, async || self.control.leadership_at(address).is_some()).await;
        let leadership = self.control.leadership(router).unwrap();
        let router = SimulatedRouter::follow(&leadership);
        until("the router to have everything", LIMIT, async || {
            leadership.with(|leader, now| leader.is_synced() && leader.lapses_at() > now)
        })
        .await;
        router
    }

    async fn open(&self, plant: &Plant, user: usize) -> SessionView {
        let asked: OpenSession =
            serde_json::from_value(json!({ "target": plant.target_of(user, 0) })).unwrap();
        let opened = self.engine.open_session(Timestamp::now(), &plant.user(user), &asked).await;
        opened.unwrap()
    }

    async fn is(&self, plant: &Plant, session: &SessionView, state: SessionState) {
        until(&format!("the session to be {state:?}"), LIMIT, async || {
            self.engine.session(&plant.root(), session.id).await.unwrap().state == state
        })
        .await;
    }

    async fn end(&self, plant: &Plant, session: &SessionView) {
        self.engine.end_session(Timestamp::now(), &plant.root(), session.id, None).await.unwrap();
    }
}

async fn two_servers() -> Option<(Plant, [Server; 2])> {
    let url = postgres_url().await?;
    let size = Size { users: 4, targets: 8, routers: 1, roles: 2 };
    let plant = Plant::build(&store_at(&url).await, size).await;
    let servers = [Server::start(&url).await, Server::start(&url).await];
    Some((plant, servers))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_and_ended_at_either_server_whichever_leads_its_router() {
    let Some((plant, [one, two])) = two_servers().await else { return };
    let _router = one.lead(plant.routers[0]).await;
    // It is known at the other server that the router is ready, within a second.
    until("both to know of the router", LIMIT, async || {
        let asked: OpenSession = serde_json::from_value(json!({ "target": plant.target_of(0, 0) })).unwrap();
        let outlook = two.engine.outlook(Timestamp::now(), &plant.user(0), None, &asked).await.unwrap();
        matches!(outlook, crate::engine::Outlook::Granted(_))
    })
    .await;
    let (first, second) = (two.open(&plant, 0).await, one.open(&plant, 1).await);
    for (server, session) in [(&one, &first), (&two, &first), (&one, &second), (&two, &second)] {
        server.is(&plant, session, SessionState::Active).await;
    }
    two.end(&plant, &second).await;
    one.end(&plant, &first).await;
    for (server, session) in [(&one, &first), (&two, &first), (&one, &second), (&two, &second)] {
        server.is(&plant, session, SessionState::Closed).await;
    }
    assert!(two.control.leadership(plant.routers[0]).is_none(), "one server leads it");
    until("the other to know that it is led", LIMIT, async || {
        two.control.state_of(plant.routers[0]).is_some_and(|state| state.connected)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_takes_a_router_over_and_everything_goes_on() {
    let Some((plant, [one, two])) = two_servers().await else { return };
    let router = one.lead(plant.routers[0]).await;
    let session = one.open(&plant, 0).await;
    one.is(&plant, &session, SessionState::Active).await;
    let before = one.control.leadership(plant.routers[0]).unwrap();
    // The first server's process is gone: nobody there speaks any more.
    one.control.shared.is_leaving.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(router);
    let _router = two.lead(plant.routers[0]).await;
    let leadership = two.control.leadership(plant.routers[0]).unwrap();
    let holds = leadership
        .with(|leader, now| leader.standing(now, router_core::rules::SessionId(session.id.as_u128())));
    assert_eq!(holds, control_proto::Standing::Open, "the grant is where it was");
    two.end(&plant, &session).await;
    two.is(&plant, &session, SessionState::Closed).await;
    assert!(before.agent() == leadership.agent());
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_a_server_without_its_database_renews_no_lease_and_calls_nothing_closed() {
    let Some((plant, [one, two])) = two_servers().await else { return };
    let router = one.lead(plant.routers[0]).await;
    let session = one.open(&plant, 0).await;
    one.is(&plant, &session, SessionState::Active).await;
    let old = one.control.leadership(plant.routers[0]).unwrap();
    one.engine.store().close().await;
    // It goes on talking with its router, but each lease is shorter than the one before.
    until("the last lease to be over", LIMIT, async || old.with(|leader, now| leader.lapses_at() <= now))
        .await;
    assert!(old.with(|leader, _| leader.is_up()), "the connection is there all the same");
    // Another server has it when it asks there, and the old one's word counts for nothing.
    drop(router);
    let _router = two.lead(plant.routers[0]).await;
    two.is(&plant, &session, SessionState::Active).await;
    let router_id = router_core::access::RouterId(plant.routers[0].as_u128());
    let told = one.engine.confirm(Timestamp::now(), router_id, &[(session.id, false)]).await;
    assert!(told.is_err());
    two.end(&plant, &session).await;
    two.is(&plant, &session, SessionState::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_while_the_store_is_locked_leases_go_on_until_something_ends_that_cannot_be_stored() {
    let (_files, store) = sqlite_store().await;
    let size = Size { users: 1, targets: 2, routers: 1, roles: 1 };
    let plant = Plant::build(&store, size).await;
    let server = Server::over(store.clone()).await;
    let _router = server.lead(plant.routers[0]).await;
    let session = server.open(&plant, 0).await;
    server.is(&plant, &session, SessionState::Active).await;
    let leadership = server.control.leadership(plant.routers[0]).unwrap();
    let lapses_at = || leadership.with(|leader, _| leader.lapses_at());
    let is_held = || {
        let session = router_core::rules::SessionId(session.id.as_u128());
        leadership.with(|leader, now| leader.standing(now, session) != control_proto::Standing::Closed)
    };
    let lock = store.write().await.unwrap();
    let before = lapses_at();
    until("leases beyond all that were granted before", LIMIT, async || {
        lapses_at() > before.saturating_add(TERMS.lease)
    })
    .await;
    assert!(is_held());
    let ended = server.engine.end_session(Timestamp::now(), &plant.root(), session.id, None).await;
    assert!(matches!(ended, Err(crate::engine::Fault::Unstored { sessions: 1, .. })), "{ended:?}");
    until("the router to be rid of it", LIMIT, async || !is_held()).await;
    until("the last lease to be over", LIMIT, async || {
        leadership.with(|leader, now| leader.lapses_at() <= now)
    })
    .await;
    drop(lock);
    until("a lease", LIMIT, async || leadership.with(|leader, now| leader.lapses_at() > now)).await;
    server.is(&plant, &session, SessionState::Closed).await;
}
