//! How far a flow has come: decides how long it may idle, and how soon it gives way when the table is full.

use super::tcp_state::TcpState;

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not TCP, and nothing has come back yet.
    Unreplied,
    /// Not TCP, and both ends have spoken.
    Replied,
    /// TCP.
    Tcp(TcpState),
}

impl Phase {
    /// Where the flow stands when room must be made.
    pub const fn rank(self) -> Rank {
        match self {
            Phase::Unreplied => Rank::Unreplied,
            Phase::Replied => Rank::Settled,
            Phase::Tcp(TcpState::SynSent | TcpState::SimultaneousOpen | TcpState::SynReceived) => {
                Rank::HalfOpen
            }
            Phase::Tcp(TcpState::Established | TcpState::FinOriginal | TcpState::FinReply) => Rank::Settled,
            Phase::Tcp(TcpState::Closing | TcpState::TimeWait | TcpState::Reset) => Rank::Closing,
        }
    }

    /// Whether this is a TCP flow whose handshake is not complete. MAP-8 caps these apart.
    pub const fn is_half_open(self) -> bool {
        matches!(self.rank(), Rank::HalfOpen)
    }
}

/// The order in which flows give way when the table is full, first to go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// A TCP handshake under way.
    HalfOpen,
    /// UDP, ICMP or other, without an answer so far.
    Unreplied,
    /// A TCP flow that has ended, kept for stragglers.
    Closing,
    /// A conversation. Never evicted from a session within its fair share.
    Settled,
}

impl Rank {
    /// All, first to go first.
    pub const ALL: [Rank; 4] = [Rank::HalfOpen, Rank::Unreplied, Rank::Closing, Rank::Settled];

    pub(crate) const fn index(self) -> u32 {
        match self {
            Rank::HalfOpen => 0,
            Rank::Unreplied => 1,
            Rank::Closing => 2,
            Rank::Settled => 3,
        }
    }
}
