//! What a program offers whoever runs it, beside its work: metrics and a log level. A reload changes them as a whole or not at
//! all: [`Operations::prepare`] first does all that can fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arguments::LogOptions;
use super::config::operations::OperationsSettings;
use super::confine::{Confined, Confinement};
use super::failure::{Exit, Failure};
use super::metrics::{Bound, Listening, Site};
use super::program::ReloadFault;
use crate::service::LogLevel;

/// The log, and what decides about its level.
#[derive(Clone)]
pub struct LogControl {
    pub(super) level: LogLevel,
    /// On the command line, which goes before the configuration.
    pub(super) given: Option<String>,
    /// Where neither says anything.
    pub(super) default: String,
}

impl LogControl {
    fn take(&self, settings: &OperationsSettings) {
        let filter = self.given.as_ref().or(settings.log_level.as_ref()).unwrap_or(&self.default);
        // The configuration was read, so it is one; what else there is was one at the start.
        if let Err(error) = self.level.set(filter) {
            tracing::error!(%error, "the log level stays as it was");
        }
    }
}

/// The process of a program that runs in one of its own: its log, and what it gave up.
pub struct Process {
    log: LogControl,
    confined: Option<(Confinement, Confined)>,
}

impl Process {
    /// Begins to log, then gives up what is not needed, if it is to. Call it before there are other threads.
    ///
    /// # Errors
    /// If the level is none, or the system does not let us give something up.
    pub fn begin(
        log: &LogOptions,
        settings: &OperationsSettings,
        needs: &Confinement,
    ) -> Result<Process, Failure> {
        let log = log.start(settings)?;
        let confined = settings
            .hardening
            .then(|| needs.begin().map(|confined| (needs.clone(), confined)))
            .transpose()?;
        if confined.is_none() {
            tracing::warn!("hardening is off: the program keeps what it does not need");
        }
        Ok(Process { log, confined })
    }

    /// Everything has started: the rest is given up.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn started(&self) -> Result<(), Failure> {
        self.confined.as_ref().map_or(Ok(()), |(_, confined)| confined.finish())
    }
}

/// What is offered.
pub struct Operations {
    log: Option<LogControl>,
    /// What is left of what was given up.
    kept: Option<Confinement>,
    site: Arc<Site>,
    current: Mutex<Current>,
}

struct Current {
    settings: OperationsSettings,
    listening: Option<Listening>,
}

/// What a reload will bring, all of it certain.
pub struct Prepared {
    settings: OperationsSettings,
    /// `None`: metrics are where they were.
    metrics: Option<Option<Listening>>,
}

impl Operations {
    /// Begins to offer it. Without a process of its own, log and hardening are somebody else's.
    ///
    /// # Errors
    /// If metrics cannot be had at their address.
    pub fn start(
        settings: &OperationsSettings,
        process: Option<&Process>,
        site: Site,
    ) -> Result<Operations, Failure> {
        let site = Arc::new(site);
        let listening = listen(settings, &site).map_err(|fault| {
            Failure::new(Exit::Failed, "metrics cannot be served")
                .because(&fault)
                .remedy("Choose another address for metrics in [operations], or none.")
        })?;
        let current = Mutex::new(Current { settings: settings.clone(), listening });
        let log = process.map(|process| process.log.clone());
        let kept = process.and_then(|process| process.confined.as_ref()).map(|(needs, _)| needs.clone());
        Ok(Operations { log, kept, site, current })
    }

    /// Makes ready what is new in `settings`, and changes nothing. `needs` is what the new configuration needs in all.
    ///
    /// # Errors
    /// What cannot be had.
    pub fn prepare(
        &self,
        settings: &OperationsSettings,
        needs: &Confinement,
    ) -> Result<Prepared, ReloadFault> {
        let current = self.current();
        if current.settings.hardening != settings.hardening {
            return Err(ReloadFault::NeedsRestart("[operations] hardening"));
        }
        if self.kept.as_ref().is_some_and(|kept| !kept.covers(needs)) {
            return Err(ReloadFault::GivenUp);
        }
        let metrics = (current.settings.metrics != settings.metrics)
            .then(|| listen(settings, &self.site))
            .transpose()?;
        Ok(Prepared { settings: settings.clone(), metrics })
    }

    /// Brings it into force.
    pub fn take(&self, prepared: Prepared) {
        let mut current = self.current();
        if let Some(listening) = prepared.metrics {
            current.listening = listening;
        }
        if let Some(log) = &self.log {
            log.take(&prepared.settings);
        }
        current.settings = prepared.settings;
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // Each change of it is one assignment, so it is whole whoever panicked.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(settings: &OperationsSettings, site: &Arc<Site>) -> Result<Option<Listening>, ReloadFault> {
    let Some(address) = settings.metrics else { return Ok(None) };
    let listening = Bound::bind(address).and_then(|bound| bound.start(Arc::clone(site)));
    let listening = listening.map_err(|error| ReloadFault::Metrics { address, error })?;
    tracing::info!(address = %listening.address(), "metrics are served");
    Ok(Some(listening))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_changes_nothing() {
        let site = Site::new(|_| {}, Box::new(|| Ok(())));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |address| OperationsSettings { metrics: address, ..OperationsSettings::default() };
        let operations = Operations::start(&at("127.0.0.1:0".parse().ok()), None, site).unwrap();
        let before = operations.current().listening.as_ref().map(Listening::address);
        let refused = operations.prepare(&at(taken.local_addr().ok()), &Confinement::default());
        assert!(matches!(refused, Err(ReloadFault::Metrics { .. })));
        assert_eq!(operations.current().listening.as_ref().map(Listening::address), before);

        let prepared = operations.prepare(&at(None), &Confinement::default()).unwrap();
        assert!(operations.current().listening.is_some(), "nothing changes before it is taken");
        operations.take(prepared);
        assert!(operations.current().listening.is_none());
    }

    #[test]
    fn hardening_needs_a_restart() {
        let site = Site::new(|_| {}, Box::new(|| Ok(())));
        let operations = Operations::start(&OperationsSettings::default(), None, site).unwrap();
        let off = OperationsSettings { hardening: false, ..OperationsSettings::default() };
        assert!(matches!(
            operations.prepare(&off, &Confinement::default()),
            Err(ReloadFault::NeedsRestart("[operations] hardening"))
        ));
    }
}
