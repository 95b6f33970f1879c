//! Who has access now: the sessions of the file, and those opened or closed at run time since. Called by `run`.

use std::net::IpAddr;

use jiff::Timestamp;
use sluice_runtime::host::admin::collect::RuleTexts;
use sluice_runtime::host::admin::{AccessRequest, Refusal};

use crate::config::RouterConfig;
use crate::config::granted::Granted;
use crate::config::session::{self, Session, SessionFault};
use crate::rules;
use sluice_runtime::host::config::Fault;

/// A configuration in force and the sessions that are open under it.
pub(crate) struct Access {
    pub(crate) config: RouterConfig,
    pub(crate) sessions: Vec<Session>,
    /// What another control plane has granted. At most [`GRANTED_MAX`].
    pub(crate) granted: Vec<Granted>,
}

// Our own choice.
/// What other control planes may have granted at once; more is refused.
const GRANTED_MAX: usize = 65_536;

/// What becomes of access that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It is there already.
    There(Granted),
    /// It is new; `replaces` is what was there under the same identity.
    New { granted: Granted, replaces: Option<Granted> },
}

impl Access {
    /// The sessions of the file, and no others.
    pub(crate) fn of(config: RouterConfig) -> Self {
        let sessions = config.sessions.clone();
        Self { config, sessions, granted: Vec::new() }
    }

    /// Also what others have granted before, as far as it is legal under this configuration. Says what is not, and why.
    pub(crate) fn keeping(mut self, granted: &[Granted]) -> (Self, Vec<(Granted, Refusal)>) {
        let mut lost = Vec::new();
        for before in granted {
            match self.grant(&before.asked) {
                Ok(Asked::There(granted) | Asked::New { granted, .. }) => self.granted.push(granted),
                Err(why) => lost.push((before.clone(), why)),
            }
        }
        (self, lost)
    }

    /// Whether what another control plane asks for may be had beside what its client has.
    ///
    /// # Errors
    /// The same faults as in a file, and that it would overlap.
    pub(crate) fn grant(&self, asked: &AccessRequest) -> Result<Asked, Refusal> {
        let before = self.granted.iter().find(|granted| granted.asked.id == asked.id);
        if let Some(before) = before.filter(|before| before.asked == *asked) {
            return Ok(Asked::There(before.clone()));
        }
        let granted = Granted::under(&self.config, asked)?;
        let overlaps = |what: String| {
            let what = format!("{} has {what} that overlaps it", asked.client_ip);
            Refusal::new(what, "Close that one first.")
        };
        let own = self.sessions.iter().filter(|session| session.client_ip == asked.client_ip);
        for session in own {
            if self.config.target(&session.target).is_some_and(|target| granted.overlaps(target)) {
                return Err(overlaps(format!("a session for {}", session.target)));
            }
        }
        let others = self.granted.iter().filter(|other| other.asked.id != asked.id);
        for other in others.filter(|other| other.asked.client_ip == asked.client_ip) {
            if granted.overlaps(&other.target) {
                return Err(overlaps(format!("access {} to {}", other.asked.id, other.target.name)));
            }
        }
        if before.is_none() && self.granted.len() >= GRANTED_MAX {
            let what = format!("{GRANTED_MAX} are granted, which is as many as there may be");
            return Err(Refusal::new(what, "Take some back."));
        }
        Ok(Asked::New { granted, replaces: before.cloned() })
    }

    /// What another control plane calls the access that `id` begins to name, by any of its rules. `None` if it is none, or several.
    pub(crate) fn granted_named(&self, id: &str) -> Option<String> {
        let fits = |granted: &&Granted| {
            rules::ids_granted(granted).iter().any(|rule| rule.to_string().starts_with(id))
        };
        let mut found = self.granted.iter().filter(fits);
        let first = found.next()?;
        found.next().is_none().then(|| first.asked.id.clone())
    }

    /// Takes out what was granted under this identity.
    pub(crate) fn take_granted(&mut self, id: &str) -> Option<Granted> {
        let place = self.granted.iter().position(|granted| granted.asked.id == id)?;
        Some(self.granted.swap_remove(place))
    }

    /// What the rules are called.
    pub(crate) fn texts(&self) -> RuleTexts {
        let mut texts = rules::texts(&self.config, &self.sessions);
        texts.extend(rules::texts_granted(&self.config, &self.granted));
        texts
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
        let target = self.config.target(target);
        for granted in self.granted.iter().filter(|granted| granted.asked.client_ip == client_ip) {
            if target.is_some_and(|target| granted.overlaps(target)) {
                let what = format!("{client_ip} has access {} that overlaps it", granted.asked.id);
                return Err(Refusal::new(what, "Whoever granted that must take it back first."));
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

    fn asked(id: &str, ip: &str) -> AccessRequest {
        AccessRequest {
            id: id.to_owned(),
            name: "web".to_owned(),
            client_ip: "10.77.0.2".parse().unwrap(),
            src_nat: false,
            dst: vec![serde_json::json!({ "selector": { "ip": ip, "proto": "tcp", "port": 443 } })],
        }
    }

    #[test]
    fn what_is_granted_twice_is_there_and_what_differs_takes_its_place() {
        let mut access = access();
        let Ok(Asked::New { granted, replaces: None }) = access.grant(&asked("a", "10.66.0.1")) else {
            panic!("it is legal");
        };
        access.granted.push(granted.clone());
        assert_eq!(access.grant(&asked("a", "10.66.0.1")).unwrap(), Asked::There(granted.clone()));
        let overlapping = access.grant(&asked("b", "10.66.0.1")).unwrap_err();
        assert!(overlapping.what.contains("access a to web that overlaps"), "{overlapping:?}");
        assert!(access.grant(&asked("b", "10.66.0.2")).is_ok());
        match access.grant(&asked("a", "10.66.0.9")).unwrap() {
            Asked::New { replaces: Some(before), .. } => assert_eq!(before, granted),
            other @ (Asked::There(_) | Asked::New { .. }) => panic!("{other:?}"),
        }
        let rule = rules::ids_granted(&granted)[1].to_string();
        assert_eq!(access.granted_named(&rule[..8]).as_deref(), Some("a"));
        assert_eq!(access.granted_named("zz"), None);
        assert_eq!(access.take_granted("a"), Some(granted));
        assert_eq!(access.take_granted("a"), None);
    }

    #[test]
    fn what_was_granted_outlasts_a_reload_unless_it_is_no_longer_legal() {
        let mut access = access();
        for (id, ip) in [("a", "10.66.0.1"), ("b", "10.66.0.2")] {
            let Ok(Asked::New { granted, .. }) = access.grant(&asked(id, ip)) else { panic!("it is legal") };
            access.granted.push(granted);
        }
        let (kept, lost) = Access::of(access.config.clone()).keeping(&access.granted);
        assert_eq!((kept.granted.len(), lost.len()), (2, 0));
        let mut config = access.config.clone();
        config.node.addresses.push("10.66.0.1".parse().unwrap());
        let (kept, lost) = Access::of(config).keeping(&access.granted);
        assert_eq!((kept.granted.len(), lost.len()), (1, 1));
        assert!(lost[0].1.what.contains("10.66.0.1"), "{lost:?}");
    }

    fn access() -> Access {
        Access::of(read(&whole()).unwrap())
    }

    fn now() -> Timestamp {
        "2026-12-01T00:00:00Z".parse().unwrap()
    }
}
