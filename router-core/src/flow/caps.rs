//! What one session may hold of what all sessions share. MAP-8; RFC 6888 REQ-4.

use super::phase::Phase;
use super::tick::Tick;
use crate::packet::Protocol;

/// The most a session may hold at once, and open per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caps {
    /// Flows, of any kind and in any phase.
    pub flows_max: u32,
    /// TCP handshakes under way.
    pub half_open_max: u32,
    /// External ports.
    pub ports_max: u32,
    /// New flows, with one second's worth of burst.
    pub new_flows_per_sec: u32,
}

// Our own choice. A browser with a hundred tabs holds fewer than 2000 flows; a port scan meets the second and last cap.

impl Default for Caps {
    fn default() -> Caps {
        Caps { flows_max: 8192, half_open_max: 256, ports_max: 8192, new_flows_per_sec: 500 }
    }
}

/// Which cap a new flow would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CapExceeded {
    /// [`Caps::flows_max`].
    #[error("the session has as many flows as it may")]
    Flows,
    /// [`Caps::half_open_max`].
    #[error("the session has as many TCP handshakes under way as it may")]
    HalfOpen,
    /// [`Caps::ports_max`].
    #[error("the session has as many external ports as it may")]
    Ports,
    /// [`Caps::new_flows_per_sec`].
    #[error("the session opens flows faster than it may")]
    NewFlows,
}

/// What one session holds now. Its owner reports each flow that comes, changes or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionUse {
    flows_used: u32,
    half_open_used: u32,
    ports_used: u32,
    opened: Window,
}

/// How many flows were opened lately, draining at the capped rate. Multiplied by a second, so that nothing is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    flow_nanos: u64,
    at: u32,
}

const SECOND_NANOS: u64 = 1_000_000_000;

impl SessionUse {
    /// Whether a new flow of this protocol is within the caps, needing an external port or not. Changes nothing.
    pub fn check(
        &self,
        now: Tick,
        caps: &Caps,
        protocol: Protocol,
        needs_port: bool,
    ) -> Result<(), CapExceeded> {
        if self.flows_used >= caps.flows_max {
            Err(CapExceeded::Flows)
        } else if protocol == Protocol::TCP && self.half_open_used >= caps.half_open_max {
            Err(CapExceeded::HalfOpen)
        } else if needs_port && self.ports_used >= caps.ports_max {
            Err(CapExceeded::Ports)
        } else if !self.opened.has_room(now, caps.new_flows_per_sec) {
            Err(CapExceeded::NewFlows)
        } else {
            Ok(())
        }
    }

    /// A flow was stored in this phase, with an external port or without.
    pub fn opened(&mut self, now: Tick, caps: &Caps, phase: Phase, has_port: bool) {
        self.flows_used += 1;
        self.half_open_used += u32::from(phase.is_half_open());
        self.ports_used += u32::from(has_port);
        self.opened.fill(now, caps.new_flows_per_sec);
    }

    /// A flow went from one phase to another.
    pub fn changed(&mut self, from: Phase, to: Phase) {
        let gone = u32::from(from.is_half_open());
        self.half_open_used = (self.half_open_used + u32::from(to.is_half_open())).saturating_sub(gone);
    }

    /// A flow was removed in this phase.
    pub fn closed(&mut self, phase: Phase, had_port: bool) {
        self.flows_used = self.flows_used.saturating_sub(1);
        self.half_open_used = self.half_open_used.saturating_sub(u32::from(phase.is_half_open()));
        self.ports_used = self.ports_used.saturating_sub(u32::from(had_port));
    }

    /// Flows the session holds.
    pub fn flows_used(&self) -> u32 {
        self.flows_used
    }

    /// TCP handshakes among them.
    pub fn half_open_used(&self) -> u32 {
        self.half_open_used
    }

    /// External ports the session holds.
    pub fn ports_used(&self) -> u32 {
        self.ports_used
    }

    /// Whether the session holds more than an equal part of the table. CAP.
    pub fn is_over_share(&self, flows_max: u32, sessions_used: u32) -> bool {
        self.flows_used > flows_max / sessions_used.max(1)
    }
}

