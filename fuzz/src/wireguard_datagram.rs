//! Datagrams from anyone: raw bytes, and genuine messages of a peer with some bytes changed, also such whose `mac1` was
//! made right again. Nothing changed is accepted, answered or remembered, everything genuine is (P11, P12, P14).

use std::cell::RefCell;

use wg_proto::{DecapsulateError, Decapsulated, Handled, Instant, MessageKind, QueueLoad, classify};

use crate::pair::{FULL, Genuine, Pair, Side, endpoint, looked_at, outcome, sign, wall};
use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "wireguard_datagram",
    run: wireguard_datagram,
    outcomes: &[
        "Control CookieReply",
        "Control Initiation",
        "Control Mac1",
        "Control Malformed ReservedBytes",
        "Control Malformed TooShort",
        "Control Malformed UnknownType",
        "Control Malformed WrongLength",
        "Control NotAuthentic",
        "Control Response",
        "Control Unexpected",
        "Open CounterExhausted",
        "Open NotAuthentic",
        "Packet",
        "Replayed",
        "UnknownSession",
    ],
};

/// So many inputs use one pair: each that is refused leaves it as it was, and a handshake costs a thousand refusals.
const USES_MAX: u32 = 512;

/// What is done with an input, chosen by its first byte.
#[derive(Clone, Copy, Debug)]
enum Case {
    Raw,
    Initiation,
    Response,
    CookieReply,
    Transport,
    RawUnderLoad,
    SignedInitiation,
    SignedResponse,
}

const CASES: [Case; 8] = [
    Case::Raw,
    Case::Initiation,
    Case::Response,
    Case::CookieReply,
    Case::Transport,
    Case::RawUnderLoad,
    Case::SignedInitiation,
    Case::SignedResponse,
];

/// A pair that waits for a datagram, and the genuine one.
struct Ready {
    pair: Pair,
    genuine: Genuine,
    uses: u32,
}

thread_local! {
    static READY: RefCell<[Option<Ready>; CASES.len()]> = const { RefCell::new([const { None }; CASES.len()]) };
}

/// A first byte of 0 or 5 feeds the rest as it is, without or under load; others choose a genuine message, and the rest
/// changes it: a length difference, then two bytes of place and one of change each.
fn wireguard_datagram(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let choice = usize::from(input.u8()) % CASES.len();
    let case = CASES[choice];
    let kept = READY.with_borrow_mut(|ready| ready[choice].take());
    let mut ready = kept.unwrap_or_else(|| Ready::new(case));
    let refused = match case {
        Case::Raw => raw(&mut ready.pair, input.rest(), QueueLoad::IDLE, tally),
        Case::RawUnderLoad => raw(&mut ready.pair, input.rest(), FULL, tally),
        Case::Initiation | Case::Response | Case::CookieReply | Case::Transport => {
            let datagram = change(&ready.genuine.bytes, &mut input);
            changed(&mut ready, datagram, tally)
        }
        Case::SignedInitiation | Case::SignedResponse => {
            let datagram = change_signed(&ready, &mut input);
            changed(&mut ready, datagram, tally)
        }
    };
    ready.uses += 1;
    if refused && ready.uses < USES_MAX {
        READY.with_borrow_mut(|kept| kept[choice] = Some(ready));
    }
}

impl Ready {
    fn new(case: Case) -> Ready {
        let mut pair = Pair::new();
        let genuine = match case {
            Case::Initiation | Case::SignedInitiation => pair.initiation(),
            Case::Response | Case::SignedResponse => pair.response(),
            Case::CookieReply => pair.cookie_reply(),
            Case::Transport => pair.transport(),
            Case::Raw | Case::RawUnderLoad => {
                pair.connect();
                pair.another()
            }
        };
        Ready { pair, genuine, uses: 0 }
    }
}

