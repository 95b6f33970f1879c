use super::TcpVerdict::{Accept, AcceptNoStateChange, Invalid};
use super::*;
use crate::flow::tuple::Direction::{self, Original, Reply};
use crate::packet::TcpFlags;

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const RST: TcpFlags = TcpFlags::RST;
const SYN_ACK: TcpFlags = TcpFlags(0x12);
const FIN_ACK: TcpFlags = TcpFlags(0x11);
const RST_ACK: TcpFlags = TcpFlags(0x14);

/// Initial sequence numbers; the client's goes round during every test.
const C: u32 = u32::MAX - 5;
const S: u32 = 5_000_000;

#[test]
fn tcp_1_handshake_data_and_orderly_close() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    for (direction, segment, state) in [
        (Reply, syn_ack(S, C + 1), TcpState::SynReceived),
        (Original, ack(C + 1, S + 1), TcpState::Established),
        (Original, data(C + 1, S + 1, 100), TcpState::Established),
        (Reply, data(S + 1, c(101), 1000), TcpState::Established),
        (Original, fin(c(101), S + 1001), TcpState::FinOriginal),
        (Reply, ack(S + 1001, c(102)), TcpState::FinOriginal),
        (Reply, fin(S + 1001, c(102)), TcpState::Closing),
        (Original, ack(c(102), S + 1002), TcpState::TimeWait),
    ] {
        assert_eq!(track.step(direction, &segment), Accept, "{segment:?}");
        assert_eq!(track.state(), state, "{segment:?}");
    }
}

#[test]
fn tcp_1_simultaneous_open_completes_whoever_acknowledges_first() {
    for order in [[Original, Reply], [Reply, Original]] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        assert_eq!(track.step(Reply, &syn(S)), Accept);
        assert_eq!(track.state(), TcpState::SimultaneousOpen);
        for (direction, state) in order.into_iter().zip([TcpState::SynReceived, TcpState::Established]) {
            let answer = match direction {
                Original => syn_ack(C, S + 1),
                Reply => syn_ack(S, C + 1),
            };
            assert_eq!(track.step(direction, &answer), Accept);
            assert_eq!(track.state(), state);
        }
        assert_eq!(track.step(Reply, &data(S + 1, C + 1, 10)), Accept);
        assert_eq!(track.step(Original, &data(C + 1, S + 1, 10)), Accept);
    }
}

#[test]
fn tcp_1_simultaneous_close_ends_in_time_wait() {
    let mut track = established();
    assert_eq!(track.step(Original, &fin(C + 1, S + 1)), Accept);
    assert_eq!(track.step(Reply, &fin(S + 1, C + 1)), Accept);
    assert_eq!(track.state(), TcpState::Closing);
    assert_eq!(track.step(Original, &ack(C + 2, S + 2)), Accept);
    assert_eq!(track.step(Reply, &ack(S + 2, C + 2)), Accept);
    assert_eq!(track.state(), TcpState::TimeWait);
}

#[test]
fn tcp_1_one_end_finishes_and_the_other_goes_on_sending() {
    for (finishing, state) in [(Original, TcpState::FinOriginal), (Reply, TcpState::FinReply)] {
        let mut track = established();
        let (own, other) = numbers(finishing);
        assert_eq!(track.step(finishing, &fin(own + 1, other + 1)), Accept);
        for sent in 0..100 {
            let segment = data((other + 1).wrapping_add(sent * 1000), own.wrapping_add(2), 1000);
            assert_eq!(track.step(finishing.reversed(), &segment), Accept);
            let acknowledged = ack(own.wrapping_add(2), (other + 1).wrapping_add((sent + 1) * 1000));
            assert_eq!(track.step(finishing, &acknowledged), Accept);
        }
        assert_eq!(track.state(), state);
    }
}