impl Window {
    fn has_room(&self, now: Tick, per_sec: u32) -> bool {
        self.drained(now, per_sec) + SECOND_NANOS <= u64::from(per_sec) * SECOND_NANOS
    }

    fn fill(&mut self, now: Tick, per_sec: u32) {
        self.flow_nanos = self.drained(now, per_sec) + SECOND_NANOS;
        self.at = now.0;
    }

    fn drained(&self, now: Tick, per_sec: u32) -> u64 {
        let elapsed_nanos = Tick(now.since(Tick(self.at))).as_nanos();
        self.flow_nanos.saturating_sub(elapsed_nanos.saturating_mul(u64::from(per_sec)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tcp_state::TcpState;

    const CAPS: Caps = Caps { flows_max: 4, half_open_max: 2, ports_max: 3, new_flows_per_sec: 100 };
    const SYN: Phase = Phase::Tcp(TcpState::SynSent);

    fn open(
        session: &mut SessionUse,
        protocol: Protocol,
        phase: Phase,
        port: bool,
    ) -> Result<(), CapExceeded> {
        session.check(Tick(0), &CAPS, protocol, port)?;
        session.opened(Tick(0), &CAPS, phase, port);
        Ok(())
    }

    #[test]
    fn map_8_flows_half_open_ones_and_ports_are_capped_apart() {
        let mut session = SessionUse::default();
        assert_eq!(open(&mut session, Protocol::TCP, SYN, true), Ok(()));
        assert_eq!(open(&mut session, Protocol::TCP, SYN, true), Ok(()));
        assert_eq!(open(&mut session, Protocol::TCP, SYN, true), Err(CapExceeded::HalfOpen));
        assert_eq!(open(&mut session, Protocol::UDP, Phase::Unreplied, true), Ok(()));
        assert_eq!(open(&mut session, Protocol::UDP, Phase::Unreplied, true), Err(CapExceeded::Ports));
        assert_eq!(open(&mut session, Protocol::UDP, Phase::Unreplied, false), Ok(()));
        assert_eq!(open(&mut session, Protocol::UDP, Phase::Unreplied, false), Err(CapExceeded::Flows));
    }

    #[test]
    fn map_8_what_is_given_back_may_be_used_again() {
        let mut session = SessionUse::default();
        for _ in 0..2 {
            assert_eq!(open(&mut session, Protocol::TCP, SYN, true), Ok(()));
        }
        session.changed(SYN, Phase::Tcp(TcpState::Established));
        assert_eq!(session.half_open_used(), 1);
        session.closed(SYN, true);
        assert_eq!((session.flows_used(), session.half_open_used(), session.ports_used()), (1, 0, 1));
        assert_eq!(open(&mut session, Protocol::TCP, SYN, true), Ok(()));
    }

    #[test]
    fn map_8_new_flows_are_capped_by_rate_with_a_second_of_burst() {
        let caps = Caps { flows_max: 1000, ..CAPS };
        let mut session = SessionUse::default();
        let mut open_at = |now: Tick| {
            let allowed = session.check(now, &caps, Protocol::UDP, false).is_ok();
            if allowed {
                session.opened(now, &caps, Phase::Unreplied, false);
            }
            allowed
        };
        assert_eq!((0..200).filter(|_| open_at(Tick(0))).count(), 100);
        let half_a_second_later = Tick::from_nanos(SECOND_NANOS / 2 + (1 << 27));
        let allowed = (0..200).filter(|_| open_at(half_a_second_later)).count();
        assert!((50..=60).contains(&allowed), "{allowed}");
    }

    #[test]
    fn cap_fair_share_is_an_equal_part_of_the_table() {
        let mut session = SessionUse::default();
        for _ in 0..4 {
            session.opened(Tick(0), &CAPS, Phase::Unreplied, false);
        }
        assert!(!session.is_over_share(8, 2));
        assert!(session.is_over_share(8, 3));
    }
}
