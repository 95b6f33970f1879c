//! The control plane end to end: `sluice-server`, its API asked by curl, a stock WireGuard client.

mod browser;
mod command_line;
mod console;
mod headquarters;
mod operations;

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use sluice_lab::services::Nginx;
use sluice_lab::{kills, lab_test, wait_until};

use crate::headquarters::{DEVICE, Headquarters, LAPTOP};

/// No access before a session, access with it, none after it, and a reason in the audit.
#[test]
fn access_is_opened_used_and_ended_and_the_audit_says_why() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let page = format!("curl -sS --max-time 3 http://{DEVICE}/");
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached without a session");

        let unsaid = hq.alice.refused("POST", "sessions", &json!({ "target": "web" }))?;
        ensure!(unsaid["code"] == "reason-required" && unsaid["check"] == 5, "{unsaid}");
        let session = hq.open_session("INC-42")?;
        let seen = hq.client.sh(&page)?.ok()?;
        ensure!(seen.stdout == Nginx::greeting("device"), "{seen}");

        // Somebody downloads for longer than the session lasts.
        hq.nginx.file("long.bin", 20_000_000)?;
        let url = format!("http://{DEVICE}/long.bin");
        let download = format!("curl -sS --limit-rate 200k --max-time 60 -o /dev/null {url}");
        let download = hq.client.spawn(&["sh", "-c", &format!("{download}; echo ended with $?")])?;
        std::thread::sleep(Duration::from_secs(1));
        hq.root.call("POST", &format!("sessions/{session}/end"), &json!({ "reason": "out of hours" }))?;
        download.wait_for_log("ended with", Duration::from_secs(10))?;
        // 56: the connection was reset.
        ensure!(download.log().contains("ended with 56"), "{}", download.log());
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached after the session was ended");

        let closed = hq.alice.get(&format!("sessions/{session}"))?;
        ensure!(closed["state"] == "closed" && closed["ending"] == "admin-terminated", "{closed}");
        ensure!(closed["traffic"]["bytes_in"].as_u64() > Some(100_000), "{closed}");
        let audit = hq.root.get("audit?limit=200")?.to_string();
        for said in [
            "request-refused",
            "session-opened",
            "session-activated",
            "session-terminated-by-admin",
            "out of hours",
            LAPTOP,
        ] {
            ensure!(audit.contains(said), "{said} is not in the audit:\n{audit}");
        }
        hq.verify_audit()
    });
}

/// What a change of rights takes, it takes at once.
#[test]
fn a_role_that_is_taken_cuts_the_connection_it_granted() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let session = hq.open_session("INC-44")?;
        let page = format!("curl -sS --max-time 3 http://{DEVICE}/");
        hq.client.sh(&page)?.ok()?;
        let alice = hq.root.get("users/alice")?;
        let without = json!({ "name": "alice", "roles": [] });
        hq.root.replace("users/alice", alice["version"].as_u64().unwrap_or_default(), &without)?;
        wait_until("the end of the session", Duration::from_secs(5), || {
            Ok(hq.alice.get(&format!("sessions/{session}"))?["ending"] == "role-lost")
        })?;
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached without the role");
        hq.verify_audit()
    });
}

/// A server that is killed knows what it had granted; nothing passes while it is gone.
#[test]
fn a_server_that_is_killed_comes_back_with_the_sessions_it_had() {
    lab_test(|lab| {
        let mut hq = Headquarters::open(lab)?;
        hq.open_session("INC-43")?;
        let page = format!("curl -sS --max-time 3 http://{DEVICE}/");
        hq.client.sh(&page)?.ok()?;
        hq.kill()?;
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached through a server that is gone");
        hq.start_again()?;
        // The client's tunnel is made anew when it notices; its session is where it was.
        wait_until("the page through the server that came back", Duration::from_secs(30), || {
            Ok(hq.client.sh(&page)?.succeeded())
        })?;
        hq.verify_audit()
    });
}

/// A few of what `cargo xtask kills` does a thousand times.
#[test]
fn p24_p25_what_a_server_answered_for_is_there_after_it_was_killed() {
    lab_test(|lab| {
        let report = kills::run(lab, 12, 7)?;
        ensure!(report.kills == 12 && report.events > 50, "{report:?}");
        Ok(())
    });
}
