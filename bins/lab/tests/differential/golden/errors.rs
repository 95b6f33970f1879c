//! Which errors are recorded, about which packets.

use anyhow::{Context, Result, ensure};
use router_core::sim::border::recording::{Case, Step};
use router_core::sim::border::{RuleSet, Side};
use router_core::sim::wire::Segment;

use crate::kernel::KernelWorld;
use crate::step::{Body, ErrorStep, Flow, Kind, Oddity, Quote, flags, write, write_error};

const CLIENT_PORT: u16 = 40_000;
const SERVER_PORT: u16 = 8_005;
const OPENER: u32 = 1_000;
const ANSWERER: u32 = 5_000;

/// What an error says.
#[derive(Debug, Clone, Copy)]
enum Complaint {
    NetUnreachable,
    HostUnreachable,
    PortUnreachable,
    Prohibited,
    TooBig,
    TimeExceeded,
    ParameterProblem,
}

/// An error about the last packet of a conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Error {
    rules: RuleSet,
    v6: bool,
    kind: Kind,
    complaint: Complaint,
    quote: Quote,
    /// Who complains: somebody where the server is, or where the client is.
    from: Side,
    /// What is odd about the quoted packet.
    oddity: Oddity,
    without_checksum: bool,
}

/// The errors that are recorded under a set of rules.
pub(super) fn of(rules: RuleSet) -> Vec<Error> {
    let v6 = [false, true];
    v6.into_iter()
        .flat_map(|v6| if rules.snat && rules.dnat { all(rules, v6) } else { some(rules, v6) })
        .collect()
}

/// Enough to see a translation by itself.
fn some(rules: RuleSet, v6: bool) -> Vec<Error> {
    let error = |kind, complaint| Error::new(rules, v6, kind, complaint);
    vec![
        error(Kind::Tcp, Complaint::TooBig).quoting(Quote::EightBytes),
        error(Kind::Tcp, Complaint::HostUnreachable),
        error(Kind::Udp, Complaint::PortUnreachable),
        error(Kind::Echo, Complaint::TimeExceeded),
        error(Kind::Udp, Complaint::PortUnreachable).by_client(),
    ]
}

/// Every kind of error, every kind of quote, both ways.
fn all(rules: RuleSet, v6: bool) -> Vec<Error> {
    let error = |kind, complaint| Error::new(rules, v6, kind, complaint);
    let mut errors = some(rules, v6);
    errors.extend([
        error(Kind::Udp, Complaint::TooBig).quoting(Quote::EightBytes),
        error(Kind::Echo, Complaint::NetUnreachable),
        error(Kind::Tcp, Complaint::Prohibited),
        error(Kind::Udp, Complaint::TimeExceeded),
        error(Kind::Tcp, Complaint::TimeExceeded),
        error(Kind::Tcp, Complaint::ParameterProblem),
        error(Kind::Tcp, Complaint::PortUnreachable).quoting(Quote::EightBytes),
        error(Kind::Udp, Complaint::PortUnreachable).quoting(Quote::EightBytes),
        error(Kind::Echo, Complaint::HostUnreachable).quoting(Quote::EightBytes),
        error(Kind::Udp, Complaint::TimeExceeded).quoting(Quote::WithExtension),
        error(Kind::Tcp, Complaint::HostUnreachable).quoting(Quote::WithExtension),
        error(Kind::Tcp, Complaint::TooBig).quoting(Quote::EightBytes).by_client(),
        error(Kind::Tcp, Complaint::HostUnreachable).by_client(),
        error(Kind::Echo, Complaint::Prohibited).by_client(),
    ]);
    if !v6 {
        errors.extend([
            error(Kind::Tcp, Complaint::HostUnreachable).about(Oddity::Options),
            error(Kind::Udp, Complaint::PortUnreachable).about(Oddity::Options),
            error(Kind::Udp, Complaint::PortUnreachable).without_checksum(),
            error(Kind::Udp, Complaint::PortUnreachable).without_checksum().quoting(Quote::EightBytes),
            error(Kind::Udp, Complaint::PortUnreachable).about(Oddity::None),
        ]);
    }
    errors
}

impl Error {
    /// By the server's side, about an atomic datagram, all of which is quoted.
    fn new(rules: RuleSet, v6: bool, kind: Kind, complaint: Complaint) -> Error {
        let (from, oddity) = (Side::Outside, Oddity::DontFragment);
        Error { rules, v6, kind, complaint, quote: Quote::Whole, from, oddity, without_checksum: false }
    }

    fn quoting(self, quote: Quote) -> Error {
        Error { quote, ..self }
    }

    fn by_client(self) -> Error {
        Error { from: Side::Inside, ..self }
    }

    fn about(self, oddity: Oddity) -> Error {
        Error { oddity, ..self }
    }

    fn without_checksum(self) -> Error {
        Error { without_checksum: true, ..self }
    }

    /// Has the conversation and then the error pass through the kernel.
    pub(super) fn record(&self, kernel: &mut KernelWorld) -> Result<Case> {
        kernel.forget()?;
        let flow = self.flow();
        let ends = |side| match side {
            Side::Inside => flow.inside(self.rules),
            Side::Outside => flow.outside(self.rules).reversed(),
        };
        let mut steps = Vec::new();
        for ((side, body), id) in self.conversation().into_iter().zip(1..) {
            let packet = write(&ends(side), body, self.oddity, id).remove(0);
            steps.push(pass(kernel, side, packet)?);
        }
        let (_, about) = steps.last().and_then(|step| step.came.first()).context("nothing passed")?;
        let error = write_error(&self.step(), self.from, about, flow.net());
        steps.push(pass(kernel, self.from, error)?);
        Ok(Case { name: self.name(), rules: self.rules, differs: self.differs(), steps })
    }

