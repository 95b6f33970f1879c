//! What operators have beside the API: metrics, health, a configuration that is read again.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_lab::services::Syslog;
use sluice_lab::{Host, Privileges, binaries, lab_test, wait_until};

use crate::headquarters::{Headquarters, METRICS};

/// What is served there now.
fn metrics(host: &Host) -> Result<String> {
    Ok(host.sh(&format!("curl -sS --fail --max-time 5 http://{METRICS}/metrics"))?.ok()?.stdout)
}

/// The older format, in which counters have their whole names in every line: Prometheus' checker reads no other.
fn classic(page: &str) -> String {
    let is_counter = |name: &str| page.contains(&format!("# TYPE {name} counter\n"));
    let whole = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["#", "HELP" | "TYPE", name, ..] if is_counter(name) => {
            line.replacen(name, &format!("{name}_total"), 1)
        }
        _ => line.to_owned(),
    };
    page.lines().filter(|line| *line != "# EOF").map(|line| whole(line) + "\n").collect()
}

/// Prometheus' own checker has nothing to say against them, they count what happened, and nothing in them names anybody.
#[test]
fn metrics_are_what_prometheus_takes_and_name_nobody() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        hq.alice.refused("POST", "sessions", &json!({ "target": "web" }))?;
        hq.open_session("INC-51")?;
        wait_until("the session to be counted", Duration::from_secs(10), || {
            Ok(metrics(&hq.server)?.contains("sluice_sessions{state=\"active\"} 1\n"))
        })?;
        let page = metrics(&hq.server)?;
        for line in [
            "sluice_decisions_total{outcome=\"granted\"} 1",
            "sluice_decisions_total{outcome=\"reason-required\"} 1",
            "sluice_agents{kind=\"router\",state=\"connected\"} 1",
            "sluice_control_connected 1",
            "sluice_store_commit_seconds_bucket{le=\"+Inf\"}",
            "sluice_tick_seconds_count",
            "sluice_http_requests_total{status=\"201\"}",
            "sluice_dropped_packets_total{reason=",
            "sluice_wireguard_handshakes_completed_total",
        ] {
            ensure!(page.contains(line), "{line} is not in\n{page}");
        }
        for name in ["alice", "root", "web", "laptop", "INC-51", "10.77.", "10.20.", "203.0.113", "192.168"] {
            ensure!(!page.contains(name), "{name} is in\n{page}");
        }
        let checked =
            hq.server.exec_with_input(&["promtool", "check", "metrics"], classic(&page).as_bytes())?;
        ensure!(checked.succeeded() && checked.stderr.is_empty(), "{checked}");
        let ready = hq.server.sh(&format!("curl -sS --fail --max-time 5 http://{METRICS}/readyz"))?.ok()?;
        ensure!(ready.stdout == "ready\n", "{ready}");
        Ok(())
    });
}

/// A store that somebody else holds: the server says that it is not ready, refuses grants, and gets over it.
#[test]
fn a_server_whose_store_is_locked_says_so_and_recovers() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let readyz = format!("curl -sS --max-time 10 http://{METRICS}/readyz");
        let store = format!("{}/sluice.db", hq.directory);
        let lock = hq.server.spawn(&["sqlite3", &store, "BEGIN IMMEDIATE;", ".shell sleep 40"])?;
        wait_until("the server to notice", Duration::from_secs(15), || {
            Ok(hq.server.sh(&readyz)?.stdout.contains("not available"))
        })?;
        let refused =
            hq.alice.refused("POST", "sessions", &json!({ "target": "web", "reason": "INC-52" }))?;
        ensure!(refused["code"] == "unavailable", "{refused}");
        lock.signal(Signal::KILL)?;
        wait_until("the server to be ready again", Duration::from_secs(15), || {
            Ok(hq.server.sh(&readyz)?.stdout == "ready\n")
        })?;
        hq.open_session("INC-52")?;
        hq.verify_audit()
    });
}

