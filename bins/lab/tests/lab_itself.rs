//! The lab proves itself first: only programs that nobody here wrote.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::peer::{Implementation, InterfaceConfig, WireguardInterface};
use sluice_lab::services::{Direction, Dns, Iperf, Nginx, Sshd};
use sluice_lab::{KeyPair, Lab, Mtu, Port, lab_test};

#[test]
fn wireguard_go_on_both_sides_carries_every_service_of_the_lab() {
    lab_test(|lab| {
        let (client, gateway, device) = (lab.host("client")?, lab.host("gateway")?, lab.host("device")?);
        gateway.forward()?;
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.2/24"]),
            Port::new(&gateway, "wan0", &["203.0.113.1/24"]),
            Mtu::ETHERNET,
        )?;
        lab.cable(
            Port::new(&gateway, "lan0", &["192.168.7.1/24", "fd07::1/64"]),
            Port::new(&device, "lan0", &["192.168.7.10/24", "fd07::10/64"]),
            Mtu::ETHERNET,
        )?;
        device.route("default", "192.168.7.1")?;
        device.route("default", "fd07::1")?;
        tunnel(lab, &client, &gateway)?;

        let _nginx = Nginx::start(&device)?;
        let sshd = Sshd::start(&device)?;
        let _dns = Dns::start(&device)?;
        let iperf = Iperf::start(&device)?;
        for (address, url) in [("192.168.7.10", "192.168.7.10"), ("fd07::10", "[fd07::10]")] {
            let page = client.sh(&format!("curl -sS --max-time 10 http://{url}/"))?.ok()?;
            ensure!(page.stdout == Nginx::greeting("device"), "{page}");
            let login = sshd.log_in(&client, address, 22, "wc -c", b"five!")?.ok()?;
            ensure!(login.stdout.trim() == "5", "{login}");
            let name = client.sh(&format!("dig +short @{address} {}", Dns::NAME))?.ok()?;
            ensure!(name.stdout.trim() == Dns::ADDRESS, "{name}");
            let report = iperf.measure(&client, address, 5201, 1, Direction::Upload)?;
            ensure!(report.bytes > 0, "{report:?}");
        }
        Ok(())
    });
}

#[test]
fn a_lab_takes_everything_with_it() {
    lab_test(|_| {
        let lab = Lab::new()?;
        let host = lab.host("alone")?;
        let process = host.spawn(&["sleep", "60"])?;
        let (namespace, directory) = (host.namespace().to_owned(), lab.directory().to_owned());
        let pid = process.pid();
        process.check_running()?;
        drop((lab, host, process));
        ensure!(!std::path::Path::new("/run/netns").join(&namespace).exists(), "{namespace} is still there");
        ensure!(!directory.exists(), "{} is still there", directory.display());
        ensure!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
        Ok(())
    });
}

fn tunnel(lab: &Lab, client: &sluice_lab::Host, gateway: &sluice_lab::Host) -> Result<()> {
    let (client_keys, gateway_keys) = (KeyPair::generate(lab)?, KeyPair::generate(lab)?);
    let near = WireguardInterface::start(
        client,
        Implementation::WireguardGo,
        &InterfaceConfig {
            name: &lab.interface('c'),
            keys: &client_keys,
            listen_port: 0,
            addresses: &["10.77.0.2/32", "fd77::2/128"],
            mtu: 1420,
        },
    )?;
    let far = WireguardInterface::start(
        gateway,
        Implementation::WireguardGo,
        &InterfaceConfig {
            name: &lab.interface('g'),
            keys: &gateway_keys,
            listen_port: 51820,
            addresses: &[],
            mtu: 1420,
        },
    )?;
    near.peer(&gateway_keys.public, "endpoint 203.0.113.1:51820 allowed-ips 192.168.7.0/24,fd07::/64")?;
    far.peer(&client_keys.public, "allowed-ips 10.77.0.2/32,fd77::2/128")?;
    near.route("192.168.7.0/24")?;
    near.route("fd07::/64")?;
    far.route("10.77.0.2/32")?;
    far.route("fd77::2/128")?;
    client.wait_for_ping("192.168.7.10".parse()?, Duration::from_secs(10))
}