#[test]
fn tcp_1_data_in_the_syn_may_be_acknowledged_or_not() {
    for acknowledged in [0, 40, 100] {
        let syn = Segment { payload_len: 100, ..syn(C) };
        let mut track = TcpTrack::open(&syn, false).unwrap();
        assert_eq!(track.step(Original, &syn), Accept, "repeated");
        assert_eq!(track.step(Reply, &syn_ack(S, c(1 + acknowledged))), Accept);
        assert_eq!(track.step(Original, &data(c(1 + acknowledged), S + 1, 100)), Accept);
        assert_eq!(track.state(), TcpState::Established);
    }
}

#[test]
fn tcp_1_the_answering_end_may_finish_before_the_handshake_is_acknowledged() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), Accept);
    assert_eq!(track.step(Reply, &fin(S + 1, C + 1)), Accept);
    assert_eq!(track.step(Original, &ack(C + 1, S + 2)), Accept);
    assert_eq!(track.state(), TcpState::FinReply);
}

#[test]
fn tcp_1_repeated_handshake_segments_pass_at_every_stage() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    assert_eq!(track.step(Original, &syn(C)), Accept);
    assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), Accept);
    assert_eq!(track.step(Original, &syn(C)), Accept);
    assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), Accept);
    assert_eq!(track.step(Original, &ack(C + 1, S + 1)), Accept);
    assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), AcceptNoStateChange);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tcp_1_an_answering_end_that_forgets_the_handshake_begins_it_anew() {
    let far = Invalid(InvalidTcp::BeyondWindow);
    for (second, is_repeated, acknowledged, verdict) in [
        (S + 0x4000_0000, true, C + 1, Accept),
        (S.wrapping_sub(0x4000_0000), true, C + 1, Accept),
        (S + 0x4000_0000, false, C + 1, far),
        (S + 0x4000_0000, true, C, far),
        (S + 0x4000_0000, true, C + 2, far),
    ] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), Accept);
        if is_repeated {
            assert_eq!(track.step(Original, &syn(C)), Accept);
        }
        assert_eq!(
            track.step(Reply, &syn_ack(second, acknowledged)),
            verdict,
            "{second} {is_repeated} {acknowledged}"
        );
        assert_eq!(
            track.step(Original, &ack(C + 1, second + 1)) == Accept,
            verdict == Accept,
            "{second} {is_repeated}"
        );
        assert_eq!(track.state() == TcpState::Established, verdict == Accept, "{second} {is_repeated}");
    }
}

#[test]
fn tcp_1_an_opener_that_has_its_answer_is_not_taken_back_to_the_handshake() {
    for answer in [ack(C + 1, S + 1), syn_ack(C, S + 1)] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        assert_eq!(track.step(Reply, &syn_ack(S, C + 1)), Accept);
        assert_eq!(track.step(Original, &syn(C)), Accept);
        assert_eq!(track.step(Original, &answer), Accept);
        let other = syn_ack(S + 0x4000_0000, C + 1);
        assert_eq!(track.step(Reply, &other), Invalid(InvalidTcp::BeyondWindow));
        assert_eq!(track.step(Original, &data(C + 1, S + 1, 10)), Accept);
    }
}

#[test]
fn tcp_1_refusal_needs_the_acknowledgement_of_the_syn() {
    for (rst, verdict, state) in [
        (segment(RST_ACK, 0, C + 1), Accept, TcpState::Reset),
        (segment(RST_ACK, 0, C), Invalid(InvalidTcp::ResetOutsideWindow), TcpState::SynSent),
        (segment(RST, 0, 0), Invalid(InvalidTcp::ResetOutsideWindow), TcpState::SynSent),
    ] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        assert_eq!(track.step(Reply, &rst), verdict);
        assert_eq!(track.state(), state);
    }
}