/// All of a new file comes into force, or none of it, and then the log says why.
#[test]
fn a_configuration_that_is_read_again_counts_as_a_whole_or_not_at_all() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let file = format!("{}/server.toml", hq.directory);
        let first = std::fs::read_to_string(&file)?;
        let certificate = format!("{}/tls.pem", hq.directory);
        let old = lab.file("old.pem", std::fs::read(&certificate)?)?.display().to_string();
        let trusted = |by: &str| -> Result<bool> {
            let ask = format!("curl -sS --cacert {by} --max-time 5 https://203.0.113.1:8443/healthz");
            Ok(hq.server.sh(&ask)?.succeeded())
        };
        let answers = |port: u16| -> Result<bool> {
            Ok(hq.server.sh(&format!("curl -sS --max-time 5 http://127.0.0.1:{port}/healthz"))?.succeeded())
        };
        let reload = |text: &str, told: &str| -> Result<()> {
            std::fs::write(&file, text)?;
            hq.reload()?;
            hq.wait_for_log(told)
        };
        ensure!(trusted(&old)?, "the first certificate is not served");

        // A fault at the end of the file, after what would be a change.
        let moved = first.replace(METRICS, "127.0.0.1:9587");
        std::fs::remove_file(&certificate)?;
        reload(&format!("{moved}\n[nonsense]\n"), "reload refused")?;
        reload(&moved.replace(":8443\"", ":8444\""), "[server] https cannot change while the node runs")?;
        ensure!(answers(9586)? && !answers(9587)? && trusted(&old)?, "something changed");

        let quiet = moved.replace("\n[operations]", "\n[operations]\nlog_level = \"error\"");
        std::fs::write(&file, &quiet)?;
        hq.reload()?;
        wait_until("metrics at their new address", Duration::from_secs(10), || answers(9587))?;
        ensure!(!answers(9586)?, "metrics are still where they were");
        ensure!(!trusted(&old)? && trusted(&certificate)?, "the certificate did not change");
        let lines = hq.log().lines().count();
        hq.root.get("whoami")?;
        hq.open_session("INC-53")?;
        ensure!(hq.log().lines().count() == lines, "more than errors is logged:\n{}", hq.log());
        Ok(())
    });
}

/// No thread of the server can do more than it needs, and an operator can have it otherwise.
#[test]
fn a_server_that_runs_has_given_up_what_it_does_not_need() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let left = Privileges::of(hq.pid())?;
        ensure!(left.iter().eq([&Privileges::hardened(0)]), "its threads have {left:?}");
        // A file elsewhere was given up: a reload that wants one is refused as a whole.
        let file = format!("{}/server.toml", hq.directory);
        let first = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{first}\n[audit]\nfile = \"/var/tmp/audit.jsonl\"\n"))?;
        hq.reload()?;
        hq.wait_for_log("given up at the start; restart")
    });
}

/// A receiver that nobody here wrote takes the events of the audit, over each transport, and none is missing in the file.
#[test]
fn syslog_and_a_file_get_every_audit_event() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let syslog = Syslog::start(&hq.server)?;
        let file = format!("{}/server.toml", hq.directory);
        let first = std::fs::read_to_string(&file)?;
        for (count, place) in syslog.places().into_iter().enumerate() {
            // From the beginning each time.
            let _ = std::fs::remove_file(format!("{}/audit-syslog.position", hq.directory));
            std::fs::write(
                &file,
                format!("{first}\n[audit]\nsyslog = \"{place}\"\nfile = \"audit.jsonl\"\n"),
            )?;
            hq.reload()?;
            wait_until("all events there", Duration::from_secs(15), || {
                Ok(syslog.received()?.matches("|role-created|").count() > count)
            })
            .with_context(|| format!("{place}:\n{}", hq.log()))?;
        }
        hq.open_session("INC-54 é")?;
        wait_until("the newest event", Duration::from_secs(10), || {
            Ok(syslog.received()?.contains("|session-opened|"))
        })?;
        let received = syslog.received()?;
        ensure!(received.contains("sluice-server|session-opened|[sluice@32473 seq=\""), "{received}");
        ensure!(received.contains("INC-54 \\u00e9"), "{received}");

        let lines = std::fs::read_to_string(format!("{}/audit.jsonl", hq.directory))?;
        let events: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let told = events.iter().filter_map(|event| event["seq"].as_u64());
        let numbers: std::collections::BTreeSet<_> = told.collect();
        ensure!(numbers.iter().copied().eq(1..=numbers.len() as u64), "events in the file: {numbers:?}");
        Ok(())
    });
}

