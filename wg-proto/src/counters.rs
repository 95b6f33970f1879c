//! One named counter for everything that is refused, dropped or worth watching.

/// Declares the counters once: a public field each, and a list of names for metrics.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Totals since the device was made. Each drop raises exactly one of the counters after
        /// `handshakes_completed`.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }
    };
}

counters! {
    /// X25519 agreements computed: the unit of what a flood can cost.
    agreements,
    /// Initiations sent.
    initiations_sent,
    /// Responses sent.
    responses_sent,
    /// Cookie replies sent.
    cookies_sent,
    /// Keepalives sent.
    keepalives_sent,
    /// Keepalives received.
    keepalives_received,
    /// Data packets sealed, or reserved for sealing.
    packets_sent,
    /// Data packets received and accepted.
    packets_received,
    /// Handshakes completed, in either role.
    handshakes_completed,
    /// Datagrams that are no WireGuard message.
    malformed,
    /// Transport datagrams given to `handle_control`.
    not_control,
    /// Handshake messages whose `mac1` is not ours.
    mac1_invalid,
    /// Handshake messages while no private key is set.
    no_private_key,
    /// Handshake messages under load without a valid `mac2`; answered by a cookie.
    cookie_required,
    /// Handshake messages under load beyond their source's rate.
    source_rate_limited,
    /// Initiations and responses with a low-order point.
    low_order_point,
    /// Initiations that do not authenticate.
    initiation_not_authentic,
    /// Initiations of a key that is no peer.
    unknown_peer,
    /// Initiations with a time stamp not after the last one.
    initiation_replayed,
    /// Initiations of one peer faster than 50 a second.
    initiation_flood,
    /// Responses that answer no initiation of ours.
    response_unexpected,
    /// Responses that do not authenticate.
    response_not_authentic,
    /// Cookie replies that answer no message of ours.
    cookie_unexpected,
    /// Cookie replies that do not authenticate.
    cookie_not_authentic,
    /// Transport packets of no session.
    unknown_session,
    /// Transport packets of a session that went away or grew too old while they were opened.
    session_gone,
    /// Transport packets that do not authenticate.
    packet_not_authentic,
    /// Transport packets with a counter past the limit.
    counter_exhausted,
    /// Transport packets accepted before, or older than the replay window.
    packet_replayed,
    /// Transport packets opened with one session's key and committed with another's.
    wrong_session,
    /// Packets whose inner source does not belong to their peer.
    source_not_allowed,
    /// Packets that are no IPv4 or IPv6 inside.
    inner_malformed,
    /// Packets to a peer without an endpoint.
    no_endpoint,
    /// Staged packets dropped for newer ones.
    staged_overflow,
    /// Staged packets dropped because the handshake was given up or the peer changed.
    staged_abandoned,
    /// Packets too long to send, or longer than the buffer they were to be sealed into.
    packet_too_large,
    /// Answers dropped because nobody drained `poll_transmit`.
    replies_overflow,
    /// Events dropped because nobody drained `poll_event`.
    events_overflow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_distinct_name() {
        let counters = Counters { agreements: 1, events_overflow: 7, ..Counters::default() };
        let names: alloc::collections::BTreeSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), counters.iter().count());
        assert!(counters.iter().any(|counter| counter == ("events_overflow", 7)));
    }
}
