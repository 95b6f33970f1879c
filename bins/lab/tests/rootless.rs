//! Router and connector as nobody, without a capability to gain: what passes, what is refused and how, what an end does
//! to a connection, and what many connections take.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use sluice_lab::services::{Direction, Dns, Nginx};
use sluice_lab::sluice::{Dial, Egress, Program, Sockets};
use sluice_lab::topology::{Chain, ChainConfig, Entry, Lan, LanConfig, Spot};
use sluice_lab::{Lab, Process, lab_test, probe, retry, wait_until};

/// The port that a connector maps to whatever a test puts on the device.
const HOLD: u16 = 7000;

#[test]
fn page_login_name_and_throughput_work_without_any_privilege() {
    for dial in [Dial::Server, Dial::Connector] {
        lab_test(|lab| {
            let chain = chain(lab, ChainConfig { dial, ..ChainConfig::default() })?;
            let (client, site) = (&chain.client, &chain.sites[0]);
            is_nobody(&chain.router.program)?;
            is_nobody(&site.connector.program)?;
            for address in Spot::Device.target(0) {
                let page =
                    client.sh(&format!("curl -sS --max-time 10 http://{}/", bracketed(&address)))?.ok()?;
                ensure!(page.stdout == Nginx::greeting("device0"), "{page}");
                for (kind, expected) in [("A", Dns::ADDRESS), ("AAAA", Dns::ADDRESS_V6)] {
                    let line = format!("dig +short +tries=2 +time=3 @{address} {} {kind}", Dns::NAME);
                    let name = client.sh(&line)?.ok()?;
                    ensure!(name.stdout.trim() == expected, "{name}");
                }
                for direction in [Direction::Upload, Direction::Download] {
                    let report = site.iperf.measure(client, &address, 5201, 2, direction)?;
                    ensure!(report.bytes > 1_000_000, "{direction:?} to {address}: {report:?}");
                }
                // The device sees the connector's host.
                let line = "echo $SSH_CONNECTION";
                let login = site.sshd.log_in(client, &address, 22, line, b"")?.ok()?;
                let seen = login.stdout.split_whitespace().next().unwrap_or_default();
                ensure!(["192.168.7.1", "fd07::1"].contains(&seen), "the device sees {seen}");
            }
            Ok(())
        });
    }
}

#[test]
fn large_files_come_and_go_whole() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig::default())?;
        let (client, site) = (&chain.client, &chain.sites[0]);
        let sum = site.nginx.file("large", 40_000_000)?;
        for address in Spot::Device.target(0) {
            let url = format!("http://{}/large", bracketed(&address));
            let down = client.sh(&format!("curl -sS --max-time 60 {url} | sha256sum"))?.ok()?;
            ensure!(down.stdout.starts_with(&sum), "{down}");
            let file = client.sh("head -c 40000000 /dev/urandom > large; sha256sum < large")?.ok()?.stdout;
            let line = format!("curl -sS --max-time 60 -T large {url}-up -o /dev/null -w '%{{http_code}}'");
            let up = client.sh(&line)?.ok()?;
            ensure!(up.stdout.starts_with("20"), "{up}");
            ensure!(file.starts_with(&site.nginx.sum("large-up")?), "another file arrived than {file}");
            client.sh("rm large")?.ok()?;
        }
        Ok(())
    });
}