    fn flow(&self) -> Flow {
        Flow { v6: self.v6, kind: self.kind, client: 0, client_port: CLIENT_PORT, server_port: SERVER_PORT }
    }

    /// The packets before the error. The last one goes where the error comes from.
    fn conversation(&self) -> Vec<(Side, Body)> {
        let len = match (matches!(self.complaint, Complaint::TooBig), self.v6, self.kind) {
            (false, _, _) => 5,
            (true, false, _) => 600,
            (true, true, Kind::Tcp) => 1230,
            (true, true, Kind::Udp | Kind::Echo | Kind::Other) => 1250,
        };
        let is_by_client = self.from == Side::Inside;
        match self.kind {
            Kind::Tcp => self.segments(len),
            Kind::Udp => {
                let body = Body::Udp { len, without_checksum: self.without_checksum };
                [(Side::Inside, body), (Side::Outside, body)]
                    .into_iter()
                    .take(1 + usize::from(is_by_client))
                    .collect()
            }
            Kind::Echo | Kind::Other => {
                let echo = |is_request| Body::Echo { is_request, len };
                let both = [(Side::Inside, echo(true)), (Side::Outside, echo(false))];
                both.into_iter().take(1 + usize::from(is_by_client)).collect()
            }
        }
    }

    /// A SYN, or a handshake and data.
    fn segments(&self, len: usize) -> Vec<(Side, Body)> {
        let segment = |letters, sequence, acknowledgment, len| {
            let mss = (letters != "A").then_some(1220);
            let segment = Segment { flags: flags(letters), sequence, acknowledgment, window: 8192, mss };
            Body::Tcp(segment, len)
        };
        let syn = (Side::Inside, segment("S", OPENER, 0, 0));
        let is_about_data = matches!(self.complaint, Complaint::TooBig) || self.from == Side::Inside;
        if !is_about_data {
            return vec![syn];
        }
        let data = match self.from {
            Side::Inside => (Side::Outside, segment("A", ANSWERER + 1, OPENER + 1, len)),
            Side::Outside => (Side::Inside, segment("A", OPENER + 1, ANSWERER + 1, len)),
        };
        vec![
            syn,
            (Side::Outside, segment("SA", ANSWERER, OPENER + 1, 0)),
            (Side::Inside, segment("A", OPENER + 1, ANSWERER + 1, 0)),
            data,
        ]
    }

    fn step(&self) -> ErrorStep {
        let (kind, code, word) = self.complaint.numbers(self.v6);
        let is_by_hop = matches!(
            self.complaint,
            Complaint::TimeExceeded
                | Complaint::NetUnreachable
                | Complaint::HostUnreachable
                | Complaint::TooBig
        );
        ErrorStep {
            kind,
            code,
            word,
            quote: self.quote,
            is_by_hop,
            is_misaddressed: false,
            is_corrupt: false,
        }
    }

    fn name(&self) -> String {
        let version = if self.v6 { "IPv6" } else { "IPv4" };
        let from = if self.from == Side::Inside { "client" } else { "server" };
        let mut name = format!(
            "{version} {:?} {:?} from the {from}'s side, {:?}",
            self.kind, self.complaint, self.quote
        );
        match self.oddity {
            Oddity::Options => name += ", quoted options",
            Oddity::None => name += ", may be fragmented",
            Oddity::DontFragment | Oddity::LastHop | Oddity::Corrupt | Oddity::Pieces(_) => {}
        }
        if self.without_checksum {
            name += ", without checksum";
        }
        name
    }

    /// A datagram that may be fragmented gets another identification from us, behind a shared address.
    fn differs(&self) -> Vec<String> {
        let is_renumbered = !self.v6 && self.rules.snat && self.oddity != Oddity::DontFragment;
        if is_renumbered { vec!["Identification".to_owned()] } else { Vec::new() }
    }
}

impl Complaint {
    /// Type, code and the word behind the checksum: RFC 792, RFC 4443.
    fn numbers(self, v6: bool) -> (u8, u8, u32) {
        match (self, v6) {
            (Complaint::NetUnreachable, false) => (3, 0, 0),
            (Complaint::NetUnreachable, true) => (1, 0, 0),
            (Complaint::HostUnreachable, false) => (3, 1, 0),
            (Complaint::HostUnreachable, true) => (1, 3, 0),
            (Complaint::PortUnreachable, false) => (3, 3, 0),
            (Complaint::PortUnreachable, true) => (1, 4, 0),
            (Complaint::Prohibited, false) => (3, 13, 0),
            (Complaint::Prohibited, true) => (1, 1, 0),
            (Complaint::TooBig, false) => (3, 4, 576),
            (Complaint::TooBig, true) => (2, 0, 1280),
            (Complaint::TimeExceeded, false) => (11, 0, 0),
            (Complaint::TimeExceeded, true) => (3, 0, 0),
            (Complaint::ParameterProblem, false) => (12, 0, 20 << 24),
            (Complaint::ParameterProblem, true) => (4, 1, 6),
        }
    }
}

/// Hands a packet in; exactly one must come out on the other side.
fn pass(kernel: &mut KernelWorld, side: Side, packet: Vec<u8>) -> Result<Step> {
    let came = kernel.hand_in(side, &packet)?.packets;
    ensure!(
        matches!(came[..], [(other, _)] if other != side),
        "the kernel does not pass {packet:02x?}: {came:02x?}"
    );
    Ok(Step { side, packet, came })
}