#[test]
fn tcp_2_segments_pass_up_to_the_edge_of_a_scaled_window_and_not_beyond() {
    // The server offers 1000 << 7 from C + 1 on, the client 1000 << 3 from S + 1 on.
    for (direction, offset, verdict) in [
        (Original, 0, Accept),
        (Original, 1000 << 7, Accept),
        (Original, (1000 << 7) + 1, Invalid(InvalidTcp::BeyondWindow)),
        (Original, 1 << 31, Invalid(InvalidTcp::BeyondWindow)),
        (Reply, 1000 << 3, Accept),
        (Reply, (1000 << 3) + 1, Invalid(InvalidTcp::BeyondWindow)),
    ] {
        let mut track = established();
        let (own, other) = numbers(direction);
        let segment = data((own + 1).wrapping_add(offset), other + 1, 10);
        assert_eq!(track.step(direction, &segment), verdict, "{direction:?} {offset}");
    }
}

#[test]
fn tcp_2_repeated_data_passes_back_to_one_window_and_not_before() {
    for (direction, window) in [(Original, 1000 << 7), (Reply, 1000 << 3)] {
        let (own, other) = numbers(direction);
        for (offset, passes) in [(0, true), (window, true), (window + 1, true), (window + 2, false)] {
            let mut track = established();
            for sent in 1..=100 {
                let end = (own + 1).wrapping_add(sent * 1000);
                assert_eq!(track.step(direction, &data(end.wrapping_sub(1000), other + 1, 1000)), Accept);
                assert_eq!(track.step(direction.reversed(), &ack(other + 1, end)), Accept);
            }
            let end = (own + 1).wrapping_add(100_000).wrapping_sub(offset);
            let verdict = track.step(direction, &data(end.wrapping_sub(10), other + 1, 10));
            assert_eq!(verdict == Accept, passes, "{direction:?} {offset}: {verdict:?}");
        }
    }
}

#[test]
fn tcp_2_without_an_offer_from_both_ends_windows_are_not_scaled() {
    for (client, server) in [(None, Some(7)), (Some(7), None), (None, None)] {
        let mut track = TcpTrack::open(&Segment { window_scale: client, ..syn(C) }, false).unwrap();
        track.step(Reply, &Segment { window_scale: server, ..syn_ack(S, C + 1) });
        track.step(Original, &ack(C + 1, S + 1));
        track.step(Reply, &ack(S + 1, C + 1));
        let beyond = data((C + 1).wrapping_add(65_536), S + 1, 1);
        assert_eq!(track.step(Original, &beyond), Invalid(InvalidTcp::BeyondWindow), "{client:?} {server:?}");
    }
}

#[test]
fn tcp_2_acknowledgements_of_what_was_never_sent_do_not_pass() {
    let mut track = established();
    assert_eq!(track.step(Reply, &ack(S + 1, C + 2)), Invalid(InvalidTcp::AckBeyondSent));
    assert_eq!(track.step(Original, &ack(C + 1, S + 2)), Invalid(InvalidTcp::AckBeyondSent));
    let before = (S + 1).wrapping_sub(66_001);
    assert_eq!(track.step(Original, &ack(C + 1, before)), Invalid(InvalidTcp::AckTooOld));
    assert_eq!(track.step(Original, &ack(C + 1, before + 1)), Accept);
}

#[test]
fn tcp_2_selective_acknowledgements_count_where_they_were_permitted() {
    for (permitted, edge, verdict) in [
        (true, C.wrapping_add(2001), Accept),
        (true, C.wrapping_add(2002), Invalid(InvalidTcp::AckBeyondSent)),
        (false, C.wrapping_add(2002), Accept),
    ] {
        let mut track = TcpTrack::open(&Segment { sack_permitted: permitted, ..syn(C) }, false).unwrap();
        track.step(Reply, &Segment { sack_permitted: permitted, ..syn_ack(S, C + 1) });
        track.step(Original, &data(C + 1, S + 1, 2000));
        let hole = Segment { sack_edge: Some(edge), ..ack(S + 1, C + 1) };
        assert_eq!(track.step(Reply, &hole), verdict, "{permitted} {edge}");
    }
}