#[test]
fn a_client_hears_what_its_own_stack_would_have_heard() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig::default())?;
        let (client, device) = (&chain.client, &chain.sites[0].device);
        device
            .sh("nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }'")?
            .ok()?;
        device.sh("nft 'add rule inet t i tcp dport 7000 drop'")?.ok()?;
        for (address, dead) in Spot::Device.target(0).iter().zip(Spot::Dead.target(0)) {
            for (address, port, expected) in [
                (address, 81, "error ECONNREFUSED"),
                (address, HOLD, "error EHOSTUNREACH"),
                (&dead, 80, "error EHOSTUNREACH"),
            ] {
                let seen = probe::tcp(client, address, port)?;
                ensure!(seen == expected, "TCP to {address} port {port}: {seen}");
            }
            let seen = probe::udp(client, address, 9)?;
            ensure!(seen == "error ECONNREFUSED", "UDP to a closed port at {address}: {seen}");
        }
        let counters = sockets(&chain.sites[0].connector.program)?["counters"].clone();
        for name in ["dials_refused", "dials_unreachable", "dials_timed_out", "errors_to_clients"] {
            ensure!(counters[name].as_u64() >= Some(2), "{name}: {counters}");
        }
        // Flows to closed ports go soon, too.
        retry("the end of refused UDP flows", Duration::from_secs(20), || {
            let status = sockets(&chain.sites[0].connector.program)?;
            Ok((status["udp"].as_u64() == Some(0)).then_some(()))
        })?;
        nothing_is_left(&chain.sites[0].connector.program)
    });
}

#[test]
fn an_end_of_one_side_is_the_same_end_of_the_other() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig::default())?;
        let (client, device) = (&chain.client, &chain.sites[0].device);
        for address in Spot::Device.target(0) {
            let server = probe::echo_tcp(device, HOLD)?;
            for bytes in [0, 1, 100_000, 20_000_000] {
                probe::half_close(client, &address, HOLD, bytes)?;
            }
            server.stop()?;

            let server = probe::accept(device, HOLD)?;
            probe::abort(client, &address, HOLD)?;
            ends(&server, "ended: ECONNRESET")?;

            let server = probe::accept_and_abort(device, HOLD)?;
            ends(&probe::hold(client, &address, HOLD)?, "ended: ECONNRESET")?;
            server.wait(Duration::from_secs(10))?;
        }
        nothing_is_left(&chain.sites[0].connector.program)
    });
}

#[test]
fn a_closed_session_resets_both_ends_and_leaves_nothing() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig::default())?;
        for address in Spot::Device.target(0) {
            chain.router.reload(&chain.router.config)?;
            let server = probe::accept(&chain.sites[0].device, HOLD)?;
            let held = probe::hold(&chain.client, &address, HOLD)?;
            let mut without = chain.router.config.clone();
            without.sessions.clear();
            chain.router.reload(&without)?;
            ends(&held, "ended: ECONNRESET")?;
            ends(&server, "ended: ECONNRESET")?;
        }
        nothing_is_left(&chain.sites[0].connector.program)
    });
}

#[test]
fn five_thousand_connections_are_held_within_the_stated_memory() {
    lab_test(|lab| {
        const COUNT: u32 = 5000;
        let chain = chain(lab, ChainConfig::default())?;
        let connector = &chain.sites[0].connector.program;
        let _server = probe::echo_tcp(&chain.sites[0].device, HOLD)?;
        let before = connector.process().footprint()?;
        let held = probe::hold_many(&chain.client, &Spot::Device.target(0)[0], HOLD, COUNT, 3)?;
        held.wait_for_log(&format!("holding {COUNT}"), Duration::from_secs(120))?;
        let (status, during) = (sockets(connector)?, connector.process().footprint()?);
        ensure!(status["tcp"].as_u64() == Some(COUNT.into()), "{status}");
        let grown = (during.resident_kib - before.resident_kib) * 1024;
        let buffers = status["buffer_bytes_max"].as_u64().context("no buffer_bytes_max")?;
        let allowed = buffers + u64::from(COUNT) * CONNECTION_BYTES_MAX;
        ensure!(grown <= allowed, "{COUNT} connections take {grown} bytes, and {allowed} are stated");
        println!("{COUNT} idle connections take {} bytes each", grown / u64::from(COUNT));
        held.wait_for_log(&format!("answered {COUNT}"), Duration::from_secs(60))?;
        nothing_is_left(connector)
    });
}

