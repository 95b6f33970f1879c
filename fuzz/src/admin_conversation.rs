//! Any bytes on the admin socket: each line gets one answer and in its order, nothing but a request reaches the program,
//! and how the bytes come in pieces makes no difference.

use std::cell::RefCell;
use std::io::{BufReader, Read};
use std::net::IpAddr;

use router_core::packet::PacketMut;
use serde_json::{Value, json};
use sluice_runtime::host::admin::message::LINE_BYTES_MAX;
use sluice_runtime::host::admin::server::converse;
use sluice_runtime::host::admin::{Answer, Refusal, Reply, Request};

use crate::{Input, Tally, Target};

pub(crate) const TARGET: Target = Target {
    name: "admin_conversation",
    run: admin_conversation,
    outcomes: &[
        "Explain",
        "Flows",
        "MixedVersions",
        "NotAPacket",
        "NotAProtocol",
        "NotAnEnd",
        "SessionClose",
        "SessionOpen",
        "Status",
        "TooLong",
        "a packet",
        "bytes of no packet",
        "done",
        "item",
        "no request",
        "refused by the program",
        "too long or cut off",
    ],
};

const SHORT_BYTES: usize = 4096;

/// A first byte of 0 feeds the rest as it is. Else each request is made of two bytes, or of a few raw ones.
fn admin_conversation(data: &[u8], tally: &mut Tally) {
    let mut input = Input::new(data);
    let sent = if input.u8() == 0 { input.rest().to_vec() } else { requests(input) };
    let whole = conversation(&mut &sent[..], sent.len());
    // Byte by byte, unless that takes too long.
    let piece = if sent.len() < SHORT_BYTES { 1 } else { 1021 };
    assert_eq!(whole, conversation(&mut BufReader::with_capacity(piece, &sent[..]), sent.len()));
    let lines = sent.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
    if lines.iter().all(|line| line.len() <= LINE_BYTES_MAX) {
        assert_eq!(whole.answers, lines.len(), "one answer a line");
    }
    whole.count(tally);
    for request in &whole.requests {
        look(request, tally);
    }
}

#[derive(Debug, PartialEq)]
struct Heard {
    requests: Vec<Request>,
    replies: Vec<u8>,
    answers: usize,
}

impl Heard {
    fn count(&self, tally: &mut Tally) {
        for reply in replies(&self.replies) {
            match reply {
                Reply::Item(_) => tally.count("item"),
                Reply::Done(_) => tally.count("done"),
                Reply::Refused(refusal) if refusal.what == REFUSED => tally.count("refused by the program"),
                Reply::Refused(refusal) if refusal.what.starts_with("not a request") => {
                    tally.count("no request")
                }
                Reply::Refused(_) => tally.count("too long or cut off"),
            }
        }
    }
}

fn conversation(reader: &mut impl std::io::BufRead, sent_bytes: usize) -> Heard {
    let requests = RefCell::new(Vec::new());
    let mut replies = Vec::new();
    let program = |request: Request, answer: &mut Answer<'_>| {
        requests.borrow_mut().push(request.clone());
        reply(&request, answer)
    };
    converse(reader, &mut replies, &program).expect("nothing fails in memory");
    assert_eq!(reader.take(1).read(&mut [0]).ok(), Some(0), "all {sent_bytes} bytes are read");
    let answers = answers(&replies);
    Heard { requests: requests.into_inner(), replies, answers }
}

const REFUSED: &str = "no";

/// A program that has as many flows as it is asked for, at most four, and refuses whatever changes something.
fn reply(request: &Request, answer: &mut Answer<'_>) -> Result<Value, Refusal> {
    match request {
        Request::Status | Request::Explain { .. } => Ok(json!("seen")),
        Request::Flows { max } => {
            (0..*max.min(&4)).for_each(|flow| answer.item(&flow).expect("nothing fails in memory"));
            Ok(json!({ "flows": max.min(&4) }))
        }
        Request::SessionOpen { .. }
        | Request::SessionClose { .. }
        | Request::AccessAdd(_)
        | Request::AccessRemove { .. } => Err(Refusal::new(REFUSED, "Do not.")),
    }
}

/// How many answers there are; each item belongs to one.
fn answers(replies: &[u8]) -> usize {
    self::replies(replies).filter(|reply| !matches!(reply, Reply::Item(_))).count()
}

fn replies(replies: &[u8]) -> impl Iterator<Item = Reply> {
    let text = std::str::from_utf8(replies).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str::<Reply>(line).expect("a reply a line"))
}

/// A request is what it says, and an explained packet is one or none.
fn look(request: &Request, tally: &mut Tally) {
    let text = serde_json::to_string(request).expect("a request is JSON");
    assert_eq!(serde_json::from_str::<Request>(&text).ok().as_ref(), Some(request));
    tally.variant(request);
    let Request::Explain { packet, .. } = request else { return };
    match sluice_router::packet_of_text(packet) {
        Ok(mut packet) => match PacketMut::parse(&mut packet) {
            Ok(_) => tally.count("a packet"),
            Err(_) => tally.count("bytes of no packet"),
        },
        Err(fault) => tally.variant(&fault),
    }
}

const PACKETS: [&str; 6] = [
    "450000140000000040fd0000c0000201c0000202",
    "tcp 10.77.0.2:5555 > 10.20.0.5:22",
    "udp [fd77::2]:5555 > [fd20::5]:53",
    "icmp 10.77.0.2 > 10.20.0.5",
    "tcp 10.77.0.2 > fd00::1",
    "zz",
];

fn requests(mut input: Input<'_>) -> Vec<u8> {
    let mut sent = Vec::new();
    while !input.is_empty() {
        let (what, value) = (input.u8(), input.u8());
        let pick = usize::from(value);
        let request = match what % 64 {
            0..4 => Request::Status,
            4..12 => Request::Flows { max: pick },
            12..20 => Request::Explain { packet: PACKETS[pick % PACKETS.len()].to_owned(), from: None },
            20..32 => Request::Explain { packet: text(&mut input, pick), from: Some("tun".to_owned()) },
            32..40 => Request::SessionOpen {
                client_ip: IpAddr::from([10, 77, 0, value]),
                target: text(&mut input, pick),
                seconds: (value > 9).then_some(u64::from(value) << 56),
            },
            40..44 => Request::SessionClose { id: text(&mut input, pick) },
            // As long as a packet in text may be, and a byte longer.
            44 => Request::Explain { packet: "45".repeat(65_575 + pick % 2), from: None },
            45 => {
                sent.resize(sent.len() + LINE_BYTES_MAX - 2 + pick % 4, b'x');
                sent.push(b'\n');
                if sent.len() > 2 * LINE_BYTES_MAX {
                    return sent;
                }
                continue;
            }
            _ => {
                sent.extend_from_slice(input.take(pick % 64));
                continue;
            }
        };
        sent.extend(serde_json::to_vec(&request).expect("a request is JSON"));
        sent.push(b'\n');
    }
    sent
}

fn text(input: &mut Input<'_>, len: usize) -> String {
    String::from_utf8_lossy(input.take(len % 48)).into_owned()
}
