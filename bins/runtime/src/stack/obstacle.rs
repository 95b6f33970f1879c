//! Why the network cannot bring a packet to its destination. Read first: RFC 792, RFC 1122 section 3.2.2.1, RFC 4443
//! section 3.1. Called by receive; told by stream.

/// What an ICMP destination unreachable message means for who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// No way leads to the network.
    Network,
    /// No way leads to the host.
    Host,
    /// The host has nobody there, and says so in this way.
    Port,
    /// Somebody on the way does not allow it.
    Prohibited,
}

impl Obstacle {
    /// What a code of such a message means; one that nobody knows is about the host.
    pub(super) fn of_code(code: u8, is_v4: bool) -> Obstacle {
        match (is_v4, code) {
            (true, 0 | 6 | 11) | (false, 0) => Obstacle::Network,
            (true, 3) | (false, 4) => Obstacle::Port,
            (true, 9 | 10 | 13) | (false, 1 | 5 | 6) => Obstacle::Prohibited,
            (true | false, _) => Obstacle::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_the_same_in_both_versions_where_both_have_them() {
        for (v4, v6, expected) in [
            (0, 0, Obstacle::Network),
            (1, 3, Obstacle::Host),
            (3, 4, Obstacle::Port),
            (13, 1, Obstacle::Prohibited),
            (9, 6, Obstacle::Prohibited),
            (200, 200, Obstacle::Host),
        ] {
            assert_eq!((Obstacle::of_code(v4, true), Obstacle::of_code(v6, false)), (expected, expected));
        }
    }
}
