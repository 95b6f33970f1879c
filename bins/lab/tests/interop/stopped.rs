//! Our process does not run for a while, as on a machine that is overloaded or asleep.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_lab::interop::Roles;
use sluice_lab::peer::Implementation::WireguardGo;
use sluice_lab::topology::{Pair, PairConfig};
use sluice_lab::{Lab, lab_test};

use crate::cases::carries_data;

/// Longer than the far end waits for an answer before it dials anew: KEEPALIVE_TIMEOUT + REKEY_TIMEOUT, 15 s, and a bit.
const STOPPED: Duration = Duration::from_secs(17);
/// One attempt of a handshake at most, and a bit for the machine.
const RESUMED_WITHIN: Duration = Duration::from_secs(8);

#[test]
fn a_process_that_was_stopped_goes_on_where_it_was() {
    lab_test(|lab| {
        let labs = [lab.clone(), Lab::new()?];
        let pairs: Vec<Pair> = Roles::with(WireguardGo)
            .iter()
            .zip(&labs)
            .map(|(roles, lab)| Pair::start(lab, &PairConfig::new(roles.dialler, roles.answerer)))
            .collect::<Result<_>>()?;
        pairs.iter().try_for_each(Pair::wait_until_up)?;
        // The far end speaks all the time, so that it misses us and that something waits in our sockets.
        let talk: Vec<_> = pairs
            .iter()
            .map(|pair| {
                let (own, far) = pair.own_and_far();
                let address = own.inside[0];
                far.host.spawn(&["ping", "-n", "-q", "-i", "0.1", "-w", "60", address])
            })
            .collect::<Result<_>>()?;
        let signal =
            |signal| pairs.iter().try_for_each(|pair| pair.own_and_far().0.tunnel.process().signal(signal));
        signal(rustix::process::Signal::STOP)?;
        std::thread::sleep(STOPPED);
        for pair in &pairs {
            let (own, far) = pair.own_and_far();
            let ping = far.host.sh(&format!("ping -n -c 1 -W 1 {}", own.inside[0]))?;
            ensure!(!ping.succeeded(), "a stopped process answers: {ping}");
        }
        signal(rustix::process::Signal::CONT)?;
        for pair in &pairs {
            let (own, far) = pair.own_and_far();
            far.host.wait_for_ping(own.inside[0].parse()?, RESUMED_WITHIN)?;
            own.host.wait_for_ping(far.inside[1].parse()?, RESUMED_WITHIN)?;
            carries_data(pair)?;
        }
        drop(talk);
        Ok(())
    });
}
