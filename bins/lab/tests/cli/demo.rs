//! `sluice demo` as nobody, alone on a machine and with somebody who joins.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_lab::{Host, Mtu, Port, Process, binaries, lab_test, wait_until};

/// What the page says.
const GREETING: &str = "Hello from behind the connector.";
/// The last thing that is said before it waits for others.
const READY: &str = "Ctrl-C ends everything";

#[test]
fn every_step_succeeds_as_nobody_and_nothing_is_left_behind() {
    lab_test(|lab| {
        let host = lab.host("alone")?;
        let temporary = lab.subdirectory("temporary")?;
        host.sh(&format!("chmod o+x {}; chown nobody {}", lab.directory().display(), temporary.display()))?
            .ok()?;
        let program = binaries::sluice("sluice")?;
        let line =
            format!("TMPDIR={} {} {} demo --once", temporary.display(), crate::NOBODY, program.display());
        let told = host.sh(&line)?.ok()?;
        for expected in [
            "handshake completed",
            "refused",
            GREETING,
            "10.99.0.2:40001",
            "from the order on",
            "All of it took",
        ] {
            ensure!(told.stdout.contains(expected), "{expected:?} is not said: {told}");
        }
        ensure!(!told.stdout.contains('\x1b'), "colours without a terminal: {told}");
        ensure!(
            std::fs::read_dir(&temporary)?.next().is_none(),
            "something is left in {}",
            temporary.display()
        );
        Ok(())
    });
}

#[test]
fn a_step_that_fails_is_named_and_fails_the_whole() {
    lab_test(|lab| {
        let host = lab.host("alone")?;
        let holder = host.spawn(&[
            "dnsmasq",
            "--keep-in-foreground",
            "--port=51820",
            "--no-resolv",
            "--conf-file=/dev/null",
            "--pid-file",
        ])?;
        host.wait_for_port("udp", 51820, &holder)?;
        let told = crate::run(&host, "demo --once --listen 127.0.0.1:51820")?;
        ensure!(told.code == Some(1) && told.stderr.contains("step \"a router\" failed"), "{told}");
        ensure!(told.stderr.contains("51820"), "{told}");
        Ok(())
    });
}

#[test]
fn wg_quick_and_our_own_client_join_with_what_is_printed() {
    lab_test(|lab| {
        let (host, guest) = (lab.host("host")?, lab.host("guest")?);
        lab.cable(
            Port::new(&host, "lan0", &["192.168.7.1/24"]),
            Port::new(&guest, "lan0", &["192.168.7.2/24"]),
            Mtu::ETHERNET,
        )?;
        let demo = crate::spawn(&host, &["demo", "--listen", "192.168.7.1", "--plain"])?;
        demo.wait_for_log(READY, Duration::from_secs(30))?;
        let printed = printed_file(&demo)?;
        by_wg_quick(&guest, &printed)?;
        demo.wait_for_log("somebody joined", Duration::from_secs(10))?;
        demo.wait_for_log("10.20.0.5:80", Duration::from_secs(10))?;
        by_connect(&guest, &printed)?;
        ensure!(demo.stop()?.success(), "{}", demo.log());
        ensure!(!std::path::Path::new(&printed).exists(), "{printed} is left behind");
        Ok(())
    });
}

fn printed_file(demo: &Process) -> Result<String> {
    let log = demo.log();
    let path = log.split_whitespace().find(|word| word.ends_with("guest.conf"));
    path.map(str::to_owned).with_context(|| format!("no file is named: {log}"))
}

/// A copy under another name: wg-quick names the interface after the file, and all labs share the names of sockets.
fn by_wg_quick(guest: &Host, printed: &str) -> Result<()> {
    let name = guest.lab().interface('g');
    let copy = guest.lab().file(&format!("{name}.conf"), std::fs::read(printed)?)?;
    let quick = |verb: &str| {
        guest.sh(&format!(
            "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go WG_SUDO=true wg-quick {verb} {}",
            copy.display()
        ))
    };
    quick("up")?.ok()?;
    wait_until("the page", Duration::from_secs(10), || {
        Ok(guest.sh("curl -sS --max-time 3 http://10.20.0.5/")?.stdout.contains(GREETING))
    })?;
    quick("down")?.ok().map(drop)
}

fn by_connect(guest: &Host, printed: &str) -> Result<()> {
    let running = crate::spawn(guest, &["connect", printed, "-L", "8080:10.20.0.5:80", "--plain"])?;
    running.wait_for_log("Ctrl-C ends it.", Duration::from_secs(15))?;
    let page = guest.sh("curl -sS --max-time 5 http://localhost:8080/")?.ok()?;
    ensure!(page.stdout.contains(GREETING), "{page}");
    ensure!(running.stop()?.success(), "{}", running.log());
    Ok(())
}
