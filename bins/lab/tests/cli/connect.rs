//! `sluice connect` against wireguard-go, used by curl, ssh and dig.

use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;
use sluice_lab::services::{Dns, Nginx};
use sluice_lab::{KeyPair, lab_test, probe, wait_until};

use crate::office::{Office, port};

#[test]
fn local_ports_lead_through_the_tunnel_for_web_shell_and_names() {
    lab_test(|lab| {
        let office = Office::open(lab)?;
        let running = office.connect(&[
            "-L",
            "0:10.9.0.2:80",
            "-L",
            "0:[fd09::2]:22",
            "-L",
            "0:device.lab.test:80",
            "-U",
            "0:10.9.0.2:53",
        ])?;
        let (web, shell) = (port(&running, "-> 10.9.0.2:80")?, port(&running, "-> [fd09::2]:22")?);
        let (name, names) =
            (port(&running, "-> device.lab.test:80")?, port(&running, "-> 10.9.0.2:53, UDP")?);
        for url in [format!("127.0.0.1:{web}"), format!("[::1]:{web}"), format!("localhost:{name}")] {
            let page = office.client.sh(&format!("curl -sS --max-time 10 http://{url}/"))?.ok()?;
            ensure!(page.stdout == Nginx::greeting("office"), "{page}");
        }
        let line = format!("curl -sS --max-time 20 http://127.0.0.1:{web}/megabyte | wc -c");
        let megabyte = office.client.sh(&line)?.ok()?;
        ensure!(megabyte.stdout.trim() == "1000000", "{megabyte}");
        let line = "echo $SSH_CONNECTION; wc -c";
        let login = office.sshd.log_in(&office.client, "127.0.0.1", shell, line, &[b'x'; 300_000])?.ok()?;
        ensure!(login.stdout.starts_with("fd09::1 ") && login.stdout.contains("300000"), "{login}");
        let line = format!("dig +short +tries=2 +time=3 -p {names} @127.0.0.1 {}", Dns::NAME);
        let found = office.client.sh(&line)?.ok()?;
        ensure!(found.stdout.trim() == Dns::ADDRESS, "{found}");
        ensure!(running.stop()?.success(), "{}", running.log());
        Ok(())
    });
}

#[test]
fn the_proxy_reaches_everything_and_gives_each_reason_its_code() {
    lab_test(|lab| {
        let office = Office::open(lab)?;
        let running = office.connect(&["--socks", "0"])?;
        let proxy = port(&running, "SOCKS5 proxy")?;
        let curl = |url: &str| {
            office
                .client
                .sh(&format!("curl -sS --max-time 20 --socks5-hostname 127.0.0.1:{proxy} http://{url}/"))
        };
        for url in ["10.9.0.2", "[fd09::2]", Dns::NAME, "192.0.2.77"] {
            let page = curl(url)?.ok()?;
            ensure!(page.stdout == Nginx::greeting("office"), "{page}");
        }
        office
            .office
            .sh("nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }'")?
            .ok()?;
        office.office.sh("nft 'add rule inet t i tcp dport 82 reject with icmpx admin-prohibited'")?.ok()?;
        // RFC 1928: 5 refused, 4 host unreachable, 3 network unreachable, 2 not allowed by ruleset.
        for (url, code) in [
            ("10.9.0.2:81", "(5)"),
            ("no.lab.test", "(4)"),
            ("198.51.100.1", "(3)"),
            ("10.9.0.2:82", "(2)"),
            ("[fd09::2]:82", "(2)"),
        ] {
            let refused = curl(url)?;
            ensure!(refused.code == Some(97) && refused.stderr.contains(code), "{url}: {refused}");
        }
        ensure!(running.log().contains("10.9.0.2:81: connection refused"), "{}", running.log());
        Ok(())
    });
}

#[test]
fn who_does_not_answer_is_told_of_with_a_code_of_its_own() {
    lab_test(|lab| {
        let office = Office::open(lab)?;
        let stranger = KeyPair::generate(lab)?.public;
        for (key, endpoint) in [
            (Some(stranger.as_str()), Office::ENDPOINT),
            (None, "203.0.113.2:9"),
            (None, "203.0.113.77:51820"),
        ] {
            let file = office.file("", key, endpoint)?;
            let said =
                crate::run(&office.client, &format!("connect {file} -L 0:10.9.0.2:80 --timeout 2 --plain"))?;
            ensure!(said.code == Some(5), "{said}");
            ensure!(said.stderr.contains(endpoint) && said.stderr.contains(&office.keys.public), "{said}");
        }
        // The other way round: the server does not know us.
        office.tunnel.peer(&office.keys.public, "remove")?;
        let file = office.file("", None, Office::ENDPOINT)?;
        let said =
            crate::run(&office.client, &format!("connect {file} -L 0:10.9.0.2:80 --timeout 2 --plain"))?;
        ensure!(said.code == Some(5), "{said}");
        Ok(())
    });
}

#[test]
fn a_signal_ends_it_cleanly_and_both_ends_of_open_connections_with_it() {
    lab_test(|lab| {
        let office = Office::open(lab)?;
        let running = office.connect(&["-L", "7000:10.9.0.2:7000"])?;
        let server = probe::accept(&office.office, 7000)?;
        let client = probe::hold(&office.client, "127.0.0.1", 7000)?;
        running.signal(Signal::INT)?;
        let status = running.wait(Duration::from_secs(10))?;
        ensure!(status.success(), "{status}: {}", running.log());
        client.wait_for_log("ended: ", Duration::from_secs(10))?;
        server.wait_for_log("ended: ", Duration::from_secs(10))?;
        Ok(())
    });
}

#[test]
fn a_server_that_is_away_for_a_while_is_used_again_when_it_is_back() {
    lab_test(|lab| {
        let office = Office::open(lab)?;
        let running = office.connect(&["-L", "0:10.9.0.2:80"])?;
        let line = format!("curl -sS --max-time 3 http://127.0.0.1:{}/", port(&running, "-> 10.9.0.2:80")?);
        office.office.ip("link set wan0 down")?;
        ensure!(!office.client.sh(&line)?.succeeded(), "a page came over a cable that is out");
        office.office.ip("link set wan0 up")?;
        wait_until("the page", Duration::from_secs(30), || Ok(office.client.sh(&line)?.succeeded()))?;
        ensure!(running.stop()?.success(), "{}", running.log());
        Ok(())
    });
}