/// A disk that is full: what is to be written is refused, nothing is half done, and with room again all goes on.
#[test]
fn a_server_whose_disk_is_full_refuses_and_goes_on_when_there_is_room() {
    lab_test(|lab| {
        let host = lab.host("server")?;
        let directory = lab.subdirectory("small")?.display().to_string();
        let program = binaries::sluice("sluice-server")?.display().to_string();
        // The disk is this process's own: it goes with it.
        let process = host.spawn(&[
            "sh",
            "-ec",
            &format!(
                "mount -t tmpfs -o size=2m none {directory}
                {program} init {directory} --https 127.0.0.1:8443
                printf '\\n[operations]\\nmetrics = \"{METRICS}\"\\n' >> {directory}/server.toml
                exec {program} run --config {directory}/server.toml"
            ),
        ])?;
        let readyz = || -> Result<String> {
            Ok(host.sh(&format!("curl -sS --max-time 5 http://{METRICS}/readyz"))?.stdout)
        };
        wait_until("the server", Duration::from_secs(20), || {
            process.check_running()?;
            Ok(readyz()? == "ready\n")
        })?;
        let log = process.log();
        let token = log.split("token: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let token = token.with_context(|| log.clone())?;
        let inside = |command: &str| -> Result<sluice_lab::Output> {
            host.exec_with_input(
                &["nsenter", "--mount", &format!("--target={}", process.pid()), "sh", "-c", command],
                b"",
            )
        };
        let first_admin = || -> Result<String> {
            let body = json!({ "token": token, "user": "root", "password": "correct horse battery staple" });
            let asked = host.sh(&format!(
                "curl -sSk --max-time 10 -o /dev/null -w '%{{http_code}}' -H 'Content-Type: application/json' \
                 --data '{body}' https://127.0.0.1:8443/api/v1/first-admin"
            ))?;
            Ok(asked.ok()?.stdout)
        };

        inside(&format!("dd if=/dev/zero of={directory}/fill bs=4k 2>/dev/null; df {directory}"))?;
        wait_until("the server to notice", Duration::from_secs(15), || Ok(readyz()?.contains("full")))?;
        ensure!(first_admin()? == "503", "an administrator was made without room to write it down");
        inside(&format!("rm {directory}/fill"))?.ok()?;
        wait_until("the server to be ready again", Duration::from_secs(15), || Ok(readyz()? == "ready\n"))?;
        // The token was not used up by what failed.
        ensure!(first_admin()? == "204", "{}", process.log());
        let verified = inside(&format!("{program} verify-audit --config {directory}/server.toml"))?.ok()?;
        ensure!(verified.stdout.contains("whole"), "{verified}");
        Ok(())
    });
}

/// Whoever is connected, and whatever they ask: the server ends within five seconds, having written all it knew.
#[test]
fn a_server_that_is_told_to_stop_does_so_in_time() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        hq.open_session("INC-55")?;
        // One who follows changes, one whose request has no end, one who says nothing, and many who may not come in, which is
        // counted before it is written.
        let follow = hq.alice.command_line("events");
        let follower = hq.client.spawn(&["sh", "-c", &follow])?;
        let slow = format!(
            "sleep 60 | {} -X POST -H 'Content-Type: application/json' -T -",
            hq.alice.command_line("sessions")
        );
        let slow = hq.client.spawn(&["sh", "-c", &slow])?;
        let silent =
            hq.client.spawn(&["sh", "-c", "sleep 60 | curl -sSk --max-time 60 telnet://203.0.113.1:8443"])?;
        for _ in 0..20 {
            hq.client.sh("curl -sSk -o /dev/null --max-time 5 -H 'Authorization: Bearer slu_none' https://203.0.113.1:8443/api/v1/whoami")?;
        }
        let began = std::time::Instant::now();
        hq.signal(Signal::TERM)?;
        let status = hq.wait(Duration::from_secs(10))?;
        ensure!(
            status.success() && began.elapsed() < Duration::from_secs(5),
            "{status} after {:?}",
            began.elapsed()
        );
        follower.wait(Duration::from_secs(5))?;
        ensure!(hq.log().contains("the server stops"), "agents were not told:\n{}", hq.log());
        drop((silent, slow));
        let told = hq
            .server
            .sh(&format!("{} verify-audit --config {}/server.toml", hq.program()?, hq.directory))?
            .ok()?;
        ensure!(told.stdout.contains("whole"), "{told}");
        Ok(())
    });
}

