//! What holds between ours and any other implementation, whoever dials.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluice_lab::capture::Capture;
use sluice_lab::interop::Roles;
use sluice_lab::peer::Implementation;
use sluice_lab::services::{Direction, Iperf, Load};
use sluice_lab::topology::{Pair, PairConfig};
use sluice_lab::{Host, KeyPair, Lab, Mtu, Port, binaries, lab_test, probe, requirements, retry, wait_until};

use crate::deviations::Deviation;

/// What a case gets: a fresh lab, and who dials and who answers in it.
type Case = fn(&Lab, Roles) -> Result<()>;

/// Runs a case twice, each in a lab of its own.
pub(crate) fn in_both_roles(other: Implementation, case: Case) {
    if !requirements::has_peer(other) {
        return;
    }
    for roles in Roles::with(other) {
        lab_test(|lab| case(lab, roles).with_context(|| roles.to_string()));
    }
}

pub(crate) fn either_side_dials_and_both_address_families_pass(lab: &Lab, roles: Roles) -> Result<()> {
    let labs = [lab.clone(), Lab::new()?];
    for (over_v6, lab) in [false, true].into_iter().zip(&labs) {
        let pair = Pair::start(lab, &PairConfig { over_v6, ..pair_of(roles) })?;
        pair.wait_until_up()?;
        ensure!(pair.latest_handshake()? > 0, "no handshake is shown");
        carries_data(&pair)?;
    }
    Ok(())
}

/// Our side has the wrong key at first: not every implementation takes another one for a peer that it has.
pub(crate) fn a_wrong_preshared_key_keeps_out_and_the_right_one_lets_in(
    lab: &Lab,
    roles: Roles,
) -> Result<()> {
    let pair = Pair::start(lab, &PairConfig { preshared_key: true, ..pair_of(roles) })?;
    let wrong = lab.file("wrong.key", KeyPair::preshared(lab)?)?;
    let right = lab.directory().join("preshared.key");
    let (own, far) = pair.own_and_far();
    let use_key =
        |path: &PathBuf| own.tunnel.peer(&far.keys.public, &format!("preshared-key {}", path.display()));
    use_key(&wrong)?;
    let ping = pair.left.host.sh("ping -n -c 2 -W 1 10.9.0.2")?;
    ensure!(!ping.succeeded(), "a tunnel with different preshared keys answers: {ping}");
    use_key(&right)?;
    pair.wait_until_up()
}

pub(crate) fn a_peer_that_moves_is_followed(lab: &Lab, roles: Roles) -> Result<()> {
    let pair = Pair::start(lab, &pair_of(roles))?;
    pair.wait_until_up()?;
    // The dialler gets another address and another port; the answerer follows its packets.
    pair.left.host.ip("address del 203.0.113.1/24 dev wan0")?;
    pair.left.host.address("wan0", "203.0.113.77/24")?;
    let mut port = "";
    if !Deviation::ReconfiguringIsARace.is_of(roles.dialler) {
        port = "40123";
        pair.left.tunnel.set(&format!("listen-port {port}"))?;
    }
    pair.wait_until_up()?;
    let endpoints = pair.right.tunnel.show("endpoints")?.stdout;
    ensure!(endpoints.contains(&format!("203.0.113.77:{port}")), "{endpoints}");
    // And now in the other direction, without a packet from the left first.
    pair.right.host.wait_for_ping("10.9.0.1".parse()?, Duration::from_secs(5))
}

pub(crate) fn a_persistent_keepalive_keeps_an_idle_tunnel_talking(lab: &Lab, roles: Roles) -> Result<()> {
    // Without any packet of the user: the keepalive alone makes the handshake.
    let pair = Pair::start(lab, &PairConfig { keepalive_seconds: 1, ..pair_of(roles) })?;
    retry("a handshake made by a keepalive", Duration::from_secs(10), || {
        Ok((pair.latest_handshake()? > 0).then_some(()))
    })?;
    let capture = Capture::start(&pair.right.host, "wan0", "udp")?;
    std::thread::sleep(Duration::from_secs(4));
    // 32 bytes of UDP payload towards the right: a transport message without content.
    let keepalives = capture.lines("dst port 51820 and udp[4:2] = 40")?.len();
    ensure!((3..=6).contains(&keepalives), "{keepalives} keepalives in 4 seconds");
    Ok(())
}

pub(crate) fn a_removed_peer_is_cut_off_and_one_in_its_place_gets_in(lab: &Lab, roles: Roles) -> Result<()> {
    let pair = Pair::start(lab, &pair_of(roles))?;
    pair.wait_until_up()?;
    pair.right.tunnel.peer(&pair.left.keys.public, "remove")?;
    let ping = pair.left.host.sh("ping -n -c 2 -W 1 10.9.0.2")?;
    ensure!(!ping.succeeded(), "a peer that was removed is answered: {ping}");
    if Deviation::ReconfiguringIsARace.is_of(roles.dialler) {
        // It keeps its key, is let in again, and forgets its session as others do with a new key.
        pair.right.tunnel.peer(&pair.left.keys.public, "allowed-ips 10.9.0.1/32,fd09::1/128")?;
        let (key, endpoint) = (&pair.right.keys.public, "203.0.113.2:51820");
        pair.left.tunnel.peer(key, "remove")?;
        pair.left.tunnel.peer(key, &format!("endpoint {endpoint} allowed-ips 10.9.0.2/32,fd09::2/128"))?;
        return pair.wait_until_up();
    }
    let new = KeyPair::generate(lab)?;
    pair.right.tunnel.peer(&new.public, "allowed-ips 10.9.0.1/32,fd09::1/128")?;
    let path = lab.file("new.key", &new.private)?;
    pair.left.tunnel.set(&format!("private-key {}", path.display()))?;
    pair.wait_until_up()
}