/// Bytes of nobody's: whatever they are, the device with a session stays silent, learns nothing and goes on working.
/// Says whether they were refused.
fn raw(pair: &mut Pair, bytes: &[u8], load: QueueLoad, tally: &mut Tally) -> bool {
    let (now, src) = (pair.now, endpoint("198.51.100.9:9"));
    let right = &mut pair.right;
    let (counted, state) = (*right.device.counters(), right.state(now));
    let mut datagram = bytes.to_vec();
    let handled = match classify(&datagram) {
        Ok(MessageKind::Transport { .. }) => right.device.decapsulate(now, wall(now), src, &mut datagram),
        Ok(MessageKind::Initiation | MessageKind::Response | MessageKind::CookieReply) | Err(_) => {
            let handled = right.device.handle_control(now, wall(now), src, &mut datagram, load);
            handled.map(Decapsulated::Control).map_err(DecapsulateError::Control)
        }
    };
    outcome(tally, &handled);
    let asked = handled == Ok(Decapsulated::Control(Handled::CookieSent));
    if handled.is_err() {
        assert_ne!(counted, *right.device.counters(), "every refusal is counted");
    }
    if handled.is_err() || asked {
        assert_eq!(state, right.state(now), "nothing is learnt from it");
        assert_eq!(right.is_silent(now), !asked, "only who is asked for a cookie is answered");
    }
    let mut genuine = pair.another().bytes;
    let taken = pair.right.takes(now, pair.left.addr, &mut genuine);
    assert!(matches!(taken, Some(Decapsulated::Packet { .. })), "the session still works");
    handled.is_err()
}

/// A genuine message, changed: accepted if and only if the change is none (or in what nobody looks at). Says whether it
/// was refused.
fn changed(ready: &mut Ready, mut datagram: Vec<u8>, tally: &mut Tally) -> bool {
    let genuine = &ready.genuine;
    let is_same = datagram.len() == genuine.bytes.len() && looked_at(&datagram) == looked_at(&genuine.bytes);
    let now = ready.pair.now;
    let (side, src) = ready.pair.side(genuine.is_for_left);
    let state = side.state(now);
    let taken = side.device.decapsulate(now, wall(now), src, &mut datagram);
    outcome(tally, &taken);
    assert_eq!(taken.is_ok(), is_same, "{taken:?}");
    if !is_same {
        assert_eq!(state, side.state(now), "nothing is learnt from what was refused");
        assert!(side.is_silent(now), "no answer to what was refused");
        return true;
    }
    drive(side, now);
    false
}

fn change(genuine: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut changed = genuine.to_vec();
    let difference = isize::from(input.u8() as i8);
    changed.resize(changed.len().saturating_add_signed(difference), 0);
    while !input.is_empty() && !changed.is_empty() {
        let at = usize::from(input.u16()) % changed.len();
        changed[at] ^= input.u8();
    }
    changed
}

/// Changes what the handshake authenticates, and nothing that only `mac1` protects: header and sender index.
fn change_signed(ready: &Ready, input: &mut Input<'_>) -> Vec<u8> {
    let mut changed = ready.genuine.bytes.clone();
    let end = changed.len() - 32;
    while !input.is_empty() {
        let at = 8 + usize::from(input.u8()) % (end - 8);
        changed[at] ^= input.u8();
    }
    let receiver = if ready.genuine.is_for_left { &ready.pair.left } else { &ready.pair.right };
    sign(&mut changed, &receiver.device.public_key().expect("it has a private key"));
    changed
}

/// Everything the device wants next, for a while.
fn drive(side: &mut Side, mut now: Instant) {
    for _ in 0..8 {
        let mut out = [0; 2048];
        while side.device.poll_transmit(now, wall(now), &mut out).is_some() {}
        while side.device.poll_event().is_some() {}
        let Some((at, _)) = side.device.poll_timeout() else { return };
        assert!(at >= now, "time goes forward");
        now = at;
        side.device.handle_timeout(now);
    }
}