/// What docs/operations.md states for a connection beside its buffers.
const CONNECTION_BYTES_MAX: u64 = 20 << 10;

#[test]
fn a_device_that_is_killed_in_mid_transfer_ends_its_connections() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig::default())?;
        let (client, site) = (&chain.client, &chain.sites[0]);
        site.nginx.file("large", 400_000_000)?;
        let [v4, v6] = Spot::Device.target(0);
        let up = format!("head -c 400000000 /dev/zero | curl -sS --max-time 60 -T - http://[{v6}]/up");
        let transfers = [format!("curl -sS --max-time 60 http://{v4}/large -o /dev/null"), up]
            .map(|line| client.spawn(&["sh", "-c", &line]));
        wait_until("both transfers", Duration::from_secs(20), || {
            let status = sockets(&site.connector.program)?;
            let moved = |way: &str| status[way].as_u64() > Some(1_000_000);
            Ok(moved("bytes_to_clients") && moved("bytes_to_devices"))
        })?;
        site.nginx.process().signal(Signal::KILL)?;
        for transfer in transfers {
            ensure!(!transfer?.wait(Duration::from_secs(20))?.success(), "it went on without the device");
        }
        for address in Spot::Device.target(0) {
            let server = probe::accept(&chain.sites[0].device, HOLD)?;
            let held = probe::hold(&chain.client, &address, HOLD)?;
            server.signal(Signal::KILL)?;
            ends(&held, "ended: ")?;
        }
        nothing_is_left(&chain.sites[0].connector.program)
    });
}

#[test]
fn a_connector_or_router_that_is_killed_in_mid_transfer_leaves_nothing_behind() {
    lab_test(|lab| {
        let mut chain = chain(lab, ChainConfig::default())?;
        chain.sites[0].nginx.file("large", 400_000_000)?;
        let [v4, _] = Spot::Device.target(0);
        for victim in ["connector", "router"] {
            let line = format!("curl -sS --max-time 60 http://{v4}/large -o /dev/null");
            let transfer = chain.client.spawn(&["sh", "-c", &line])?;
            wait_until("the transfer", Duration::from_secs(20), || {
                let status = sockets(&chain.sites[0].connector.program)?;
                Ok(status["bytes_to_clients"].as_u64() > Some(1_000_000))
            })?;
            match victim {
                "connector" => chain.sites[0].connector.program.crash()?,
                _ => chain.router.program.crash()?,
            }
            // Whoever comes anew knows nothing of the connection, and says so.
            ensure!(!transfer.wait(Duration::from_secs(70))?.success(), "it went on without its {victim}");
            let page = format!("curl -sS --max-time 2 http://{v4}/");
            wait_until(&format!("a page with another {victim}"), Duration::from_secs(30), || {
                Ok(chain.client.sh(&page)?.succeeded())
            })?;
        }
        // What was on its way to a router that has forgotten the connection is given up after two minutes.
        is_left_within(&chain.sites[0].connector.program, Duration::from_secs(150))
    });
}

#[test]
fn many_short_connections_leave_memory_and_descriptors_flat() {
    lab_test(|lab| {
        let mut chain = chain(lab, ChainConfig::default())?;
        let [v4, v6] = Spot::Device.target(0);
        let mut footprints = Vec::new();
        for round in 0..6 {
            let server = probe::echo_tcp(&chain.sites[0].device, HOLD)?;
            for address in [&v4, &v6] {
                let churned = probe::churn(&chain.client, address, HOLD, 4)?;
                ensure!(
                    churned.done > 20 && churned.failed * 20 < churned.done,
                    "round {round}: {churned:?}"
                );
            }
            let held = probe::hold_many(&chain.client, &v4, HOLD, 200, 300)?;
            held.wait_for_log("holding", Duration::from_secs(30))?;
            // A device that ends leaves halves open until the client ends, too: it may still have something to say.
            let victims = if round % 2 == 0 { [&held, &server] } else { [&server, &held] };
            for victim in victims {
                victim.signal(Signal::KILL)?;
                victim.wait(Duration::from_secs(10))?;
            }
            let connector = &chain.sites[0].connector.program;
            nothing_is_left(connector)?;
            footprints.push(connector.process().footprint()?);
            if round == 3 {
                chain.restart_client()?;
            }
        }
        let [.., third, _, last] = &footprints[..] else { unreachable!("there were six rounds") };
        ensure!(last.descriptors <= third.descriptors + 2, "descriptors: {footprints:?}");
        ensure!(last.resident_kib <= third.resident_kib + 8192, "memory: {footprints:?}");
        Ok(())
    });
}

