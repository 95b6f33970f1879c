//! How long a flow may idle before it is forgotten. Read first: RFC 4787 §4.3, RFC 5382 §5, RFC 5508 §3.2, RFC 7857 §2.

use core::time::Duration;

use super::phase::Phase;
use super::tcp_state::TcpState;
use super::tick::ticks;
use crate::packet::Protocol;

// Given by specifications.

/// UDP, answered or not. RFC 4787 REQ-5: at least 2 min, 5 min recommended. TMO-1.
pub const UDP_TIMEOUT: Duration = Duration::from_secs(300);
/// A TCP flow after its handshake, and after one end has finished. RFC 5382 REQ-5: at least 2 h 4 min. TMO-2.
pub const ESTABLISHED_TIMEOUT: Duration = Duration::from_secs(7440);
/// A TCP handshake under way. RFC 5382 REQ-5: at least 4 min. TMO-2.
pub const TRANSITORY_TIMEOUT: Duration = Duration::from_secs(240);
/// A TCP flow both ends have finished, or one has reset. RFC 7857 §2.2: 4 min without a packet. TMO-2, TMO-3.
pub const CLOSING_TIMEOUT: Duration = Duration::from_secs(240);
/// An ICMP echo conversation. RFC 5508 REQ-2: at least 60 s. TMO-4.
pub const ECHO_TIMEOUT: Duration = Duration::from_secs(60);

// Our own choice.

/// Protocols without ports. As long as Linux' generic tracker: IPsec rekeys and GRE keepalives fit into it.
pub const OTHER_TIMEOUT: Duration = Duration::from_secs(600);

/// How many ticks a flow may idle in this phase.
pub(crate) const fn idle_ticks(protocol: Protocol, phase: Phase) -> u32 {
    ticks(idle_timeout(protocol, phase))
}

/// How long a flow may idle in this phase.
pub(crate) const fn idle_timeout(protocol: Protocol, phase: Phase) -> Duration {
    match phase {
        Phase::Tcp(state) => tcp_timeout(state),
        Phase::Unreplied | Phase::Replied => match protocol {
            Protocol::UDP => UDP_TIMEOUT,
            Protocol::ICMP | Protocol::ICMPV6 => ECHO_TIMEOUT,
            Protocol(_) => OTHER_TIMEOUT,
        },
    }
}

const fn tcp_timeout(state: TcpState) -> Duration {
    match state {
        TcpState::SynSent | TcpState::SimultaneousOpen | TcpState::SynReceived => TRANSITORY_TIMEOUT,
        TcpState::Established | TcpState::FinOriginal | TcpState::FinReply => ESTABLISHED_TIMEOUT,
        TcpState::Closing | TcpState::TimeWait | TcpState::Reset => CLOSING_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tcp(state: TcpState) -> Duration {
        idle_timeout(Protocol::TCP, Phase::Tcp(state))
    }

    #[test]
    fn tmo_1_udp_idles_at_least_two_minutes_answered_or_not() {
        for phase in [Phase::Unreplied, Phase::Replied] {
            assert!(idle_timeout(Protocol::UDP, phase) >= Duration::from_secs(120));
            assert_eq!(idle_timeout(Protocol::UDP, phase), Duration::from_secs(300), "the default");
        }
    }

    #[test]
    fn tmo_2_tcp_opening_open_and_closing_have_their_own_timers() {
        for (state, at_least) in [
            (TcpState::SynSent, 240),
            (TcpState::SimultaneousOpen, 240),
            (TcpState::SynReceived, 240),
            (TcpState::Established, 7440),
            (TcpState::FinOriginal, 7440),
            (TcpState::FinReply, 7440),
            (TcpState::Closing, 240),
            (TcpState::TimeWait, 240),
        ] {
            assert!(tcp(state) >= Duration::from_secs(at_least), "{state:?}");
        }
    }

    #[test]
    fn tmo_3_a_reset_flow_is_kept_four_minutes() {
        assert_eq!(tcp(TcpState::Reset), Duration::from_secs(240));
    }

    #[test]
    fn tmo_4_echo_idles_at_least_a_minute_in_both_versions() {
        for protocol in [Protocol::ICMP, Protocol::ICMPV6] {
            assert!(idle_timeout(protocol, Phase::Unreplied) >= Duration::from_secs(60));
            assert!(idle_timeout(protocol, Phase::Replied) >= Duration::from_secs(60));
        }
    }
}
