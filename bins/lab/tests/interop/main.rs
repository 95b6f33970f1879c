//! `sluice-router wireguard` and other implementations as peers, in both roles: whoever dials, the other one answers.
//!
//! Every case of [`cases`] is a test for each of the others. What one of them does differently is in [`deviations`], and asserted.

use std::time::Duration;

use anyhow::ensure;
use sluice_lab::interop::{LongRun, Roles};
use sluice_lab::peer::Implementation::Sluice;
use sluice_lab::topology::{Pair, PairConfig};
use sluice_lab::{Mtu, lab_test, requirements};

mod cases;
mod deviations;
mod stopped;

/// One test for each case.
macro_rules! all_cases_with {
    ($($module:ident: $implementation:ident,)+) => {$(
        mod $module {
            use sluice_lab::peer::Implementation::$implementation;

            use super::cases;

            all_cases_with!(@tests $implementation:
                either_side_dials_and_both_address_families_pass,
                a_wrong_preshared_key_keeps_out_and_the_right_one_lets_in,
                a_peer_that_moves_is_followed,
                a_persistent_keepalive_keeps_an_idle_tunnel_talking,
                a_removed_peer_is_cut_off_and_one_in_its_place_gets_in,
                wg_quick_brings_an_interface_up_and_takes_it_down,
                under_a_flood_of_initiations_cookies_are_sent_and_a_peer_that_returns_one_gets_in,
            );
        }
    )+};
    (@tests $implementation:ident: $($case:ident,)+) => {$(
        #[test]
        fn $case() {
            cases::in_both_roles($implementation, cases::$case);
        }
    )+};
}

all_cases_with! {
    wireguard_go: WireguardGo,
    gotatun: Gotatun,
    boringtun: Boringtun,
}

#[test]
fn a_session_is_renewed_after_two_minutes_without_a_lost_packet() {
    lab_test(|_| {
        let present: Vec<Roles> =
            Roles::ALL.into_iter().filter(|roles| requirements::has_peer(roles.other())).collect();
        let run = LongRun { duration: Duration::from_secs(130), loss_percent: 0, bulk: false };
        for outcome in run.run(&present)? {
            let roles = outcome.roles;
            ensure!(outcome.answers.sent == outcome.answers.received, "{roles}: {:?}", outcome.answers);
            ensure!(outcome.rekeys == 1, "{roles}: renewed {} times", outcome.rekeys);
            let (after, _) = outcome.renewed_after.unwrap_or_default();
            ensure!((115..=130).contains(&after), "{roles}: renewed after {after} s");
        }
        Ok(())
    });
}

#[test]
fn inner_packets_of_34_kib_and_more_pass_on_wide_and_on_ordinary_wires() {
    for wire_mtu in [Mtu(65_535), Mtu::ETHERNET] {
        lab_test(|lab| {
            let config = PairConfig { mtu: 40_000, wire_mtu, ..PairConfig::new(Sluice, Sluice) };
            let pair = Pair::start(lab, &config)?;
            pair.wait_until_up()?;
            for (size, address) in [(34 * 1024, "10.9.0.2"), (39_972, "10.9.0.2"), (39_952, "fd09::2")] {
                let ping =
                    pair.left.host.sh(&format!("ping -n -M do -c 3 -i 0.2 -W 2 -s {size} {address}"))?;
                ensure!(ping.succeeded(), "{ping}");
            }
            cases::carries_data(&pair)
        });
    }
}

#[test]
fn ordinary_interfaces_of_ours_carry_data_between_each_other() {
    lab_test(|lab| {
        let pair = Pair::start(lab, &PairConfig::new(Sluice, Sluice))?;
        pair.wait_until_up()?;
        cases::carries_data(&pair)
    });
}
