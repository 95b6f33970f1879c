//! The environment overrides what the configuration file says: docs/operations.md.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::sluice::{Rights, RouterConfig, Tun};
use sluice_lab::{Host, KeyPair, Lab, binaries, lab_test, wait_until};

#[test]
fn variables_override_the_keys_of_node_and_tun_in_a_running_program() {
    lab_test(|lab| {
        let (host, file) = configured(lab)?;
        let (socket, program) = (lab.directory().join("elsewhere.sock"), binaries::sluice("sluice-router")?);
        let (socket, program) = (socket.display().to_string(), program.display().to_string());
        let running = host.spawn_with(
            &[&program, "run"],
            &[
                ("SLUICE_CONFIG", &file),
                ("SLUICE_NODE_LISTEN_PORT", "51999"),
                ("SLUICE_NODE_ADDRESSES", "10.98.0.1, fd98::1"),
                ("SLUICE_NODE_ADMIN_SOCKET", &socket),
                ("SLUICE_TUN_NAME", "elsewhere0"),
            ],
        )?;
        host.wait_for_port("udp", 51999, &running)?;
        host.wait_for_interface("elsewhere0", &running)?;
        ensure!(!host.sh("ip link show dev sluice0")?.succeeded(), "the file's interface is there, too");
        let status = format!("SLUICE_ADMIN_SOCKET={socket} {program} status --json");
        wait_until("an answer on the other admin socket", Duration::from_secs(10), || {
            running.check_running()?;
            Ok(host.sh(&status)?.succeeded())
        })?;
        let said = host.sh(&status)?.ok()?.stdout;
        ensure!(said.contains("10.98.0.1") && !said.contains("10.99.0.1"), "{said}");
        ensure!(running.stop()?.success(), "{}", running.log());
        Ok(())
    });
}

#[test]
fn variables_that_override_nothing_or_with_nonsense_are_refused_by_name() {
    lab_test(|lab| {
        let (host, file) = configured(lab)?;
        let program = binaries::sluice("sluice-router")?.display().to_string();
        for (variable, value) in [
            ("SLUICE_NODE_LISTENPORT", "51999"),
            ("SLUICE_NODE_LISTEN_PORT", "many"),
            ("SLUICE_TUN_MTU", "no"),
        ] {
            for command in ["check-config", "run"] {
                let said = host.sh(&format!("{variable}={value} {program} {command} --config {file}"))?;
                ensure!(said.code == Some(3) && said.text().contains(variable), "{said}");
            }
        }
        host.sh(&format!("SLUICE_NODE_LISTEN_PORT=51999 {program} check-config --config {file}"))?.ok()?;
        Ok(())
    });
}

/// A host with a configuration that is complete, and where it stands.
fn configured(lab: &Lab) -> Result<(Host, String)> {
    let host = lab.host("router")?;
    lab.subdirectory("home-router")?;
    lab.file("home-router/router.key", format!("{}\n", KeyPair::generate(lab)?.private))?;
    let config = RouterConfig {
        name: "router".into(),
        listen_port: 51820,
        addresses: vec!["10.99.0.1".into(), "fd99::1".into()],
        client_ip_pool: vec!["10.77.0.0/24".into()],
        deny_signal: "prohibited".into(),
        workers: 1,
        status_page: false,
        tun: Some(Tun { name: "sluice0".into(), ..Tun::default() }),
        sockets: None,
        rights: Rights::Administrator,
        clients: Vec::new(),
        connectors: Vec::new(),
        targets: Vec::new(),
        sessions: Vec::new(),
    };
    let file = lab.file("router.toml", config.text(&host))?.display().to_string();
    Ok((host, file))
}
