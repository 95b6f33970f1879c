//! The node's terms in the words of reports.

use router_core::Heard;
use router_core::flow::Phase;
use router_core::flow::tcp_state::TcpState;
use router_core::packet::build::{Notice, Unreachable};

/// How far a flow has come.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unreplied => "no reply yet",
        Phase::Replied => "replied",
        Phase::Tcp(state) => tcp(state),
    }
}

/// The states' usual names, as `ss` and `conntrack` spell them.
fn tcp(state: TcpState) -> &'static str {
    match state {
        TcpState::SynSent => "syn-sent",
        TcpState::SimultaneousOpen => "syn-sent-both",
        TcpState::SynReceived => "syn-received",
        TcpState::Established => "established",
        TcpState::FinOriginal => "fin-from-client",
        TcpState::FinReply => "fin-from-device",
        TcpState::Closing => "closing",
        TcpState::TimeWait => "time-wait",
        TcpState::Reset => "reset",
    }
}

/// What a sender hears of a refusal.
pub(super) fn heard(heard: &Heard) -> String {
    match heard {
        Heard::Nothing => "nothing".to_owned(),
        Heard::Notice(notice) => format!("ICMP: {}", self::notice(notice)),
        Heard::Reset => "TCP reset; ICMP: administratively prohibited for all else".to_owned(),
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::HopLimitExceeded => "time exceeded".to_owned(),
        Notice::Unreachable(Unreachable::NoRoute) => "no route to destination".to_owned(),
        Notice::Unreachable(Unreachable::Host) => "host unreachable".to_owned(),
        Notice::Unreachable(Unreachable::Port) => "port unreachable".to_owned(),
        Notice::Unreachable(Unreachable::AdminProhibited) => "administratively prohibited".to_owned(),
        Notice::TooBig { mtu_bytes } => format!("too big, the next hop takes {mtu_bytes} bytes"),
    }
}
