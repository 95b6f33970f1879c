//! Questions to a DNS server and what its answers say. No socket here: `names` asks. Read first: RFC 1035 §4, RFC 6891.

use std::net::IpAddr;
use std::str::FromStr;

use domain::base::iana::Rcode;
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, Rtype};
use domain::rdata::{A, Aaaa};
use thiserror::Error;

/// What passes everywhere in one piece, as the DNS operators have agreed on.
const UDP_PAYLOAD_BYTES: u16 = 1232;
/// Addresses taken from one answer.
const ADDRESSES_MAX: usize = 16;

/// A version of addresses to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// A question, ready to be sent.
#[derive(Debug)]
pub(super) struct Question {
    version: Version,
    message: Vec<u8>,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These addresses; none if the name has none of this version.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The whole answer has to be fetched by TCP.
    Truncated,
}

/// Why a message is of no use.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum AnswerFault {
    /// Of another question, or none at all: somebody else may have sent it, so one waits on.
    #[error("not an answer to the question")]
    Foreign,
    /// The server says that it cannot or will not.
    #[error("the server answers {0}")]
    Refused(String),
}

impl Question {
    /// Asks for the addresses of `name`; `None` if it cannot be asked for. `id` is to be hard to guess.
    pub(super) fn new(name: &str, version: Version, id: u16) -> Option<Self> {
        let name = Name::<Vec<u8>>::from_str(name).ok()?;
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push((&name, record_type(version))).ok()?;
        let mut builder = builder.additional();
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_PAYLOAD_BYTES);
                Ok(())
            })
            .ok()?;
        Some(Self { version, message: builder.finish() })
    }

    /// The message.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.message
    }

    /// Reads an answer to this question.
    ///
    /// # Errors
    /// If it is none, or says that the server failed.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Answer, AnswerFault> {
        let foreign = |_| AnswerFault::Foreign;
        let answer = Message::from_octets(bytes).map_err(foreign)?;
        let asked = Message::from_octets(self.bytes()).map_err(foreign)?;
        if !answer.is_answer(&asked) {
            return Err(AnswerFault::Foreign);
        }
        if answer.header().tc() {
            return Ok(Answer::Truncated);
        }
        match answer.header().rcode() {
            Rcode::NOERROR => Ok(Answer::Addresses(self.addresses(&answer))),
            Rcode::NXDOMAIN => Ok(Answer::NoSuchName),
            code => Err(AnswerFault::Refused(code.to_string())),
        }
    }

    /// Those of the name that all aliases lead to.
    fn addresses(&self, answer: &Message<&[u8]>) -> Vec<IpAddr> {
        let (Some(canonical), Ok(records)) = (answer.canonical_name(), answer.answer()) else {
            return Vec::new();
        };
        let found: Vec<IpAddr> = match self.version {
            Version::V4 => {
                let records = records.limit_to_in::<A>().filter_map(Result::ok);
                let own = records.filter(|record| *record.owner() == canonical);
                own.map(|record| IpAddr::V4(record.data().addr())).take(ADDRESSES_MAX).collect()
            }
            Version::V6 => {
                let records = records.limit_to_in::<Aaaa>().filter_map(Result::ok);
                let own = records.filter(|record| *record.owner() == canonical);
                own.map(|record| IpAddr::V6(record.data().addr())).take(ADDRESSES_MAX).collect()
            }
        };
        found
    }
}

fn record_type(version: Version) -> Rtype {
    match version {
        Version::V4 => Rtype::A,
        Version::V6 => Rtype::AAAA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::Ttl;
    use domain::rdata::Cname;

    type Answering = domain::base::message_builder::AnswerBuilder<Vec<u8>>;

    #[test]
    fn addresses_are_taken_of_the_name_that_aliases_lead_to_and_of_no_other() {
        let question = Question::new("www.example.com", Version::V4, 7).unwrap();
        let bytes = answer(&question, Rcode::NOERROR, |builder| {
            let alias = Cname::new(name("web.example.net"));
            builder.push((name("WWW.example.com"), Ttl::from_secs(60), alias)).unwrap();
            for (owner, host) in [("web.example.net", 5), ("evil.example.org", 6), ("Web.Example.net", 7)] {
                builder.push((name(owner), Ttl::from_secs(60), A::from_octets(10, 20, 0, host))).unwrap();
            }
        });
        let expected = ["10.20.0.5", "10.20.0.7"].map(|address| address.parse().unwrap());
        assert_eq!(question.read(&bytes), Ok(Answer::Addresses(expected.to_vec())));
    }

    #[test]
    fn addresses_of_the_other_version_are_not_taken() {
        let question = Question::new("db.example.com", Version::V6, 7).unwrap();
        let bytes = answer(&question, Rcode::NOERROR, |builder| {
            let own = name("db.example.com");
            builder.push((&own, Ttl::from_secs(60), A::from_octets(10, 20, 0, 5))).unwrap();
            builder.push((&own, Ttl::from_secs(60), Aaaa::new("fd20::5".parse().unwrap()))).unwrap();
        });
        assert_eq!(question.read(&bytes), Ok(Answer::Addresses(vec!["fd20::5".parse().unwrap()])));
    }

    #[test]
    fn what_a_server_says_of_itself_is_told_apart() {
        let question = Question::new("db.example.com", Version::V4, 7).unwrap();
        let said = |code| question.read(&answer(&question, code, |_| {}));
        assert_eq!(said(Rcode::NOERROR), Ok(Answer::Addresses(Vec::new())));
        assert_eq!(said(Rcode::NXDOMAIN), Ok(Answer::NoSuchName));
        assert_eq!(said(Rcode::SERVFAIL), Err(AnswerFault::Refused("SERVFAIL".into())));
        let mut cut = answer(&question, Rcode::NOERROR, |_| {});
        cut[2] |= 0x02;
        assert_eq!(question.read(&cut), Ok(Answer::Truncated));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let question = Question::new("db.example.com", Version::V4, 7).unwrap();
        for other in [
            Question::new("db.example.com", Version::V4, 8),
            Question::new("db.example.com", Version::V6, 7),
            Question::new("dc.example.com", Version::V4, 7),
        ] {
            let bytes = answer(&other.unwrap(), Rcode::NOERROR, |_| {});
            assert_eq!(question.read(&bytes), Err(AnswerFault::Foreign));
        }
        assert_eq!(question.read(question.bytes()), Err(AnswerFault::Foreign));
        assert_eq!(question.read(&[0; 5]), Err(AnswerFault::Foreign));
    }

    #[test]
    fn what_cannot_be_a_name_is_not_asked_for() {
        for (text, taken) in
            [("a", true), ("a.example.com.", true), ("a..b", false), (&"x".repeat(64), false)]
        {
            assert_eq!(Question::new(text, Version::V4, 0).is_some(), taken, "{text}");
        }
    }

    fn name(text: &str) -> Name<Vec<u8>> {
        Name::from_str(text).unwrap()
    }

    fn answer(question: &Question, code: Rcode, records: impl FnOnce(&mut Answering)) -> Vec<u8> {
        let asked = Message::from_octets(question.bytes()).unwrap();
        let mut builder = MessageBuilder::new_vec().start_answer(&asked, code).unwrap();
        records(&mut builder);
        builder.finish()
    }
}