/// What systemd is told: ready, alive, reloading and ready again, stopping; and the log as a collector reads it.
#[test]
fn a_service_manager_hears_how_the_server_is() {
    lab_test(|lab| {
        let host = lab.host("server")?;
        let directory = lab.directory().join("sluice").display().to_string();
        let program = binaries::sluice("sluice-server")?.display().to_string();
        host.sh(&format!("{program} init {directory} --https 127.0.0.1:8443"))?.ok()?;
        let path = lab.directory().join("notify");
        let manager = UnixDatagram::bind(&path)?;
        manager.set_read_timeout(Some(Duration::from_secs(10)))?;
        let heard = |wanted: &str| -> Result<()> {
            for _ in 0..100 {
                let mut message = [0; 1024];
                let length = manager.recv(&mut message).with_context(|| format!("{wanted} was not heard"))?;
                if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == wanted) {
                    return Ok(());
                }
            }
            anyhow::bail!("{wanted} was not heard among much else")
        };
        let file = format!("{directory}/server.toml");
        let notify = path.display().to_string();
        let process = host.spawn_with(
            &[&program, "run", "--config", &file, "--log-format", "json"],
            &[("NOTIFY_SOCKET", &notify), ("WATCHDOG_USEC", "500000")],
        )?;
        heard("READY=1")?;
        heard("WATCHDOG=1")?;
        process.signal(Signal::HUP)?;
        heard("RELOADING=1")?;
        heard("READY=1")?;
        process.signal(Signal::TERM)?;
        heard("STOPPING=1")?;
        ensure!(process.wait(Duration::from_secs(5))?.success(), "{}", process.log());
        for line in process.log().lines() {
            let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            ensure!(event["level"].is_string() && event["timestamp"].is_string(), "{event}");
        }
        Ok(())
    });
}

/// What may not be on the disk is not taken for granted: the server ends, without another try.
#[test]
fn a_server_whose_disk_does_not_sync_ends() {
    lab_test(|lab| {
        let mut hq = Headquarters::open(lab)?;
        let (calls, pid) = ("fsync,fdatasync", hq.pid().to_string());
        let strace = hq.server.spawn(&[
            "strace",
            "-fqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
            "-e",
            &format!("inject={calls}:error=EIO"),
            "-p",
            &pid,
        ])?;
        let status = hq.wait(Duration::from_secs(20))?;
        ensure!(status.code() == Some(1), "{status}\n{}", hq.log());
        ensure!(hq.log().contains("the store may not be what was written to it"), "{}", hq.log());
        strace.wait(Duration::from_secs(5))?;
        hq.start_again()?;
        hq.verify_audit()
    });
}
