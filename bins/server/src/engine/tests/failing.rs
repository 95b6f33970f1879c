//! What still works when the store does not.

use super::*;

#[tokio::test]
async fn what_is_revoked_while_nothing_can_be_written_goes_from_routers_whose_leases_run_down_until_it_is_stored()
 {
    let world = World::sqlite().await;
    let router = world.engine.live().ready[0];
    let session = world.open(&world.alice, "db").await.unwrap();
    world.confirm(&session, true).await;
    // Somebody else writes and does not end.
    let held = world.engine.store().write().await.unwrap();
    let ended = world.engine.end_session(later(1), &world.alice, session.id, Some("done")).await;
    assert!(matches!(ended, Err(Fault::Unstored { sessions: 1, .. })), "{ended:?}");
    assert!(world.granted().await.is_empty());
    assert_eq!(world.engine.plan_sessions(&[session.id]).await.unwrap()[0].grant, None);
    assert!(world.engine.withholds_leases(router));
    assert!(matches!(world.open(&world.bob, "lan").await, Err(Fault::Store(StoreError::Unavailable(_)))));
    drop(held);
    world.engine.tick(later(30)).await.unwrap();
    assert_eq!(world.state(&session).await, (SessionState::Closing, Some("user-closed".to_owned())));
    assert!(!world.engine.withholds_leases(router));
    assert_eq!(world.actions().await.last().map(String::as_str), Some("session-ending"));
}

#[tokio::test]
async fn of_what_time_ends_while_nothing_can_be_written_only_what_routers_do_not_know_costs_them_their_leases()
 {
    let world = World::sqlite().await;
    let router = world.engine.live().ready[0];
    let hour = spec(json!({ "target": "lan", "duration": "1h" }));
    let expiring = world.engine.open_session(now(), &world.alice, &hour).await.unwrap();
    let silent = world.open(&world.bob, "db").await.unwrap();
    world.engine.heard("10.77.0.2".parse().unwrap(), later(3500));
    world.engine.heard("10.77.0.3".parse().unwrap(), later(3500));
    let held = world.engine.store().write().await.unwrap();
    assert!(matches!(world.engine.tick(later(3600)).await, Err(Fault::Store(_))));
    assert!(!world.engine.withholds_leases(router));
    assert!(matches!(world.engine.tick(later(3680)).await, Err(Fault::Unstored { sessions: 1, .. })));
    assert_eq!(world.granted().await, [expiring.id], "its grant says when it ends");
    assert!(world.engine.withholds_leases(router));
    drop(held);
    world.engine.tick(later(3681)).await.unwrap();
    assert_eq!(world.state(&silent).await.1.as_deref(), Some("connectivity-lost"));
    assert_eq!(world.state(&expiring).await.1.as_deref(), Some("expired"));
    assert!(!world.engine.withholds_leases(router));
}

#[tokio::test]
async fn what_agents_do_is_in_the_audit_by_their_names() {
    let world = World::sqlite().await;
    let router = Uuid::from_u128(world.engine.live().ready[0].0);
    let did = [
        AgentDid::Connected { software: Some("sluice 1".to_owned()), times: 1 },
        AgentDid::Initialized { generation: 4, rules: 2 },
        AgentDid::Refused { generation: 5, problem: "no room".to_owned(), first: false },
        AgentDid::LeaseLapsed,
        AgentDid::Disconnected,
    ];
    for did in &did {
        world.engine.agent_did(later(1), Kind::Router, router, did).await.unwrap();
    }
    let actions = world.actions().await;
    let expected =
        ["agent-connected", "router-initialized", "agent-refused", "lease-lapsed", "agent-disconnected"];
    assert_eq!(actions[actions.len() - 5..], expected);
    let mut tx = world.engine.store().read().await.unwrap();
    let entries = tx.audit(&AuditFilter::default(), None, 3).await.unwrap();
    assert_eq!(entries[2].link.number, 10_205);
    assert_eq!(
        (entries[2].link.actor.as_str(), &entries[2].link.details["problem"]),
        ("r1", &json!("no room"))
    );
}
