//! Who has access now: the sessions of the file, and those opened or closed at run time since. Called by `run`.

use std::net::IpAddr;

use jiff::Timestamp;
use sluice_runtime::host::admin::Refusal;
use sluice_runtime::host::admin::collect::RuleTexts;

use crate::config::RouterConfig;
use crate::config::session::{self, Session, SessionFault};
use crate::rules;
use sluice_runtime::host::config::Fault;

/// A configuration in force and the sessions that are open under it.
pub(crate) struct Access {
    pub(crate) config: RouterConfig,
    pub(crate) sessions: Vec<Session>,
}

impl Access {
    /// The sessions of the file, and no others.
    pub(crate) fn of(config: RouterConfig) -> Self {
        let sessions = config.sessions.clone();
        Self { config, sessions }
    }

    /// What the rules are called.
    pub(crate) fn texts(&self) -> RuleTexts {
        rules::texts(&self.config, &self.sessions)
    }

    /// Takes out the sessions that are past their end at `now`.
    pub(crate) fn take_ended(&mut self, now: Timestamp) -> Vec<Session> {
        self.sessions.extract_if(.., |session| has_ended(session, now)).collect()
    }

    /// The session that `client_ip` asks for, if it may have it beside those it has at `now`.
    ///
    /// # Errors
    /// The same faults as in a file.
    pub(crate) fn admit(
        &self,
        client_ip: IpAddr,
        target: &str,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Session, Refusal> {
        let asked = Session { client_ip, target: target.to_owned(), expires };
        session::legal(&asked, |address| self.config.knows_client(address), &self.config.targets)
            .map_err(refusal)?;
        let own =
            self.sessions.iter().filter(|session| session.client_ip == client_ip && !has_ended(session, now));
        for session in own {
            if session::overlap(&self.config.targets, &session.target, target) {
                let id = rules::ids(session)[0];
                let what = format!("{client_ip} has a session for {} that overlaps it: {id}", session.target);
                return Err(Refusal::new(what, "Close that one first."));
            }
        }
        Ok(asked)
    }

    /// The open session that `id` begins to name, by any of its rules.
    ///
    /// # Errors
    /// If it names none, or several.
    pub(crate) fn named(&self, id: &str) -> Result<Session, Refusal> {
        let fits =
            |session: &&Session| rules::ids(session).iter().any(|rule| rule.to_string().starts_with(id));
        let mut found = self.sessions.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(session), None) => Ok(session.clone()),
            (None, _) => Err(Refusal::new(format!("no session \"{id}\""), "Use an id that status shows.")),
            (Some(_), Some(_)) => {
                Err(Refusal::new(format!("\"{id}\" fits several sessions"), "Write more of its digits."))
            }
        }
    }
}

fn has_ended(session: &Session, now: Timestamp) -> bool {
    session.expires.is_some_and(|expires| expires <= now)
}

fn refusal(fault: SessionFault) -> Refusal {
    Refusal::new(fault.to_string(), fault.remedy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{read, whole};

    #[test]
    fn a_session_is_admitted_by_the_rules_of_the_file() {
        let mut access = access();
        for (client_ip, target, refused) in [
            ("10.77.0.2", "db", Some("10.77.0.2 has a session for db that overlaps it")),
            ("10.77.0.2", "nothing", Some("no [[target]] is called \"nothing\"")),
            ("10.77.0.9", "db", Some("no [[client]] has the address 10.77.0.9")),
        ] {
            let answer = access.admit(client_ip.parse().unwrap(), target, None, now());
            assert_eq!(
                answer.err().map(|refusal| refusal.what.contains(refused.unwrap())),
                Some(true),
                "{target}"
            );
        }
        access.sessions.retain(|session| session.target != "db");
        assert!(access.admit("10.77.0.2".parse().unwrap(), "db", None, now()).is_ok());
    }

    #[test]
    fn a_session_past_its_end_is_in_nobodys_way() {
        let mut access = access();
        let ip = "10.77.0.2".parse().unwrap();
        let after: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        assert!(access.admit(ip, "net", None, now()).is_err());
        assert!(access.admit(ip, "net", None, after).is_ok());
        assert_eq!(access.take_ended(after).len(), 1);
        assert_eq!(access.sessions.len(), 1);
    }

    #[test]
    fn the_first_digits_of_an_identity_are_enough_if_they_fit_only_one() {
        let access = access();
        let id = rules::ids(&access.sessions[0])[1].to_string();
        assert_eq!(access.named(&id[..8]).unwrap(), access.sessions[0]);
        assert!(access.named("").unwrap_err().what.contains("several"));
        assert!(access.named("zz").unwrap_err().what.contains("no session"));
    }

    fn access() -> Access {
        Access::of(read(&whole()).unwrap())
    }

    fn now() -> Timestamp {
        "2026-12-01T00:00:00Z".parse().unwrap()
    }
}