/// The dialler's interface is made by wg-quick; a plain one answers.
pub(crate) fn wg_quick_brings_an_interface_up_and_takes_it_down(lab: &Lab, roles: Roles) -> Result<()> {
    let pair = Pair::start(lab, &PairConfig::new(roles.answerer, roles.answerer))?;
    let (name, keys) = (lab.interface('q'), KeyPair::generate(lab)?);
    pair.right.tunnel.peer(&keys.public, "allowed-ips 10.9.0.3/32")?;
    let config = lab.file(
        &format!("{name}.conf"),
        format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.3/32\nMTU = 1400\n\
             [Peer]\nPublicKey = {}\nEndpoint = 203.0.113.2:51820\nAllowedIPs = 10.9.0.2/32\n",
            keys.private, pair.right.keys.public
        ),
    )?;
    let host = lab.host("quick")?;
    connect(lab, &pair, &host)?;
    let program = by_its_interface_alone(lab, roles.dialler)?;
    let log = lab.directory().join("quick.log");
    let quick = |verb: &str| {
        let line = format!(
            "WG_SUDO=true WG_LOG_FILE={} WG_QUICK_USERSPACE_IMPLEMENTATION={} wg-quick {verb} {}",
            log.display(),
            program.display(),
            config.display()
        );
        host.sh(&line)?.ok()
    };
    quick("up")?;
    host.wait_for_ping("10.9.0.2".parse()?, Duration::from_secs(10))?;
    let shown = host.sh(&format!("ip link show {name}"))?.ok()?.stdout;
    ensure!(shown.contains("mtu 1400"), "{shown}");
    quick("down")?;
    ensure!(!host.sh(&format!("ip link show {name}"))?.succeeded(), "{name} is still there");
    let ended = wait_until("the daemon's end", Duration::from_secs(5), || Ok(host.processes()?.is_empty()));
    if Deviation::OutlivesItsInterface.is_of(roles.dialler) {
        ensure!(ended.is_err(), "it ends with its interface now");
        return Ok(());
    }
    ended
}

pub(crate) fn under_a_flood_of_initiations_cookies_are_sent_and_a_peer_that_returns_one_gets_in(
    lab: &Lab,
    roles: Roles,
) -> Result<()> {
    let pair = Pair::start(lab, &pair_of(roles))?;
    let flooder = lab.host("flooder")?;
    connect(lab, &pair, &flooder)?;
    let replies = Capture::start(&pair.right.host, "wan0", "udp src port 51820 and udp[4:2] = 72")?;
    let flood = probe::flood(&flooder, "203.0.113.2:51820", &pair.right.keys.public, 60_000, 20)?;
    std::thread::sleep(Duration::from_secs(2));
    pair.left.host.wait_for_ping("10.9.0.2".parse()?, Duration::from_secs(17))?;
    flood.check_running().context("the peer got in only after the flood")?;
    let cookies = replies.lines("dst host 203.0.113.1")?;
    if Deviation::CookiesPerSource.is_of(roles.answerer) {
        ensure!(cookies.is_empty(), "the flood of another makes the dialler return a cookie now");
    } else {
        ensure!(!cookies.is_empty(), "the dialler got in without a cookie: the answerer was not under load");
    }
    Ok(())
}

/// A second of TCP each way, one over each address family.
pub(crate) fn carries_data(pair: &Pair) -> Result<()> {
    let iperf = Iperf::start(&pair.right.host)?;
    for (address, direction) in Pair::RIGHT.into_iter().zip([Direction::Upload, Direction::Download]) {
        let report = iperf
            .run(&pair.left.host, address, &Load::tcp(1, direction, 1))
            .with_context(|| format!("{direction:?} to {address}"))?;
        ensure!(report.bytes > 1_000_000, "{direction:?} to {address}: {report:?}");
    }
    Ok(())
}

fn pair_of(roles: Roles) -> PairConfig {
    PairConfig::new(roles.dialler, roles.answerer)
}

/// wg-quick calls a program with the interface's name alone. Under this name ours takes just that.
fn by_its_interface_alone(lab: &Lab, program: Implementation) -> Result<PathBuf> {
    match program {
        Implementation::Sluice => {
            let wrapper = lab.directory().join("sluice-wireguard");
            symlink(binaries::sluice(program.program())?, &wrapper)?;
            Ok(wrapper)
        }
        Implementation::WireguardGo | Implementation::Gotatun | Implementation::Boringtun => {
            binaries::peer(program.program()).with_context(|| format!("{} is not installed", program.name()))
        }
    }
}

/// A third host on a cable of its own to the right side, whose endpoint it uses.
fn connect(lab: &Lab, pair: &Pair, host: &Host) -> Result<()> {
    lab.cable(
        Port::new(host, "wan0", &["198.51.100.2/24"]),
        Port::new(&pair.right.host, "wan1", &["198.51.100.1/24"]),
        Mtu::ETHERNET,
    )?;
    host.route("203.0.113.0/24", "198.51.100.1")
}