#[test]
fn a_router_without_privileges_reaches_its_own_network() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: false, entry: Entry::Tunnel, by_sockets: true })?;
        is_nobody(&lan.router.program)?;
        for (address, seen) in Lan::DEVICE.iter().zip(["192.168.7.1", "fd07::1"]) {
            let line = format!("curl -sS --max-time 5 http://{}/", bracketed(address));
            let page = lan.client.sh(&line)?.ok()?;
            ensure!(page.stdout == Nginx::greeting("device"), "{page}");
            let visitors = lan.nginx.visitors()?;
            ensure!(visitors.iter().any(|line| line.starts_with(&format!("{seen} "))), "{visitors:?}");
            let seen = probe::udp(&lan.client, address, 9)?;
            ensure!(seen == "error ECONNREFUSED", "UDP to a closed port at {address}: {seen}");
        }
        nothing_is_left(&lan.router.program)
    });
}

#[test]
fn pings_pass_where_the_system_lets_nobody_send_them_and_are_refused_elsewhere() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: false, entry: Entry::Tunnel, by_sockets: true })?;
        let program = &lan.router.program;
        let allow =
            |range: &str| program.host().sh(&format!("echo {range} > /proc/sys/net/ipv4/ping_group_range"));
        allow("1 0")?.ok()?;
        for address in Lan::DEVICE {
            let refused = lan.client.sh(&format!("ping -n -c 1 -W 3 {address}"))?;
            let told = ["Packet filtered", "Administratively prohibited"];
            ensure!(
                !refused.succeeded() && told.iter().any(|text| refused.text().contains(text)),
                "{refused}"
            );
        }
        program.process().wait_for_log("ping_group_range", Duration::from_secs(5))?;
        allow("0 65535")?.ok()?;
        for address in Lan::DEVICE.iter().chain(&Lan::FAR) {
            for options in ["-c 3 -i 0.2", "-c 1 -s 1300", "-c 1 -s 8000"] {
                let ping = lan.client.sh(&format!("ping -n -W 2 {options} {address}"))?.ok()?;
                ensure!(ping.stdout.contains(" 0% packet loss"), "{ping}");
            }
        }
        Ok(())
    });
}

#[test]
fn traceroute_shows_the_router_and_the_hops_behind() {
    lab_test(|lab| {
        let lan = Lan::start(lab, &LanConfig { src_nat: false, entry: Entry::Tunnel, by_sockets: true })?;
        for (family, far, hops) in [
            ("-4", Lan::FAR[0], ["10.99.0.1", "192.168.7.254", "192.168.9.10"]),
            ("-6", Lan::FAR[1], ["fd99::1", "fd07::254", "fd09::10"]),
        ] {
            let trace = lan.client.sh(&format!("traceroute {family} -n -q 1 -w 2 -m 8 {far}"))?.ok()?;
            let seen: Vec<&str> =
                trace.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            ensure!(seen == hops, "{trace}");
        }
        Ok(())
    });
}

