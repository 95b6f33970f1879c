//! What a translator made of packets, as text for people and for `text2pcap -l 101`: per packet a hexadecimal dump with
//! offsets, comments around it. Tests read it back.
//!
//! ```text
//! # case: IPv4 UDP, port unreachable
//! # rules: snat dnat
//! # differs: Identification
//! # handed in: inside
//! 000000 45 00 00 1d 00 01 00 00 40 11 43 1d 0a 4d 00 02
//! 000010 0a 14 00 05 9c 40 1f 40 00 09 d9 39 00
//! # came out: outside
//! 000000 45 00 00 1d 00 01 00 00 3f 11 ad 5f c0 00 02 01
//! 000010 c6 33 64 0a 9c 40 23 28 00 09 3e 94 00
//! ```
//! Other comments are of no account.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::{RuleSet, Side};

/// A line of a dump shows this many bytes.
const LINE_BYTES: usize = 16;

/// One conversation under a set of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The rules.
    pub rules: RuleSet,
    /// Names in docs/kernel-nat-differences.md: how we mean to differ here.
    pub differs: Vec<String>,
    /// What was sent, in order.
    pub steps: Vec<Step>,
}

/// One packet, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it came from.
    pub side: Side,
    /// The packet.
    pub packet: Vec<u8>,
    /// What came out, and where.
    pub came: Vec<(Side, Vec<u8>)>,
}

/// A line that says nothing we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {text}")]
pub struct UnreadableLine {
    /// Counted from 1.
    pub number: usize,
    /// The line.
    pub text: String,
}

/// Reads the cases of a file.
pub fn read(text: &str) -> Result<Vec<Case>, UnreadableLine> {
    let mut cases = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        read_line(&mut cases, line).ok_or_else(|| UnreadableLine { number, text: line.into() })?;
    }
    Ok(cases)
}

fn read_line(cases: &mut Vec<Case>, line: &str) -> Option<()> {
    let Some(comment) = line.strip_prefix('#') else { return read_dump(cases.last_mut(), line) };
    let Some((key, value)) = comment.trim().split_once(": ") else { return Some(()) };
    match (key, cases.last_mut()) {
        ("case", _) => cases.push(Case {
            name: value.into(),
            rules: RuleSet { snat: false, dnat: false },
            differs: Vec::new(),
            steps: Vec::new(),
        }),
        ("rules", Some(case)) => {
            let has = |rule| value.split(' ').any(|word| word == rule);
            case.rules = RuleSet { snat: has("snat"), dnat: has("dnat") };
        }
        ("differs", Some(case)) => case.differs = value.split(' ').map(String::from).collect(),
        ("handed in", Some(case)) => {
            case.steps.push(Step { side: side(value)?, packet: Vec::new(), came: Vec::new() });
        }
        ("came out", Some(case)) => case.steps.last_mut()?.came.push((side(value)?, Vec::new())),
        (_, _) => {}
    }
    Some(())
}

/// Bytes of the packet announced last. The offset must be what is there so far.
fn read_dump(case: Option<&mut Case>, line: &str) -> Option<()> {
    let mut words = line.split_whitespace();
    let Some(offset) = words.next() else { return Some(()) };
    let step = case?.steps.last_mut()?;
    let packet = step.came.last_mut().map_or(&mut step.packet, |(_, packet)| packet);
    if usize::from_str_radix(offset, 16) != Ok(packet.len()) {
        return None;
    }
    for word in words {
        packet.push(u8::from_str_radix(word, 16).ok()?);
    }
    Some(())
}

fn side(name: &str) -> Option<Side> {
    [Side::Inside, Side::Outside].into_iter().find(|side| name_of(*side) == name)
}

fn name_of(side: Side) -> &'static str {
    match side {
        Side::Inside => "inside",
        Side::Outside => "outside",
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# case: {}", self.name)?;
        let rules = [(self.rules.snat, "snat"), (self.rules.dnat, "dnat")];
        let rules: Vec<&str> = rules.into_iter().filter_map(|(is_on, name)| is_on.then_some(name)).collect();
        writeln!(f, "# rules: {}", if rules.is_empty() { "none".into() } else { rules.join(" ") })?;
        if !self.differs.is_empty() {
            writeln!(f, "# differs: {}", self.differs.join(" "))?;
        }
        for step in &self.steps {
            writeln!(f, "# handed in: {}", name_of(step.side))?;
            dump(f, &step.packet)?;
            for (side, packet) in &step.came {
                writeln!(f, "# came out: {}", name_of(*side))?;
                dump(f, packet)?;
            }
        }
        Ok(())
    }
}

fn dump(f: &mut fmt::Formatter<'_>, packet: &[u8]) -> fmt::Result {
    for (line, bytes) in packet.chunks(LINE_BYTES).enumerate() {
        write!(f, "{:06x}", line * LINE_BYTES)?;
        bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
        f.write_char('\n')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let case = |name: &str, rules| Case {
            name: name.into(),
            rules,
            differs: vec!["Identification".into(), "PieceQuoted".into()],
            steps: vec![
                Step { side: Side::Inside, packet: vec![7; 33], came: vec![(Side::Outside, vec![8; 16])] },
                Step { side: Side::Outside, packet: vec![9], came: Vec::new() },
            ],
        };
        let cases: Vec<Case> = RuleSet::ALL.map(|rules| case("a: b", rules)).into();
        let text: Vec<String> = cases.iter().map(Case::to_string).collect();
        assert_eq!(read(&text.join("# a remark\n\n")), Ok(cases));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, number) in [
            ("000000 45\n", 1),
            ("# case: a\n# handed in: upside\n", 2),
            ("# case: a\n# handed in: inside\n000010 45\n", 3),
            ("# case: a\n# handed in: inside\n000000 4z\n", 3),
            ("# case: a\n# came out: inside\n", 2),
        ] {
            assert_eq!(read(text).map_err(|line| line.number), Err(number), "{text}");
        }
    }
}
