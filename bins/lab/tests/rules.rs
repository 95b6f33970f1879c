//! Rules come and go at run time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_lab::capture::Capture;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{Process, lab_test, probe};

#[test]
fn a_removed_session_passes_nothing_more_and_resets_both_tcp_ends() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        for address in Spot::Device.target(0) {
            chain.router.reload(&chain.router.config)?;
            let server = probe::accept(&chain.sites[0].device, 7000)?;
            let client = probe::hold(&chain.client, &address, 7000)?;
            let before = chain.router.program.status()?;
            let mut without = chain.router.config.clone();
            without.sessions.clear();
            chain.router.reload(&without)?;
            let behind = Capture::start(&chain.sites[0].device, "lan0", "tcp port 7000")?;
            reset(&client)?;
            reset(&server)?;
            let after = chain.router.program.status()?;
            ensure!(after.rules() == 0 && before.rules() > 0, "{}", after.json());
            let refused = probe::tcp(&chain.client, &address, 7000)?;
            ensure!(refused.starts_with("error E"), "after the removal: {refused}");
            let data = behind.lines("tcp[tcpflags] & tcp-push != 0")?;
            ensure!(data.is_empty(), "passed after the removal: {data:?}");
            ensure!(chain.router.program.status()?.all_drops() > after.all_drops(), "not counted");
            behind.stop()?;
        }
        Ok(())
    });
}

#[test]
fn a_session_that_the_operator_closes_ends_at_once_and_one_that_he_opens_begins() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        let [address, _] = Spot::Device.target(0);
        let server = probe::accept(&chain.sites[0].device, 7000)?;
        let client = probe::hold(&chain.client, &address, 7000)?;
        let status = chain.router.program.status()?;
        let rules = status.json()["rules"].as_array().cloned().unwrap_or_default();
        let is_clients = |rule: &&Value| {
            rule["source"].as_str().is_some_and(|source| source.starts_with(Chain::CLIENT[0]))
        };
        let id = rules.iter().find(is_clients).and_then(|rule| rule["id"].as_str());
        chain
            .router
            .program
            .ask(&format!("session close {}", id.context("the session is not shown")?))?
            .ok()?;
        reset(&client)?;
        reset(&server)?;
        ensure!(probe::tcp(&chain.client, &address, 80)? != "connected", "open without a session");
        let open = format!("session open --client-ip {} --target site0 --seconds 60", Chain::CLIENT[0]);
        chain.router.program.ask(&open)?.ok()?;
        ensure!(probe::tcp(&chain.client, &address, 80)? == "connected", "closed with a session");
        Ok(())
    });
}

#[test]
fn an_added_session_opens_the_way_at_once_and_leaves_others_alone() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig { sites: 2, ..ChainConfig::default() })?;
        let mut only_second = chain.router.config.clone();
        only_second.sessions.retain(|session| session.target == "site1");
        chain.router.reload(&only_second)?;
        let server = probe::accept(&chain.sites[1].device, 7000)?;
        let held = probe::hold(&chain.client, &Spot::Device.target(1)[0], 7000)?;
        let [first, _] = Spot::Device.target(0);
        ensure!(probe::tcp(&chain.client, &first, 80)? != "connected", "open without a session");
        chain.router.reload(&chain.router.config)?;
        ensure!(probe::tcp(&chain.client, &first, 80)? == "connected", "closed with a session");
        held.check_running()?;
        server.check_running()
    });
}

#[test]
fn a_refused_configuration_changes_nothing() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        let mut wrong = chain.router.config.clone();
        wrong.sessions[0].target = "no such target".into();
        let before = chain.router.program.status()?.rules();
        chain.router.reload(&wrong)?;
        chain.router.program.process().check_running()?;
        ensure!(chain.router.program.status()?.rules() == before, "rules changed");
        ensure!(
            probe::tcp(&chain.client, &Spot::Device.target(0)[0], 80)? == "connected",
            "the way is closed"
        );
        Ok(())
    });
}

fn reset(process: &Process) -> Result<()> {
    process.wait_for_log("ended: ", Duration::from_secs(10))?;
    let log = process.log();
    ensure!(log.contains("ended: ECONNRESET") || log.contains("ended: EPIPE"), "{log}");
    Ok(())
}