#[test]
fn the_path_mtu_and_the_hops_behind_a_connector_reach_the_client() {
    lab_test(|lab| {
        let chain = chain(lab, ChainConfig { far: true, ..ChainConfig::default() })?;
        for (family, address, router) in [
            ("-4", &Spot::Far.target(0)[0], Chain::ROUTER[0]),
            ("-6", &Spot::Far.target(0)[1], Chain::ROUTER[1]),
        ] {
            let line = format!("traceroute {family} -n -q 1 -w 2 -m 8 --mtu -U -p 9 {address}");
            let trace = chain.client.sh(&line)?.ok()?;
            ensure!(trace.stdout.contains("F=1280"), "{trace}");
            let hops: Vec<&str> =
                trace.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            ensure!(hops.first() == Some(&router) && hops.last() == Some(&address.as_str()), "{trace}");
            let route = chain.client.sh(&format!("ip {family} route get {address}"))?.ok()?;
            ensure!(route.stdout.contains("mtu 1280"), "the client's stack has not learnt it: {route}");
            let line = format!("curl -sS --max-time 20 http://{}/megabyte | wc -c", bracketed(address));
            let down = chain.client.sh(&line)?.ok()?;
            ensure!(down.stdout.trim() == "1000000", "{down}");
        }
        Ok(())
    });
}

#[test]
fn devices_see_the_source_addresses_that_the_configuration_names() {
    lab_test(|lab| {
        let sources = ["192.168.7.77", "fd07::77"];
        let sockets = Sockets { source_addresses: sources.map(str::to_owned).to_vec(), ..Sockets::default() };
        let mut chain = chain(lab, ChainConfig::default())?;
        let site = &mut chain.sites[0];
        let connector = &mut site.connector;
        connector.program.host().address("lan0", "192.168.7.77/24")?;
        connector.program.host().address("lan0", "fd07::77/64")?;
        connector.config.egress = Egress::Sockets(sockets);
        let text = connector.config.text(connector.program.host());
        // What is fixed while it runs is refused, and said.
        connector.program.reload(&text)?;
        let log = connector.program.process().log();
        ensure!(log.contains("[sockets] cannot change while the node runs"), "{log}");
        connector.program.crash()?;
        for (address, source) in Spot::Device.target(0).iter().zip(sources) {
            let page = format!("curl -sS --max-time 2 http://{}/{source}", bracketed(address));
            wait_until("a page", Duration::from_secs(30), || Ok(chain.client.sh(&page)?.succeeded()))?;
            let visitors = chain.sites[0].nginx.visitors()?;
            ensure!(visitors.contains(&format!("{source} /{source}")), "{visitors:?}");
        }
        Ok(())
    });
}

fn chain(lab: &Lab, config: ChainConfig) -> Result<Chain> {
    let sockets = Sockets { connect_timeout: Some(4), connections_max: Some(8192), ..Sockets::default() };
    Chain::start(lab, &ChainConfig { sockets: Some(sockets), ..config })
}

/// What `status` says of sockets.
fn sockets(program: &Program) -> Result<serde_json::Value> {
    Ok(program.status()?.json()["sockets"].clone())
}

/// No connection, and no descriptor beside those of the program itself.
fn nothing_is_left(program: &Program) -> Result<()> {
    is_left_within(program, Duration::from_secs(20))
}

fn is_left_within(program: &Program, limit: Duration) -> Result<()> {
    retry("the end of all connections", limit, || {
        let status = sockets(program)?;
        Ok((status["tcp"].as_u64() == Some(0)).then_some(()))
    })
    .with_context(|| sockets(program).map_or_else(|error| error.to_string(), |status| status.to_string()))
}

/// It runs as nobody, can gain nothing, and has no group that could help.
fn is_nobody(program: &Program) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.process().pid()))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    ensure!(field("Uid:") == "65534 65534 65534 65534", "{status}");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        ensure!(field(set) == "0000000000000000", "{set} {status}");
    }
    ensure!(field("NoNewPrivs:") == "1", "{status}");
    Ok(())
}

fn ends(process: &Process, how: &str) -> Result<()> {
    process.wait(Duration::from_secs(20))?;
    ensure!(process.log().contains(how), "not {how}: {}", process.log());
    Ok(())
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