#[test]
fn tcp_2_an_end_acknowledges_selectively_what_comes_from_the_end_that_permitted_it() {
    for (by_opener, by_answering) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut track = TcpTrack::open(&Segment { sack_permitted: by_opener, ..syn(C) }, false).unwrap();
        track.step(Reply, &Segment { sack_permitted: by_answering, ..syn_ack(S, C + 1) });
        assert_eq!((track.may_sack(Reply), track.may_sack(Original)), (by_opener, by_answering));
    }
}

#[test]
fn tcp_2_super_packets_of_64_kib_move_the_window_like_one_segment() {
    let mut track = established();
    let mut sent = C + 1;
    for _ in 0..1000 {
        assert_eq!(track.step(Original, &data(sent, S + 1, 65_160)), Accept);
        sent = sent.wrapping_add(65_160);
        assert_eq!(track.step(Reply, &ack(S + 1, sent)), Accept);
    }
}

#[test]
fn tcp_2_keep_alive_and_zero_window_probes_pass() {
    let mut track = established();
    assert_eq!(track.step(Original, &ack(C, S + 1)), Accept, "keep-alive without data");
    assert_eq!(track.step(Original, &data(C, S + 1, 1)), Accept, "keep-alive with the last byte");
    let closed = Segment { window: 0, ..ack(S + 1, C + 1) };
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    track.step(Reply, &Segment { window: 0, ..syn_ack(S, C + 1) });
    assert_eq!(track.step(Original, &ack(C + 1, S + 1)), Accept);
    assert_eq!(track.step(Reply, &closed), Accept);
    assert_eq!(track.step(Original, &data(C + 1, S + 1, 1)), Accept, "window probe");
    assert_eq!(track.step(Original, &data(C + 2, S + 1, 1)), Accept, "next window probe");
    assert_eq!(track.step(Original, &data(C + 3, S + 1, 1)), Invalid(InvalidTcp::BeyondWindow));
}

#[test]
fn tcp_2_flag_combinations_no_sender_sends_do_not_pass() {
    for flags in [0x00, 0x01, 0x03, 0x06, 0x07, 0x05, 0x15, 0x13, 0x16, 0x08, 0x20, 0x29, 0x3F, 0xFF] {
        let mut track = established();
        let before = track;
        let segment = segment(TcpFlags(flags), C + 1, S + 1);
        assert_eq!(track.step(Original, &segment), Invalid(InvalidTcp::Flags), "{flags:#x}");
        assert_eq!(track, before);
        assert_eq!(TcpTrack::open(&segment, true), Err(InvalidTcp::Flags));
    }
    for flags in [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x30, 0xC2, 0x39] {
        let verdict = established().step(Original, &segment(TcpFlags(flags), C + 1, S + 1));
        assert_ne!(verdict, Invalid(InvalidTcp::Flags), "{flags:#x}");
    }
}

#[test]
fn p09_reset_closes_only_at_the_exact_next_number() {
    for (direction, offset, verdict, state) in [
        (Original, 0, Accept, TcpState::Reset),
        (Original, 1, AcceptNoStateChange, TcpState::Established),
        (Original, 1000 << 7, AcceptNoStateChange, TcpState::Established),
        (Original, (1000 << 7) + 1, Invalid(InvalidTcp::ResetOutsideWindow), TcpState::Established),
        (Reply, 0, Accept, TcpState::Reset),
        (Reply, 1, AcceptNoStateChange, TcpState::Established),
        (Reply, 0x8000_0000, Invalid(InvalidTcp::ResetOutsideWindow), TcpState::Established),
    ] {
        let mut track = established();
        let own = (numbers(direction).0 + 1).wrapping_add(offset);
        assert_eq!(track.step(direction, &segment(RST, own, 0)), verdict, "{direction:?} {offset}");
        assert_eq!(track.state(), state, "{direction:?} {offset}");
    }
}

#[test]
fn p09_reset_counts_at_what_was_sent_last_and_at_what_was_acknowledged_last() {
    for (offset, state) in [(1, TcpState::Reset), (501, TcpState::Established), (1001, TcpState::Reset)] {
        let mut track = established();
        track.step(Original, &data(C + 1, S + 1, 1000));
        track.step(Original, &segment(RST, c(offset), 0));
        assert_eq!(track.state(), state, "{offset}");
    }
}

#[test]
fn p09_blind_in_window_reset_then_data_goes_on() {
    let mut track = established();
    for guess in (1..1000 << 3).step_by(997) {
        assert_eq!(track.step(Reply, &segment(RST, S + 1 + guess, 0)), AcceptNoStateChange);
    }
    assert_eq!(track.step(Original, &ack(C + 1, S + 1)), Accept, "the challenge");
    assert_eq!(track.step(Reply, &data(S + 1, C + 1, 100)), Accept);
    assert_eq!(track.step(Original, &data(C + 1, S + 101, 100)), Accept);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn p09_fin_outside_the_window_changes_nothing() {
    for (seq, ack) in [
        ((C + 1).wrapping_add((1000 << 7) + 1), S + 1),
        ((C + 1).wrapping_sub(200_000), S + 1),
        (C + 1, S + 2),
        (C + 1, S.wrapping_sub(100_000)),
    ] {
        let mut track = established();
        let before = track;
        assert!(matches!(track.step(Original, &fin(seq, ack)), Invalid(_)));
        assert_eq!(track, before);
    }
}

#[test]
fn p09_syn_into_a_live_flow_passes_and_ends_nothing() {
    for (direction, guess) in [(Original, C + 1), (Original, 77), (Reply, S + 1), (Reply, 77)] {
        let mut track = established();
        assert_eq!(track.step(direction, &syn(guess)), AcceptNoStateChange);
        assert_eq!(track.state(), TcpState::Established);
        assert_eq!(track.step(Original, &data(C + 1, S + 1, 5)), Accept);
        assert_eq!(track.step(Reply, &data(S + 1, c(6), 5)), Accept);
    }
}

#[test]
fn p09_syn_ack_that_answers_no_syn_does_not_restart_the_flow() {
    let mut track = established();
    assert!(matches!(track.step(Reply, &syn_ack(S + 9_000_000, 77)), Invalid(_)));
    track.step(Original, &syn(77));
    track.step(Original, &data(C + 1, S + 1, 5));
    let late = track.step(Reply, &syn_ack(S + 9_000_000, 78));
    assert!(matches!(late, Invalid(_)), "the opener has carried on: {late:?}");
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tmo_3_after_a_reset_stragglers_pass_and_the_flow_stays_reset() {
    let mut track = established();
    track.step(Original, &segment(RST, C + 1, 0));
    assert_eq!(track.step(Reply, &data(S + 1, C + 1, 100)), Accept);
    assert_eq!(track.step(Original, &segment(RST, C + 1, 0)), Accept);
    assert_eq!(track.state(), TcpState::Reset);
}

#[test]
fn tcp_3_syn_reuses_time_wait_if_its_number_is_newer() {
    let mut track = time_wait();
    assert_eq!(track.step(Original, &syn(C.wrapping_add(100_000))), Accept);
    assert_eq!(track.state(), TcpState::SynSent);
    assert_eq!(track.step(Reply, &syn_ack(77, C.wrapping_add(100_001))), Accept);
    assert_eq!(track.step(Original, &ack(C.wrapping_add(100_001), 78)), Accept);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tcp_3_syn_with_an_older_number_reuses_time_wait_if_the_other_end_agrees() {
    let older = C.wrapping_sub(1_000_000_000);
    let mut track = time_wait();
    assert_eq!(track.step(Original, &syn(older)), AcceptNoStateChange);
    assert_eq!(track.state(), TcpState::TimeWait);
    assert_eq!(track.step(Reply, &syn_ack(77, older + 1)), Accept);
    assert_eq!(track.step(Original, &ack(older + 1, 78)), Accept);
    assert_eq!(track.state(), TcpState::Established);
    assert_eq!(track.step(Reply, &ack(78, older + 1)), Accept);
    assert_eq!(track.step(Original, &data((older + 1).wrapping_add(1000 << 7), 78, 1)), Accept, "scaled");
}

#[test]
fn tcp_3_any_syn_reuses_a_reset_flow_but_only_the_opener_may() {
    let mut track = established();
    track.step(Original, &segment(RST, C + 1, 0));
    assert_eq!(track.step(Reply, &syn(1)), AcceptNoStateChange);
    assert_eq!(track.state(), TcpState::Reset);
    assert_eq!(track.step(Original, &syn(1)), Accept);
    assert_eq!(track.state(), TcpState::SynSent);
}

#[test]
fn tcp_3_challenge_ack_lets_a_restarted_client_in() {
    let mut track = established();
    track.step(Original, &data(C + 1, S + 1, 500));
    let restarted = 123_456;
    assert_eq!(track.step(Original, &syn(restarted)), AcceptNoStateChange);
    assert_eq!(track.step(Reply, &ack(S + 1, c(501))), Accept, "the challenge");
    assert_eq!(track.step(Original, &segment(RST, c(501), 0)), Accept, "the proof");
    assert_eq!(track.step(Original, &syn(restarted)), Accept);
    assert_eq!(track.step(Reply, &syn_ack(9, restarted + 1)), Accept);
    assert_eq!(track.step(Original, &ack(restarted + 1, 10)), Accept);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tcp_3_challenge_ack_passes_where_the_router_has_forgotten_the_older_connection() {
    let mut track = TcpTrack::open(&syn(123_456), false).unwrap();
    assert_eq!(track.step(Reply, &ack(S + 1, C + 1)), AcceptNoStateChange, "the challenge");
    assert_eq!(track.step(Original, &segment(RST, C + 2, 0)), Invalid(InvalidTcp::ResetOutsideWindow));
    assert_eq!(track.step(Original, &segment(RST, C + 1, 0)), AcceptNoStateChange, "the proof");
    assert_eq!(track.step(Original, &syn(123_456)), Accept);
    assert_eq!(track.step(Reply, &syn_ack(9, 123_457)), Accept);
    assert_eq!(track.step(Original, &ack(123_457, 10)), Accept);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tcp_3_both_ends_restarted_start_the_flow_again() {
    let mut track = established();
    assert_eq!(track.step(Original, &syn(1_000_000_000)), AcceptNoStateChange);
    assert_eq!(track.step(Reply, &syn_ack(2_000_000_000, 1_000_000_001)), Accept);
    assert_eq!(track.step(Original, &ack(1_000_000_001, 2_000_000_001)), Accept);
    assert_eq!(track.state(), TcpState::Established);
    assert_eq!(track.step(Reply, &ack(2_000_000_001, 1_000_000_001)), Accept);
    assert_eq!(track.step(Original, &data(1_000_000_001 + (1000 << 7), 2_000_000_001, 1)), Accept, "scaled");
}

#[test]
fn tcp_3_a_flow_that_starts_again_has_the_options_of_the_second_syn() {
    for (window_scale, sack_permitted, scales) in
        [(Some(5), true, (5, 7)), (Some(0), false, (0, 7)), (None, true, (0, 0)), (None, false, (0, 0))]
    {
        let mut track = established();
        let second = Segment { window_scale, sack_permitted, ..syn(1_000_000_000) };
        assert_eq!(track.step(Original, &second), AcceptNoStateChange);
        assert_eq!(track.step(Reply, &syn_ack(2_000_000_000, 1_000_000_001)), Accept);
        assert_eq!((track.scale(Original), track.scale(Reply)), scales, "{window_scale:?}");
        assert_eq!((track.may_sack(Reply), track.may_sack(Original)), (sack_permitted, false));
    }
}

#[test]
fn tcp_3_a_syn_ack_that_answers_another_syn_is_a_challenge() {
    let mut track = TcpTrack::open(&syn(123_456), false).unwrap();
    assert_eq!(track.step(Reply, &syn_ack(S, 99)), AcceptNoStateChange);
    assert_eq!(track.state(), TcpState::SynSent);
    assert_eq!(track.step(Original, &segment(RST, 99, 0)), AcceptNoStateChange, "the proof");
}

#[test]
fn tcp_3_data_before_the_handshake_is_no_challenge() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    assert_eq!(track.step(Reply, &data(S, 99, 1)), Invalid(InvalidTcp::OutOfTurn));
    assert_eq!(track.step(Original, &segment(RST, 99, 0)), Invalid(InvalidTcp::ResetOutsideWindow));
}

#[test]
fn tcp_1_a_repeated_syn_may_come_without_options_and_another_is_a_new_attempt() {
    let bare = |seq| Segment { window_scale: None, ..syn(seq) };
    for (second, scale) in [(bare(C), 3), (bare(c(100)), 0), (syn(c(100)), 3)] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        assert_eq!(track.step(Original, &second), Accept);
        assert_eq!(track.step(Reply, &syn_ack(S, second.seq.wrapping_add(1))), Accept);
        assert_eq!(track.scale(Original), scale, "{second:?}");
    }
}

#[test]
fn tcp_2_the_window_of_a_syn_is_not_scaled() {
    for (offset, verdict) in [(1001, Accept), (1002, Invalid(InvalidTcp::BeyondWindow))] {
        let mut track = TcpTrack::open(&syn(C), false).unwrap();
        track.step(Reply, &syn_ack(S, C + 1));
        track.step(Original, &ack(C + 1, S + 1));
        assert_eq!(track.step(Original, &data(c(offset), S + 1, 1)), verdict, "{offset}");
    }
}

#[test]
fn tcp_4_nobody_knows_the_numbers_of_a_flow_that_was_picked_up() {
    let mut track = TcpTrack::open(&ack(C + 1, S + 1), true).unwrap();
    assert_eq!(track.step(Reply, &segment(RST, S + 0x4000_0000, 0)), AcceptNoStateChange);
    assert_eq!(track.step(Original, &data(C.wrapping_add(0x4000_0000), S + 1, 100)), Accept);
    assert_eq!(track.state(), TcpState::Established);
}

#[test]
fn tcp_1_a_challenge_acknowledges_nothing_of_the_handshake_that_follows() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    track.step(Reply, &ack(S, 99));
    assert_eq!(track.step(Reply, &syn(S)), Accept);
    assert_eq!(track.state(), TcpState::SimultaneousOpen);
    assert_eq!(track.step(Original, &syn_ack(C, S + 1)), Accept);
    assert_eq!(track.state(), TcpState::SynReceived);
}

#[test]
fn tcp_4_nothing_but_a_syn_opens_a_flow() {
    for flags in [ACK, FIN_ACK, RST, RST_ACK, SYN_ACK] {
        assert_eq!(TcpTrack::open(&segment(flags, 1, 1), false), Err(InvalidTcp::NotOpening), "{flags:?}");
    }
}

#[test]
fn tcp_4_pick_up_joins_a_flow_in_the_middle_where_it_is_asked_for() {
    let mut track = TcpTrack::open(&data(C, S, 100), true).unwrap();
    assert_eq!(track.step(Reply, &data(S, c(100), 1000)), Accept);
    assert_eq!(track.step(Original, &fin(c(100), S + 1000)), Accept);
    assert_eq!(track.state(), TcpState::FinOriginal);
}

#[test]
fn ice_8_a_quoted_number_must_lie_between_the_oldest_wanted_and_the_last_sent() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    for (direction, seq, inside) in
        [(Original, C, true), (Original, C + 1, true), (Original, C + 2, false), (Reply, 0, false)]
    {
        assert_eq!(track.quoted_seq_in_window(direction, seq), inside, "{direction:?} {seq}");
    }
    track.step(Reply, &syn_ack(S, C + 1));
    track.step(Original, &data(C + 1, S + 1, 1000));
    for (direction, seq, inside) in [
        (Original, c(1), true),
        (Original, c(1001), true),
        (Original, c(1002), false),
        (Original, c(1001).wrapping_sub(200_000), false),
        (Reply, S + 1, true),
        (Reply, S + 2, false),
        (Reply, S.wrapping_sub(100_000), false),
    ] {
        assert_eq!(track.quoted_seq_in_window(direction, seq), inside, "{direction:?} {seq}");
    }
}

#[test]
fn flt_7_resets_carry_the_number_each_end_expects_next() {
    let mut track = established();
    track.step(Original, &data(C + 1, S + 1, 1000));
    track.step(Reply, &data(S + 1, c(501), 300));
    let to_client = track.resets_to(Original);
    assert_eq!(to_client.first, ResetNumbers { seq: S + 301, ack: Some(c(1001)) });
    assert_eq!(to_client.second.map(|second| second.seq), Some(S + 1), "if the client got nothing of it");
    let to_server = track.resets_to(Reply);
    assert_eq!(to_server.first, ResetNumbers { seq: c(1001), ack: Some(S + 301) });
    assert_eq!(to_server.second.map(|second| second.seq), Some(c(501)));
}

#[test]
fn flt_7_resets_in_a_half_open_flow_are_believed_too() {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    assert_eq!(track.resets_to(Original).first, ResetNumbers { seq: 0, ack: Some(C + 1) });
    assert_eq!(track.resets_to(Reply).first, ResetNumbers { seq: C + 1, ack: None });
    track.step(Reply, &syn_ack(S, C + 1));
    assert_eq!(track.resets_to(Original).first, ResetNumbers { seq: S + 1, ack: Some(C + 1) });
    assert_eq!(track.resets_to(Reply).first, ResetNumbers { seq: C + 1, ack: Some(S + 1) });
}

/// After a handshake in which the client scales by 3 and the server by 7, both with a window field of 1000.
fn established() -> TcpTrack {
    let mut track = TcpTrack::open(&syn(C), false).unwrap();
    track.step(Reply, &syn_ack(S, C + 1));
    track.step(Original, &ack(C + 1, S + 1));
    track.step(Reply, &ack(S + 1, C + 1));
    assert_eq!(track.state(), TcpState::Established);
    track
}

fn time_wait() -> TcpTrack {
    let mut track = established();
    track.step(Original, &fin(C + 1, S + 1));
    track.step(Reply, &fin(S + 1, C + 2));
    track.step(Original, &ack(C + 2, S + 2));
    assert_eq!(track.state(), TcpState::TimeWait);
    track
}

/// The initial numbers of the end that sends in this direction, and of the other.
fn numbers(direction: Direction) -> (u32, u32) {
    match direction {
        Original => (C, S),
        Reply => (S, C),
    }
}

/// A client number past the point where they go round.
fn c(offset: u32) -> u32 {
    C.wrapping_add(offset)
}

fn segment(flags: TcpFlags, seq: u32, ack: u32) -> Segment {
    Segment {
        flags,
        seq,
        ack,
        window: 1000,
        payload_len: 0,
        window_scale: None,
        sack_permitted: false,
        sack_edge: None,
    }
}

fn syn(seq: u32) -> Segment {
    Segment { window_scale: Some(3), ..segment(SYN, seq, 0) }
}

fn syn_ack(seq: u32, ack: u32) -> Segment {
    Segment { window_scale: Some(7), ..segment(SYN_ACK, seq, ack) }
}

fn ack(seq: u32, ack: u32) -> Segment {
    segment(ACK, seq, ack)
}

fn data(seq: u32, ack: u32, payload_len: u32) -> Segment {
    Segment { payload_len, ..segment(ACK, seq, ack) }
}

fn fin(seq: u32, ack: u32) -> Segment {
    segment(FIN_ACK, seq, ack)
}
